"""What the commands of `likelier models` print for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

page = Console()


def print_versions(found: Mapping[str, Any]) -> None:
    """Print a list of versions: a table, and a warning where MLflow was not asked."""
    _warn(found["warnings"])
    if not found["versions"]:
        page.print("There are no versions yet: `likelier run` trains the first.")
        return
    table = Table("goal", "version", "MLflow", "alias", "AUC (95%)", "log loss", "ECE", "notes")
    table.columns[1].no_wrap = True
    for each in found["versions"]:
        table.add_row(
            each["goal"], each["version"], each["number"] or "", ", ".join(each["aliases"]),
            _auc(each["metrics"]), _figure(each["metrics"], "log_loss"),
            _figure(each["metrics"], "ece"), ", ".join(_notes(each)),
        )  # fmt: skip
    page.print(table)


def print_version(found: Mapping[str, Any]) -> None:
    """Print one version whole."""
    _warn(found["unreachable"])
    aliases = f" ({', '.join(found['aliases'])})" if found["aliases"] else ""
    page.print(f"[bold]{found['goal']} {found['version']}[/]{aliases}")
    for note in _notes(found):
        page.print(f"  {note}")
    if found["decision"]:
        page.print(escape(found["decision"]), soft_wrap=True)
    table = Table("figure", "value")
    for name, value in sorted(found["metrics"].items()):
        table.add_row(name, f"{value:,.4f}")
    page.print(table)
    for text in [*(found["warnings"] or ()), *(found["summary"] or ())]:
        page.print(escape(text), soft_wrap=True)
    print_log(found["log"][::-1])


def print_log(found: Sequence[Mapping[str, Any]]) -> None:
    """Print lines of the promotion log, in their order."""
    if not found:
        page.print("No champion has changed yet.")
    for each in found:
        before = each["before"] or "nothing"
        page.print(
            f"{each['at']} {each['goal']}: {before} to {each['after']} by {each['by']}: "
            f"{escape(each['why'])}",
            soft_wrap=True, highlight=False,
        )  # fmt: skip


def print_changed(body: Mapping[str, Any]) -> None:
    """Print what a change of champion by hand did."""
    before = f" instead of {body['before']}" if body["before"] else ""
    page.print(f"[bold]{body['goal']}: {body['after']}[/] is the champion{before}.")
    if body["published"]:
        page.print(f"Published as run {body['published']}: a running service takes it up.")


def _warn(warnings: Sequence[str]) -> None:
    for warning in warnings:
        page.print(f"[yellow]warning[/] {escape(warning)}", soft_wrap=True)


def _auc(metrics: Mapping[str, float]) -> str:
    if "auc" not in metrics:
        return ""
    low, high = metrics.get("auc_low"), metrics.get("auc_high")
    interval = f" ({low:.3f} to {high:.3f})" if low is not None and high is not None else ""
    return f"{metrics['auc']:.3f}{interval}"


def _figure(metrics: Mapping[str, float], name: str) -> str:
    return f"{metrics[name]:.4f}" if name in metrics else ""


def _notes(each: Mapping[str, Any]) -> list[str]:
    notes = ["scores the published run"] if each["published"] else []
    notes += ["learnt from erased people"] if each["learnt_from_erased"] else []
    return notes + ([] if each["in_store"] else ["in MLflow only"])
