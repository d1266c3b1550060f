"""Why scores changed between two runs: of one person, or of the mean of everyone scored."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from features import time
from features.behavior.catalogue import from_json
from features.behavior.definitions import CategoryIs, Definition, ValueIs, ValueShare
from features.behavior.table import matrix_of
from features.errors import LikelierError
from features.identity.overrides import applied
from features.store import Manifest
from pipelines.building import PROFILES
from pipelines.erasing import hidden
from pipelines.explaining import CHUNK, estimate
from pipelines.insights import require_goal, too_old
from pipelines.person import profile_of
from pipelines.scoring import SCORES
from pipelines.stages import eligible_rows
from pipelines.workspace import Workspace
from serving.api.errors import UnknownIdentity
from serving.api.identities import in_body
from training.bundle import Bundle
from training.changes import BASE, Cases, Change, changes
from training.factors import gather, reasons_of
from training.wording import said_value

Floats = NDArray[np.float64]
Say = Callable[[str], None]


class NothingToCompare(LikelierError):
    """A change asked about where no other kept run can be compared with."""

    code = "nothing_to_compare"


class NotScored(LikelierError):
    """A person without a score for the goal in one of the two runs."""

    code = "not_scored"


@dataclass(frozen=True, eq=False)
class Scored:
    """A goal in one run: who was scored, on what, and by which bundle."""

    manifest: Manifest
    bundle: Bundle
    scores: pa.Table
    features: pa.Table

    @classmethod
    def read(cls, workspace: Workspace, manifest: Manifest, goal: str) -> Scored:
        """Read everyone scored for `goal`, in order of profile."""
        store, key = workspace.store, manifest.tables[SCORES]
        facts = store.facts(SCORES, key)
        if not isinstance(facts.get("features"), dict):
            raise too_old()
        scores = pq.read_table(
            store.folder(SCORES, key) / "scores.parquet", filters=[("goal", "==", goal)]
        )
        features = eligible_rows(store, facts["features"][goal], goal)
        bundle = Bundle.load(workspace.bundle_folder(goal, manifest.models[goal]))
        return cls(
            manifest,
            bundle,
            scores.sort_by("profile_key"),
            features.sort_by("profile_key"),
        )

    def only(self, profile_key: int) -> Scored:
        """Return the same of one person; nobody if they were not scored."""
        mine = (
            table.filter(pc.equal(table["profile_key"], profile_key))
            for table in (self.scores, self.features)
        )
        return Scored(self.manifest, self.bundle, *mine)

    def matrix(self, bundle: Bundle) -> tuple[Floats, list[str]]:
        """Return these people as `bundle` reads them, and its features that this run lacks.

        Such a feature is null for everyone. Values of an attribute are found by value: the place
        in the list may have changed. One that this run does not list is read as no.
        """
        now, then = (each.categories or {} for each in (self.bundle, bundle))
        found, missing = np.full((len(self.features), len(bundle.names)), np.nan), []
        for place, raw in enumerate(bundle.definitions):
            definition = from_json(raw)
            listing = _listing(definition)
            if listing in now:
                names = list(_columns(definition, then.get(listing, ()), now[listing]))
                found[:, place] = self._column(names).sum(axis=1)
            elif definition.feature.name in self.features.column_names:
                found[:, place] = self._column([definition.feature.name])[:, 0]
            else:
                missing.append(definition.feature.name)
        return found, missing

    def _column(self, names: Sequence[str]) -> Floats:
        known = [name for name in names if name in self.features.column_names]
        if not known:
            return np.zeros((len(self.features), 1))
        return matrix_of(self.features.select(known))


def _listing(definition: Definition) -> str:
    """Return which list of values a definition's place is in; "" where it is in none."""
    match definition:
        case CategoryIs(attribute=attribute):
            return attribute
        case ValueShare() | ValueIs() if definition.position or definition.value is None:
            return f"{definition.event}.{definition.attribute}"
    return ""


def _columns(wanted: Any, then: Sequence[str], now: Sequence[str]) -> Iterator[str]:
    """Yield the columns of a run listing `now` that add up to `wanted`, of `then`."""
    if wanted.value is not None:
        if wanted.value in now:
            yield replace(wanted, position=now.index(wanted.value) + 1).feature.name
        return
    for place, value in enumerate(now, 1):
        if value not in then:
            yield replace(wanted, value=value, position=place).feature.name
    yield wanted.feature.name


# The question ------------------------------------------------------------------------------------


def why_changed(
    workspace: Workspace,
    goal: str,
    identity: str | None = None,
    since: str | None = None,
    say: Say = lambda text: None,
) -> dict[str, Any]:
    """Return why a margin changed since another kept run, JSON-ready.

    Of the person with `identity`, or of the mean of everyone scored. `since` names the other run;
    by default it is the newest that was scored otherwise. `reasons` add up: `data` + `model` of
    each, `base` with the model, to the change of the margin. Raises `UnknownGoal`,
    `NothingToCompare`, `UnknownIdentity`, `NotScored`.
    """
    now = workspace.store.require_current()
    require_goal(now, goal)
    before = _other_run(workspace, now, goal, since)
    old, new = (Scored.read(workspace, run, goal) for run in (before, now))
    who: dict[str, Any] = {}
    if identity is not None:
        old, new, who = _person(workspace, old, new, identity)
    answers, missing = _cases(old, new, say)
    found = changes(answers)
    moved = answers.after - answers.before
    return {
        "goal": goal,
        **who,
        "before": _said(old, answers.before),
        "after": _said(new, answers.after),
        "change": {
            "margin": moved,
            "data": sum(each.data for each in found),
            "model": sum(each.model for each in found),
        },
        "reasons": _reasons(found, old, new, alone=identity is not None),
        "not_measured": missing,
    }


def _other_run(workspace: Workspace, now: Manifest, goal: str, since: str | None) -> Manifest:
    kept = [run for run in workspace.store.runs() if goal in run.models]
    others = [run for run in kept if run.tables[SCORES] != now.tables[SCORES]]
    found = [run for run in others if since is None or run.run_id == since]
    if not found:
        named = "; ".join(f"{run.run_id} as of {time.format_instant(run.as_of)}" for run in others)
        what = f"No kept run {since!r}" if since else "No other kept run"
        raise NothingToCompare(
            f"{what} scored {goal} on other data or by another model.",
            hint=f"There is {named}." if named else "Only the last runs are kept: run once more.",
        )
    return found[0]


def _person(
    workspace: Workspace, old: Scored, new: Scored, asked: str
) -> tuple[Scored, Scored, dict[str, Any]]:
    identity = in_body(asked, workspace.project.identity, "identity").identity
    row = _profile(workspace, new.manifest, [identity] if identity else [])
    if row is None or hidden(workspace, new.manifest, identity):
        raise UnknownIdentity(
            f"Nobody is known as {asked.partition(':')[0]}:… with that value.",
            hint="An identity is known from the first published run that read a row with it.",
        )
    earlier = _profile(workspace, old.manifest, [identity or "", *row["identities"]])
    names = {"profile_id": row["profile_id"]}
    if earlier is not None and earlier["profile_id"] != row["profile_id"]:
        names["profile_id_before"] = earlier["profile_id"]
    return _one(old, earlier), _one(new, row), names


def _one(scored: Scored, row: dict[str, Any] | None) -> Scored:
    mine = scored.only(row["profile_key"]) if row else None
    if mine is None or not len(mine.scores):
        moment = time.format_instant(scored.manifest.as_of)
        why = "were outside the goal's population" if row else "were not known"
        raise NotScored(
            f"They have no score for {scored.bundle.goal} as of {moment}: they {why}.",
            hint="Compare with a run that scored them: --since.",
        )
    return mine


def _profile(
    workspace: Workspace, manifest: Manifest, identities: Sequence[str]
) -> dict[str, Any] | None:
    folder = workspace.store.folder(PROFILES, manifest.tables[PROFILES])
    profiles = pq.read_table(folder / "profiles.parquet")
    overrides = applied(workspace.store, manifest)
    found = (profile_of(profiles, overrides.spellings(each)) for each in identities if each)
    return next((row for row in found if row is not None), None)


def _cases(old: Scored, new: Scored, say: Say) -> tuple[Cases, list[str]]:
    answers, missing = [], set[str]()
    for model in (old, new):
        for data in (old, new):
            matrix, lacking = data.matrix(model.bundle)
            missing |= set(lacking)
            answers.append(_means(model.bundle, matrix, say))
    return Cases(*answers), sorted(missing)


def _means(bundle: Bundle, matrix: Floats, say: Say) -> dict[str, float]:
    """Return the mean contribution of each reason over rows, and the base."""
    if len(matrix) > CHUNK:
        say(f"model {bundle.version}: {estimate(bundle, matrix).words}")
    sums, base = np.zeros(len(reasons_of(bundle.features))), 0.0
    for first in range(0, len(matrix), CHUNK):
        part = matrix[first : first + CHUNK]
        found = gather(bundle.trees.contributions(part), part, bundle.features)
        sums += found.sums.sum(axis=0)
        base = float(found.by_column[-1, 0])
    means = (sums / len(matrix)).tolist()
    codes = [reason.code for reason in reasons_of(bundle.features)]
    return dict(zip(codes, means, strict=True)) | {BASE: base}


def _said(scored: Scored, margin: float) -> dict[str, Any]:
    """Return one side as people are told it; of many people, means."""
    scores, manifest = scored.scores, scored.manifest
    told: dict[str, Any] = {
        "run_id": manifest.run_id,
        "as_of": time.format_instant(manifest.as_of),
        "model_version": scored.bundle.version,
        "people": len(scores),
        "margin": margin,
        "probability": pc.mean(scores["probability"]).as_py(),
        "score": pc.mean(scores["score"]).as_py(),
    }
    return told | ({"bucket": scores["bucket"][0].as_py()} if len(scores) == 1 else {})


def _reasons(
    found: Sequence[Change], old: Scored, new: Scored, *, alone: bool
) -> list[dict[str, Any]]:
    """Return changed reasons, largest first, in words; of one person with their values."""
    labels = {BASE: "What all scores of the model start from"}
    shown: dict[str, dict[str, str]] = {}
    for model in (old, new):
        labels |= {each.code: each.label for each in reasons_of(model.bundle.features)}
        if alone:
            shown |= _values(model.bundle, old, new)
    lines = []
    for each in found:
        line: dict[str, Any] = {"code": each.code, "label": labels[each.code]}
        line |= shown.get(each.code, {})
        weights = {"before": each.before, "after": each.after, "change": each.total}
        lines.append(line | weights | {"data": each.data, "model": each.model})
    return lines


def _values(bundle: Bundle, old: Scored, new: Scored) -> dict[str, dict[str, str]]:
    """Return, by reason, the feature that says most now, what its value was, and what it is."""
    before, after = (scored.matrix(bundle)[0] for scored in (old, new))
    now = gather(bundle.trees.contributions(after), after, bundle.features)
    then = gather(bundle.trees.contributions(before), before, bundle.features)
    found = {}
    for place, reason in enumerate(now.reasons):
        column = int(now.columns[0, place])
        earlier = int(then.columns[0, place]) if reason.one_hot else column
        found[reason.code] = {
            "label": reason.label if reason.one_hot else bundle.features[column].label,
            "value_before": _said_value(bundle, earlier, before),
            "value_after": _said_value(bundle, column, after),
        }
    return found


def _said_value(bundle: Bundle, column: int, row: Floats) -> str:
    """Say what a naming column holds; of an attribute that is its value, -1 = none known."""
    if column < 0:
        return "unknown"
    feature = bundle.features[column]
    attribute = feature.unit == "yes/no" and row[0, column] == 1
    return feature.label if attribute else said_value(feature, float(row[0, column]))
