"""`likelier check`: the project file and the data, judged before any work is done.

Every problem is found, not only the first: a usability report by source and column, as Customer
Insights gives one, made even when nothing can be run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from features.errors import LikelierError
from features.identity.override_files import BadOverrides
from features.measure_settings import Measure
from features.profiles.measures import read_measures
from features.settings import JOURNAL, Source
from features.sources import ingest
from features.sources.unite import counted
from pipelines.building import segment_vocabulary
from pipelines.expiring import look_backs
from pipelines.journalled import files_of
from pipelines.remedies import examples_of, with_remedies
from pipelines.reports import write_report
from pipelines.runner import Reporter
from pipelines.stages import (
    Bench,
    all_names,
    default_as_of,
    earliest_event,
    everything_known,
    overrides_said,
    plan_features,
    read_file,
    unify,
)
from pipelines.workspace import Workspace
from serving.exports.columns import check_exports
from serving.segments.definitions import compile_segments
from training.errors import Refusal
from training.goals import CompiledGoal, compile_goal
from training.spine import snapshots
from training.sufficiency import short_look_backs
from training.usability import Usability as GoalUsability
from training.usability import headline

State = Literal["error", "warning", "recommendation"]
MOSTLY_MISSING = 0.2
"""Share of missing values in a column that is warned of (Customer Insights: 20%)."""


SHOWN_NOBODIES = 5
"""Kinds of values that identify nobody, shown of one namespace."""
HINTS = {
    "not_a_phone": "Set the namespace's region if numbers are written without +.",
    "inexact_number": "Write ids as text: a program has rounded them.",
}
"""What to do where most values of a namespace are of no use, by reason."""


@dataclass(frozen=True)
class Finding:
    """One thing worth knowing before a run."""

    state: State
    where: str
    what: str
    hint: str = ""
    code: str = ""


@dataclass(frozen=True)
class Column:
    """One mapped column: what it is read as, and the share of accepted rows that have it."""

    source: str
    name: str
    kind: str
    filled: float


@dataclass
class Usability:
    """The whole report."""

    findings: list[Finding] = field(default_factory=list)
    columns: list[Column] = field(default_factory=list)
    goals: list[dict[str, Any]] = field(default_factory=list)
    """Usability reports of the goals that could be examined."""

    @property
    def errors(self) -> list[Finding]:
        """What makes a run impossible."""
        return [finding for finding in self.findings if finding.state == "error"]

    def body(self) -> dict[str, Any]:
        """Return the report JSON-ready."""
        return {
            "errors": len(self.errors),
            "findings": [asdict(finding) for finding in self.findings],
            "columns": [asdict(column) for column in self.columns],
            "goals": self.goals,
        }

    def refuse(self, where: str, error: LikelierError) -> None:
        """Note an error."""
        what = error.message.removeprefix(f"{where}: ")
        self.findings.append(Finding("error", where, what, error.hint, error.code))


def check_project(folder: Path, report: Reporter) -> Usability:
    """Return the usability report of the project in `folder`."""
    found = Usability()
    try:
        workspace = Workspace.open(folder)
    except LikelierError as error:
        found.refuse("likelier.yaml", error)
        return found
    with workspace.store.lock(), workspace.engine() as engine:
        bench = Bench(workspace, engine, lambda text: report("ingest", text))
        keys = _check_sources(bench, found)
        for problem in check_exports(workspace.project):
            found.refuse("destinations", problem)
        if not found.errors:
            _check_together(bench, keys, found)
    return found


def _check_sources(bench: Bench, found: Usability) -> dict[str, list[str]]:
    keys: dict[str, list[str]] = {}
    for source in bench.workspace.project.sources:
        where = f"sources.{source.name}"
        try:
            keys[source.name] = _read(bench, source)
        except LikelierError as error:
            found.refuse(where, error)
            continue
        facts = [bench.store.facts(ingest.TABLE, key) for key in keys[source.name]]
        if source.name == JOURNAL:
            # Each event was judged when it came: only settings that changed since can refuse it.
            if facts:
                _judge_rows(source, facts, found)
            continue
        _judge_rows(source, facts, found)
        _judge_identities(source, facts, found)
        _judge_columns(source, facts, found)
        _judge_times(bench, source, found)
    return keys


def _read(bench: Bench, source: Source) -> list[str]:
    files = files_of(bench.workspace, source)
    return [read_file(bench, file, file.path.name) for file in files]


def _judge_rows(source: Source, facts: list[dict[str, Any]], found: Usability) -> None:
    rows = sum(f["rows"] for f in facts)
    for code in sorted({code for f in facts for code in f["quarantined"]}):
        count = sum(f["quarantined"].get(code, 0) for f in facts)
        example = next(f["examples"][code] for f in facts if code in f["examples"])
        found.findings.append(
            Finding(
                "error" if count == rows else "warning",
                f"sources.{source.name}",
                f"{count:,} of {rows:,} rows are quarantined: {code}, first at row "
                f"{example['row']}: {example['value']!r}.",
                code=code,
            )
        )
    if not rows:
        found.findings.append(
            Finding("error", f"sources.{source.name}", "The files hold no rows.", code="no_rows")
        )


def _judge_identities(source: Source, facts: list[dict[str, Any]], found: Usability) -> None:
    """Say what stands where an identity should, and identifies nobody."""
    states: dict[str, State] = {"junk": "recommendation", "unusable": "warning"}
    for name, state in states.items():
        for namespace, counts in counted(facts, name).items():
            listed = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
            said = ", ".join(f"{count:,} {why}" for why, count in listed[:SHOWN_NOBODIES])
            found.findings.append(
                Finding(
                    state,
                    f"sources.{source.name}.identities.{namespace}",
                    f"{sum(counts.values()):,} values identify nobody: {said}.",
                    HINTS.get(listed[0][0], "Their rows stay where another identity is on them."),
                    code=name,
                )
            )


def _judge_columns(source: Source, facts: list[dict[str, Any]], found: Usability) -> None:
    accepted = sum(f["accepted"] for f in facts) or 1
    names = sorted({name for f in facts for name in f["types"]})
    for name in names:
        counts: dict[str, int] = {}
        for some in (f["types"].get(name, {}) for f in facts):
            for kind, count in some.items():
                counts[kind] = counts.get(kind, 0) + count
        values = counts.pop("values", 0)
        kind = next((k for k, n in counts.items() if values and n == values), "text")
        shown = name.removeprefix("attr_")
        found.columns.append(Column(source.name, shown, kind, values / accepted))
        # An attribute of some event types only is missing elsewhere by nature.
        if name.startswith("profile_") and values / accepted < 1 - MOSTLY_MISSING:
            found.findings.append(
                Finding(
                    "warning",
                    f"sources.{source.name}.{shown}",
                    f"{1 - values / accepted:.0%} of the values are missing.",
                )
            )
        almost = max(counts.values(), default=0)
        if kind == "text" and values and 0.98 < almost / values < 1:
            found.findings.append(
                Finding(
                    "recommendation",
                    f"sources.{source.name}.{shown}",
                    f"{values - almost:,} of {values:,} values are not numbers, so all are text.",
                    "If it is a number, write try_cast(COLUMN as double).",
                )
            )


def _judge_times(bench: Bench, source: Source, found: Usability) -> None:
    stated = "time_zone" in bench.workspace.project.model_fields_set or source.time_zone
    if not stated:
        found.findings.append(
            Finding(
                "warning",
                f"sources.{source.name}",
                "No time_zone is set: times without an offset are read as UTC.",
                "Set time_zone in the project or the source.",
            )
        )
    if source.kind == "events" and not source.received_at:
        found.findings.append(
            Finding(
                "recommendation",
                f"sources.{source.name}",
                "Without received_at a row counts as known when it happened: nothing can be "
                "promised about late rows.",
            )
        )
    undated = set(source.profile) - set(source.constant)
    if source.kind == "records" and not source.known_from and undated:
        found.findings.append(
            Finding(
                "warning",
                f"sources.{source.name}",
                f"Without known_from, {', '.join(sorted(undated))} may know the future: used in "
                "segments and files, never in features or goals.",
                "Name the column that says when the row was written, or list it as constant.",
            )
        )


def _check_together(bench: Bench, keys: dict[str, list[str]], found: Usability) -> None:
    project = bench.workspace.project
    try:
        unify(bench, keys)
        measures = _sound_measures(bench, found)
        vocabulary = everything_known(bench, measures)
    except LikelierError as error:
        where = "identity.overrides" if isinstance(error, BadOverrides) else "sources"
        found.refuse(where, error)
        return
    _judge_overrides(bench, found)
    goals = []
    for goal in project.goals:
        try:
            goals.append(compile_goal(goal, vocabulary))
        except LikelierError as error:
            found.refuse(f"goals.{goal.name}", error)
    try:
        compile_segments(project.segments, segment_vocabulary(bench, measures))
    except LikelierError as error:
        found.refuse("segments", error)
    if not found.errors:
        _judge_goals(bench, goals, found)
        found.findings += [Finding("warning", key, what) for key, what in look_backs(bench)]


def _sound_measures(bench: Bench, found: Usability) -> list[Measure]:
    """Return the measures that can be read; note what is wrong with the others."""
    project = bench.workspace.project
    read = read_measures(project.measures, all_names(bench, ()))
    for name, measure in read.items():
        if isinstance(measure, LikelierError):
            found.refuse(f"measures.{name}", measure)
    return [m for m in project.measures if not isinstance(read[m.name], LikelierError)]


def _judge_overrides(bench: Bench, found: Usability) -> None:
    for name, said in overrides_said(bench).items():
        where = f"identity.overrides.{name}"
        for code, count in said["refused"].items():
            example = said["examples"][code]
            shown = f": {example['value']!r}" if example["value"] else ""
            what = (
                f"{count:,} of {said['rows']:,} rows change nothing: {code}, first at row "
                f"{example['row']}{shown}."
            )
            found.findings.append(Finding("warning", where, what, code=code))
        if said["not_seen"]:
            what = f"{said['not_seen']:,} of {said['applied']:,} rows name who is in no row yet."
            found.findings.append(Finding("warning", where, what, code="not_seen"))


def _judge_goals(bench: Bench, goals: Sequence[CompiledGoal], found: Usability) -> None:
    """Say of each goal whether it can be trained, as a run of now would find it."""
    as_of = default_as_of(bench)
    try:
        plan_features(bench, as_of)
    except LikelierError as error:
        found.refuse("features", error)
        return
    earliest = earliest_event(bench, as_of)
    filled = {f"{column.source}.{column.name}": 1 - column.filled for column in found.columns}
    for goal in goals:
        usable = GoalUsability.begun(goal, as_of, earliest)
        usable = _examined(bench, goal, as_of, replace(usable, missing=filled), found)
        page = write_report(bench.workspace, usable)
        found.goals.append({"report": str(page), "says": headline(usable.body()), **usable.body()})


def _examined(
    bench: Bench, goal: CompiledGoal, as_of: int, usable: GoalUsability, found: Usability
) -> GoalUsability:
    """Return a goal's report with its people counted, and note what is wrong."""
    project, where = bench.workspace.project, f"goals.{goal.name}"
    earliest, most = earliest_event(bench, as_of), project.training.max_snapshots
    try:
        moments = snapshots(goal.settings, as_of, earliest, most)
        said = tuple(short_look_backs(goal, project.features.windows, moments, earliest))
        examples = examples_of(bench, goal, as_of, most)
        usable = replace(usable.counted(moments, examples), warnings=said)
        examples[-1].require(goal.settings.min_people, where)
    except Refusal as refusal:
        told = with_remedies(bench, goal, as_of, refusal)
        found.refuse(where, told)
        return usable.refused(told)
    for each in said:
        place, _, what = each.partition(": ")
        found.findings.append(Finding("warning", place, what))
    return usable
