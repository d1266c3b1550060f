"""What commands print for people: tables and sentences on standard output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from features import time
from features.store import Manifest
from pipelines.building import LISTS, PROFILES
from pipelines.reports import report_path
from pipelines.unification_page import headline, sections
from pipelines.workspace import Workspace
from training.baselines import NAMES

if TYPE_CHECKING:
    from pipelines.checking import Usability
    from pipelines.forgetting import Found
    from pipelines.graphs import Shown
    from pipelines.runner import Outcome

page = Console()
SHOWN_LINKS = 8
SHOWN_CHANGES = 10
SHOWN_ALARMS = 6
KINDS = ("split", "merged", "renamed")
"""Kinds of change, the rarest first."""


def run_body(workspace: Workspace, outcome: Outcome) -> dict[str, Any]:
    """Return a run as JSON-ready facts: with everyone who changed, by name."""
    manifest = outcome.manifest
    found = {"made": outcome.made, "seconds": round(outcome.seconds, 2)}
    if manifest is None:
        return found | {"refused": dict(outcome.refused)}
    return {
        "run_id": manifest.run_id,
        "as_of": time.format_instant(manifest.as_of),
        **found,
        "usability": {
            goal: str(report_path(workspace, goal))
            for goal in (*manifest.figures["goals"], *manifest.figures.get("refused", {}))
        },
        "files": [str(path) for path in outcome.files],
        "models": dict(manifest.models),
        **manifest.figures,
        "warnings": [*outcome.warnings, *manifest.figures["warnings"]],
        "changed": _changes(workspace, manifest),
    }


def _changes(workspace: Workspace, manifest: Manifest) -> list[dict[str, Any]]:
    """Return who of the run before is called otherwise or has split, splits first."""
    folder = workspace.store.folder(LISTS, manifest.tables[LISTS])
    changes = pq.read_table(folder / "profile_changes.parquet").to_pylist()
    return sorted(changes, key=lambda row: (KINDS.index(row["kind"]), row["old"]))


def print_plan(plan: Sequence[tuple[str, str, str]]) -> None:
    """Print which stages are due."""
    for stage, state, what in plan:
        colour = "green" if state == "done" else "yellow"
        page.print(f"{stage:<9} [{colour}]{state}[/] {escape(what)}")


def print_run(workspace: Workspace, outcome: Outcome) -> None:
    """Print what a run made: rows, people, models, segments and files."""
    manifest = outcome.manifest
    if manifest is None:
        _print_refused(outcome.refused, {})
        page.print(f"Made: {_made(outcome)}. Nothing was published.")
        return
    if not outcome.made:
        moment = time.format_instant(manifest.as_of)
        page.print(f"Nothing to do: the input is unchanged since the run as of {moment}.")
    for warning in outcome.warnings:
        page.print(f"[yellow]warning[/] {escape(warning)}", soft_wrap=True)
    figures = manifest.figures
    page.print(f"\n[bold]As of {time.format_instant(manifest.as_of)}[/]")
    _print_sources(figures["sources"])
    people = figures["profiles"]
    page.print(
        f"{people['profiles']:,} profiles: {people['known']:,} known, "
        f"{people['anonymous']:,} anonymous"
    )
    if people["refused_links"]:
        refused = ", ".join(f"{n:,} by {why}" for why, n in people["refused_links"].items())
        page.print(f"Links refused: {refused}")
    for name, count in people["wide_identities"].items():
        page.print(f"  {name}: {count:,} links, seen with too many people", markup=False)
    for warning in figures["warnings"]:
        page.print(f"[yellow]warning[/] {escape(warning)}", soft_wrap=True)
    _print_overrides(figures["overrides"])
    _print_changes(_changes(workspace, manifest))
    _print_goals(figures["goals"])
    _print_scorecard(figures)
    _print_refused(figures.get("refused", {}), figures.get("unbuilt", {}))
    _print_segments(figures)
    if parity := figures.get("parity"):
        page.print(
            f"Live features of {parity['people']:,} people are those of the tables, to the bit"
        )
    for goal in (*figures["goals"], *figures.get("refused", {})):
        if (report := report_path(workspace, goal)).exists():
            page.print(f"Usability of {goal}: {report}", soft_wrap=True)
    for path in outcome.files:
        page.print(f"File: {path}", soft_wrap=True)
    if outcome.made:
        page.print(f"Done in {outcome.seconds:.1f} s")


def _print_refused(refused: Mapping[str, Any], unbuilt: Mapping[str, str]) -> None:
    for goal, error in refused.items():
        said = escape(f"{error['code']} {error['message']}")
        page.print(f"[red]{goal} is refused:[/] {said}", soft_wrap=True)
        page.print(f"[bold]Hint:[/] {escape(error['hint'])}", soft_wrap=True)
    for segment, goal in unbuilt.items():
        page.print(f"[yellow]Segment {segment} is not built:[/] it needs {goal}.")


def _made(outcome: Outcome) -> str:
    return ", ".join(f"{stage} {count}" for stage, count in outcome.made.items()) or "nothing"


def _print_sources(sources: dict[str, Any]) -> None:
    for name, found in sources.items():
        refused = sum(found["quarantined"].values())
        page.print(
            f"{name}: {found['rows']:,} rows read = {found['accepted']:,} accepted + "
            f"{found['duplicates']:,} duplicates + {refused:,} quarantined"
            + "".join(f" + {found[n]:,} {n}" for n in ("erased", "expired") if found[n])
        )
        for code, count in found["quarantined"].items():
            page.print(f"  {count:,} {code}")
        for namespace in sorted({*found["junk"], *found["unusable"]}):
            counts = found["junk"].get(namespace, {}) | found["unusable"].get(namespace, {})
            listed = ", ".join(f"{count:,} {escape(why)}" for why, count in counts.items())
            page.print(f"  nobody as {namespace}: {listed}", soft_wrap=True)


def _print_overrides(overrides: dict[str, Any]) -> None:
    for name, found in overrides.items():
        refused = sum(found["refused"].values())
        waiting = f", {found['not_seen']:,} not seen yet" if found["not_seen"] else ""
        page.print(
            f"Override {name}: {found['rows']:,} rows = {found['applied']:,} applied + "
            f"{found['duplicates']:,} duplicates + {refused:,} refused{waiting}"
        )
        for code, count in found["refused"].items():
            example = found["examples"][code]
            shown = f": {example['value']!r}" if example["value"] else ""
            page.print(f"  {count:,} {code}, first at row {example['row']}{escape(shown)}")


def _print_changes(changes: Sequence[Mapping[str, Any]]) -> None:
    if changes:
        page.print(f"{len(changes):,} people of the run before have changed:")
    for row in changes[:SHOWN_CHANGES]:
        page.print(f"  {escape(said_change(row))}", soft_wrap=True, highlight=False, emoji=False)
    if len(changes) > SHOWN_CHANGES:
        page.print(f"  and {len(changes) - SHOWN_CHANGES:,} more")


def said_change(row: Mapping[str, Any]) -> str:
    """Say a row of `profile_changes` in words."""
    old, new, moved = row["old"], row["new"], row["moved"]
    said = [f"it is {new} now"] if new != old else []
    if moved:
        said.append(f"{moved[0]['identity']} now belongs to {moved[0]['profile_id']}")
    if len(moved) > 1:
        said.append(f"and {len(moved) - 1:,} more moved")
    return f"{old} {row['kind']}: {', '.join(said)}"


def _print_goals(goals: dict[str, Any]) -> None:
    if not goals:
        return
    # Fits into 80 columns: an interval cut short says nothing.
    table = Table("goal", "grade", "serves", "AUC (95%)", "rule", "ECE", box=SIMPLE,
                  title="Models, on people and a time they were not fitted to")  # fmt: skip
    for name, found in goals.items():
        metrics = found["metrics"]
        table.add_row(
            name, found["grade"], found["serves"],
            f"{metrics['auc']:.3f} ({metrics['auc_low']:.3f} to {metrics['auc_high']:.3f})",
            f"{metrics['baseline_auc']:.3f}", f"{metrics['ece']:.3f}",
        )  # fmt: skip
    page.print(table)
    for name, found in goals.items():
        scored, buckets = found["scored"], found["scored"]["buckets"]
        counts = ", ".join(f"{buckets[bucket]:,} {bucket}" for bucket in ("low", "medium", "high"))
        page.print(f"{name}: {scored['people']:,} people scored: {counts}")
        what = "trained" if found["schedule"]["does"] == "train" else "scored only"
        page.print(f"{name}: {what}: {escape(found['schedule']['why'])}.", soft_wrap=True)
        if found["challenge"]:
            page.print(f"{name}: {escape(found['challenge']['words'])}", soft_wrap=True)
    for name, found in goals.items():
        page.print(f"{name}: {_rules(found)}", soft_wrap=True)
        hindsight = found["hindsight"]
        page.print(
            f"{name}: today's identities would have changed {hindsight['changed']:,} of "
            f"{hindsight['rows']:,} training rows; those of the time were used"
        )
        for warning in found["warnings"]:
            page.print(f"[yellow]{name}:[/] {escape(warning)}")


def _print_scorecard(figures: Mapping[str, Any]) -> None:
    for goal, card in figures["scorecard"].items():
        if found := card["batch"]:
            page.print(
                f"{goal} as of {card['as_of'][:10]}: {found['predicted']:.1%} predicted, "
                f"{found['happened']:.1%} ({found['low']:.1%} to {found['high']:.1%}) happened"
            )
    for alarm in figures["alarms"][:SHOWN_ALARMS]:
        said = f"{alarm['goal']} as of {alarm['as_of'][:10]}, {alarm['of']}: {alarm['what']}"
        page.print(f"[bold red]alarm {alarm['code']}[/] {escape(said)}", soft_wrap=True)
    if (more := len(figures["alarms"]) - SHOWN_ALARMS) > 0:
        page.print(f"  and {more:,} more alarms: likelier scorecard")
    for warning in figures["not_judged"]:
        page.print(f"[yellow]warning[/] {escape(warning)}", soft_wrap=True)


def _rules(found: Mapping[str, Any]) -> str:
    """Say how the simple rules rank the same people, and how far off what serves is."""
    metrics = found["metrics"]
    aucs = {rule: metrics.get(f"baseline_{rule}_auc") for rule in NAMES}
    told = ", ".join(f"{NAMES[rule]} {auc:.3f}" for rule, auc in aucs.items() if auc)
    return (
        f"AUC of simple rules: {told} (to beat: {NAMES[found['baseline']]}); ECE of the curve "
        f"that serves {metrics['served_ece']:.3f}"
    )


def _print_segments(figures: Mapping[str, Any]) -> None:
    if not figures["segments"]:
        return
    keys = ["members", "entered", "stayed", "left"]
    if any(count["opted_out"] for count in figures["segments"].values()):
        keys.append("opted_out")
    table = Table("segment", *(key.replace("_", " ") for key in keys), title="Segments")
    for name, count in figures["segments"].items():
        shown = (f"{count[key]:,}" for key in keys)
        table.add_row(name, *shown)
    page.print(table)
    for export in figures["exports"]:
        left = ", ".join(f"{n:,} {why}" for why, n in export["left_out"].items() if n)
        page.print(
            f"{export['segment']} to {export['destination']}: {export['rows']:,} rows of "
            f"{export['members']:,} members" + (f"; left out: {left}" if left else "")
        )


def print_requests(workspace: Workspace, port: int) -> None:
    """Print three requests that can be pasted while the service runs."""
    manifest = workspace.store.require_current()
    profiles = pq.read_table(
        workspace.store.folder(PROFILES, manifest.tables[PROFILES]) / "profiles.parquet",
        columns=["profile_id", "known"],
    ).to_pylist()
    members = pq.read_table(
        workspace.store.folder(LISTS, manifest.tables[LISTS]) / "memberships.parquet"
    )["profile_id"].to_pylist()
    known = {row["profile_id"]: row["known"] for row in profiles}
    someone = next((who for who in members if known.get(who)), profiles[0]["profile_id"])
    visitor = next((who for who in members if not known.get(who)), profiles[-1]["profile_id"])
    address = f"http://127.0.0.1:{port}"
    post = f"curl -s -H 'content-type: application/json' {address}"
    page.print("\nTry, while it serves:")
    for line in (
        f'{post}/score -d \'{{"identity": "{someone}", "factors": 3}}\'',
        f'{post}/score/batch -d \'{{"identities": ["{someone}", "{visitor}"]}}\'',
        f"curl -s {address}/profiles/{visitor.replace(':', '%3A')}",
    ):
        page.print("  " + escape(line), soft_wrap=True, highlight=False)


def print_backtests(figures: Sequence[dict[str, Any]]) -> None:
    """Print backtests, one a column, one figure a row, with its interval where it has one."""
    table = Table(
        "figure", *(f["as_of"] for f in figures), title=f"Backtest of {figures[0]['goal']}"
    )
    ends = ("goal", "as_of", *(f"{name}{end}" for name in figures[0] for end in ("_low", "_high")))
    for name in figures[0]:
        if name not in ends:
            table.add_row(name, *(_with_interval(found, name) for found in figures))
    page.print(table)


def _with_interval(found: Mapping[str, Any], name: str) -> str:
    value = found[name]
    shown = f"{value:.4f}" if isinstance(value, float) else f"{value}"
    if f"{name}_low" not in found:
        return shown
    return f"{shown} ({found[f'{name}_low']:.4f} to {found[f'{name}_high']:.4f})"


def print_learnt(learnt: dict[str, Any], to: Path | None) -> None:
    """Print what was learnt of a wide table: sentences, warnings, what matters, where it is."""
    for sentence in learnt["summary"]:
        page.print(escape(sentence), soft_wrap=True)
    for warning in learnt["warnings"]:
        page.print(f"[yellow]Warning:[/] {escape(warning)}", soft_wrap=True)
    table = Table("what matters", "share")
    for reason, share in list(learnt["importance"].items())[:10]:
        table.add_row(escape(reason), f"{share:.1%}")
    page.print(table)
    page.print(f"Model: {escape(learnt['model'])} in MLflow, and {escape(learnt['bundle'])}")
    if learnt["scored"] is not None:
        page.print(f"Scored {learnt['scored']:,} rows into {escape(str(to))}")


def print_person(found: dict[str, Any]) -> None:
    """Print one person."""
    kind = "known" if found["known"] else "anonymous"
    page.print(f"[bold]{escape(found['profile_id'])}[/] {kind}, as of {found['as_of']}")
    page.print(f"seen {found['first_seen']} to {found['last_seen']}")
    for name, value in found["attributes"].items():
        origin = found["attribute_sources"].get(name)
        page.print(f"  {name}: {escape(str(value))}{_origin(origin)}", soft_wrap=True)
    for measure in found["measures"]:
        value = "not defined" if measure["value"] is None else measure["value"]
        page.print(f"  {escape(measure['label'])}: {escape(str(value))}")
    segments = ", ".join(row["segment"] for row in found["segments"]) or "none"
    page.print(f"segments: {segments}")
    for score in found["scores"]:
        page.print(
            f"{score['goal']}: score {score['score']:.1f} ({score['bucket']}), probability "
            f"{score['probability']:.3f}, percentile {score['percentile']}"
        )
        for factor in score["factors"][:5]:
            said = f"{escape(factor['label'])}: {escape(factor['value_text'])}"
            page.print(f"  {factor['direction']} ({factor['importance']}): {said}")
    page.print(f"{len(found['identities'])} identities")
    for link in found["links"][:SHOWN_LINKS]:
        a, b = link["identities"]
        seen = (
            f"by override ({link['override']})" if "override" in link
            else f"seen together {link['sightings']} times, {link['first_seen']} to "
            f"{link['last_seen']}"
        )  # fmt: skip
        page.print(f"  {a} with {b}: {seen}", soft_wrap=True)
    if len(found["links"]) > SHOWN_LINKS:
        page.print(f"  and {len(found['links']) - SHOWN_LINKS} more links")
    table = Table("time", "event", "source", "attributes", title="Newest events")
    for event in found["events"]:
        rest = {k: v for k, v in event.items() if k not in ("event_time", "event_type", "source")}
        shown = ", ".join(f"{name}={value}" for name, value in rest.items())
        table.add_row(event["event_time"], event["event_type"], event["source"], shown)
    page.print(table)


def _origin(origin: dict[str, Any] | None) -> str:
    if origin is None:
        return ""
    said = [origin["source"], origin["file"], f"row {origin['row']}", origin["at"] or "undated"]
    return escape(f" (from {', '.join(filter(None, said))})")


def print_found(found: Found) -> None:
    """Print what there is of a person, without naming them."""
    body = found.body()
    _print_counts(body["counts"])
    for file, rows in body["files"].items():
        page.print(f"File: {file}: {rows:,} rows", soft_wrap=True)


def print_receipt(receipt: dict[str, Any]) -> None:
    """Print what an erasure took away."""
    page.print(f"[bold]Erased[/] at {receipt['erased_at']}, receipt {receipt['erasure']}")
    _print_counts(receipt["counts"])
    for file in receipt["files_rewritten"]:
        page.print(f"File rewritten: {file}", soft_wrap=True)
    for model in receipt["models_trained_on_them"]:
        page.print(
            f"[yellow]{model['goal']}:[/] model {model['version']} had learnt from them; "
            "`likelier run` trains it anew"
        )


def _print_counts(counts: Mapping[str, int]) -> None:
    shown = ", ".join(f"{n:,} {name.replace('_', ' ')}" for name, n in counts.items() if n)
    page.print(f"Rows: {shown}", soft_wrap=True)


def print_findings(usability: Usability) -> None:
    """Print a usability report: findings first, then every column."""
    colours = {"error": "red", "warning": "yellow", "recommendation": "cyan"}
    for finding in usability.findings:
        page.print(
            f"[{colours[finding.state]}]{finding.state}[/] {escape(finding.where)}: "
            f"{escape(finding.what)} {escape(finding.hint)}",
            soft_wrap=True,
        )
    if usability.columns:
        table = Table("source", "column", "is", "filled", title="Columns")
        for column in usability.columns:
            table.add_row(column.source, column.name, column.kind, f"{column.filled:.1%}")
        page.print(table)
    for goal in usability.goals:
        page.print(escape(goal["says"]), soft_wrap=True)
        page.print(f"Report: {goal['report']}", soft_wrap=True)
    errors = len(usability.errors)
    page.print("No errors." if not errors else f"{errors} error{'s' if errors > 1 else ''}.")


def print_unification(report: dict[str, Any]) -> None:
    """Print a unification report: its tables, each with how to read it."""
    page.print(f"[bold]As of {report['as_of']}[/] {headline(report)}")
    for section in sections(report):
        table = Table(*section.columns, title=section.title, caption=section.note or None)
        for place, column in enumerate(table.columns):
            column.overflow = "fold"
            if isinstance(section.rows[0][place], int):
                column.justify = "right"
        for row in section.rows:
            table.add_row(*(f"{v:,}" if isinstance(v, int) else escape(v) for v in row))
        page.print(table)


def print_graph(shown: Shown) -> None:
    """Print a graph: profiles, links that hold and since when, refused links and why."""
    # Values are shown as they are: a colon at both ends of one makes no emoji.
    as_is: dict[str, Any] = {"soft_wrap": True, "emoji": False, "highlight": False}
    page.print(f"[bold]{escape(shown.title)}[/]", **as_is)
    who = shown.who
    for number, profile in enumerate(who.profiles, 1):
        page.print(f"profile {number}: {escape(', '.join(profile))}", **as_is)
    held = {name for profile in who.profiles for name in profile}
    if alone := [name for name in who.identities if name not in held]:
        page.print(f"in no profile: {escape(', '.join(alone))}", **as_is)
    for link in who.links:
        state = f"refused ({link.refused})" if link.refused else "linked"
        state += f" by override ({link.override})" if link.override else ""
        pair = escape(f"{link.a} with {link.b}")
        page.print(f"  {pair}: {state}; {link.seen(shown.when)}", **as_is)
