"""What the commands of `likelier goals` print for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.markup import escape
from rich.table import Table

from pipelines.printing import page
from training.bucket_factors import EVERYONE, said_values

MOST_REASONS = 15


def print_insights(found: Mapping[str, Any]) -> None:
    """Print what moves each bucket: a table a bucket, strongest reason first."""
    page.print(
        f"[bold]{escape(found['goal'])}[/] as of {found['as_of']}, model "
        f"{found['model_version']}: {found['people']:,} people scored"
    )
    for bucket in found["buckets"]:
        title = f"{bucket['bucket'].capitalize()}: {bucket['people']:,} people"
        table = Table("", "reason", "importance", "coverage", "here", "everyone", title=title)
        for each in bucket["factors"]:
            table.add_row(
                "+" if each["direction"] == "raises" else "-",
                escape(each["feature_label"]),
                f"{each['importance_share']:.1%}",
                f"{each['coverage']:.0%}",
                escape(said_values(each["values"][bucket["bucket"]])),
                escape(said_values(each["values"][EVERYONE])),
            )
        if bucket["factors"]:
            page.print(table)
        else:
            page.print(f"{title}. No reason moves them.")
    page.print("+ raises the score on the whole, - lowers it; values: the middle (middle half)")


def print_change(found: Mapping[str, Any]) -> None:
    """Print why a margin changed: both sides, then reason by reason, the largest change first."""
    alone = "profile_id" in found
    who = found["profile_id"] if alone else "the mean of everyone scored"
    page.print(f"[bold]{escape(found['goal'])}[/] of {escape(who)}", highlight=False, emoji=False)
    for name in ("before", "after"):
        side = found[name]
        bucket = f" ({side['bucket']})" if "bucket" in side else f", {side['people']:,} people"
        page.print(
            f"{name:<6} as of {side['as_of'][:16]}, model {side['model_version']}: score "
            f"{side['score']:.0f}{bucket}, probability {side['probability']:.3f}, margin "
            f"{side['margin']:+.3f}",
            soft_wrap=True,
        )
    change = found["change"]
    page.print(
        f"change {change['margin']:+.3f} = {change['data']:+.3f} by the data "
        f"{change['model']:+.3f} by the model"
    )
    _print_reasons(found["reasons"], alone=alone)
    if missing := found["not_measured"]:
        page.print(
            f"[yellow]{len(missing)} features are not measured in both runs and count as unknown "
            f"where they are not:[/] {escape(', '.join(missing))}",
            soft_wrap=True,
        )


def _print_reasons(reasons: Sequence[Mapping[str, Any]], *, alone: bool) -> None:
    shown = [each for each in reasons if each["change"] or each["data"] or each["model"]]
    table = Table("reason", *(("was", "is") if alone else ()), "change", "data", "model")
    for each in shown[:MOST_REASONS]:
        values = (each.get("value_before", ""), each.get("value_after", ""))
        numbers = (f"{each[name]:+.3f}" for name in ("change", "data", "model"))
        table.add_row(escape(each["label"]), *(map(escape, values) if alone else ()), *numbers)
    if left := shown[MOST_REASONS:]:
        sums = (f"{sum(each[name] for each in left):+.3f}" for name in ("change", "data", "model"))
        table.add_row(f"{len(left)} more", *(("", "") if alone else ()), *sums)
    page.print(table)
