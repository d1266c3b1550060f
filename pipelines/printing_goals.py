"""What the commands of `likelier goals` print for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.markup import escape
from rich.table import Table

from pipelines.printing import page
from training.bucket_factors import EVERYONE, said_values


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
