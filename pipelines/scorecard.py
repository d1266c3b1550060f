"""The scorecard: once an outcome window has closed, what was predicted against what happened.

A card is made once, by the first run whose as_of has reached the end of the window, of what was
known by then: whatever comes later changes nothing of it (`likelier run --from score` alone makes
cards anew). It holds counts and rates and names nobody.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from features import time
from features.behavior.scene import People
from features.errors import LikelierError, did_you_mean
from features.identity.graph import NOBODY
from features.store import Manifest, Store, key_of
from pipelines.drifting import drift_alarms, drift_figures, drift_of_scores
from pipelines.history import COLUMNS, Entry, entries_of, record, settings_of
from pipelines.scoring import SCORES
from pipelines.stages import Bench, default_as_of, everything_known
from pipelines.workspace import Workspace
from serving.scorer import UnknownGoal
from serving.served import answered
from training.goals import CompiledGoal, canonical, compile_goal
from training.labels import labels
from training.reference import Reference
from training.scorecard import Card, Outcomes

CARDS = "cards"
CARDS_VERSION = 1
BATCH, SERVED = "batch", "served"
"""Whose scores a card is of: everyone scored, or those of them the service was asked about."""


class NotJudged(LikelierError):
    """Scores whose outcome cannot be read any more: the goal speaks of what the data lack now."""

    code = "not_judged"


@dataclass(frozen=True)
class Cards:
    """Versions of the cards there are, and a sentence on every entry that cannot be judged."""

    keys: tuple[str, ...]
    warnings: tuple[str, ...]


def close_cards(bench: Bench, entries: Sequence[Entry], as_of: int) -> Cards:
    """Make the card of every entry whose window has closed; keep those that were made before.

    A window has closed when both `as_of` and the data have reached its end.
    """
    now = min(as_of, default_as_of(bench))
    before = {facts["id"]: key for key, facts in cards_of(bench.store, bench.store.current())}
    served = _Served(bench.store)
    keys, warnings = [], []
    for entry in entries:
        made = before.get(entry.id)
        if time.has_closed(entry.closes_at, now) and (made is None or bench.salt("score")):
            try:
                made = _make(bench, entry, served)
            except LikelierError as error:
                at = time.format_instant(entry.as_of)
                warnings.append(f"{NotJudged.code}: {entry.goal} as of {at}: {error.message}")
        keys += [made] if made else []
    return Cards(tuple(keys), tuple(warnings))


def cards_of(store: Store, manifest: Manifest | None) -> list[tuple[str, dict[str, Any]]]:
    """Return the cards that a run published, each with its version."""
    keys = manifest.tables.get(CARDS, "") if manifest else ""
    return [(key, store.facts(CARDS, key)) for key in keys.split("+") if key]


class _Served:
    """The answers of the service, by goal, model version and as_of: read when first asked for."""

    def __init__(self, store: Store) -> None:
        self._folder = store.root / "served"
        self._found: Mapping[tuple[str, str, str], dict[str, dict[str, Any]]] | None = None

    def of(self, entry: Entry) -> pa.Table:
        """Return the last answer on each person, with `COLUMNS`."""
        if self._found is None:
            self._found = _last_answers(answered(self._folder))
        moment = time.format_instant(entry.as_of)
        lines = self._found.get((entry.goal, entry.version, moment), {}).values()
        score = np.array([line["score"] for line in lines], dtype=np.float64)
        columns: dict[str, Any] = {
            "profile_id": pa.array([line["profile_id"] for line in lines], pa.string()),
            "probability": np.array([line["probability"] for line in lines], dtype=np.float64),
            # The log has no margin: scores rank people as margins do, but for ties.
            "margin": score,
            "bucket": pa.array(Reference.bucket(score).tolist(), pa.string()),
        }
        return pa.table({name: columns[name] for name in COLUMNS})


def _last_answers(
    lines: Iterable[Mapping[str, Any]],
) -> Mapping[tuple[str, str, str], dict[str, dict[str, Any]]]:
    found: dict[tuple[str, str, str], dict[str, dict[str, Any]]] = defaultdict(dict)
    for line in lines:
        if line["status"] != "scored":
            continue
        mine = found[line["goal"], line["model_version"], line["as_of"]]
        last = mine.get(line["profile_id"])
        if last is None or last["time"] <= line["time"]:
            kept = ("time", "profile_id", "probability", "score")
            mine[line["profile_id"]] = {name: line[name] for name in kept}
    return found


def _make(bench: Bench, entry: Entry, served: _Served) -> str:
    key = key_of(CARDS, CARDS_VERSION, entry.id, bench.salt("score"))
    moment = time.format_instant(entry.as_of)[:16]
    if bench.due("score", CARDS, key, f"comparing {entry.goal} as of {moment} with what happened"):
        goal = _goal(bench, entry)
        everyone = entry.scores(bench.store)
        facts = {
            "id": entry.id, "goal": entry.goal, "kind": entry.settings["kind"],
            "version": entry.version, "as_of": entry.as_of, "closes_at": entry.closes_at,
            BATCH: _judged(bench, goal, entry, everyone, entry.missing),
            SERVED: _judged(bench, goal, entry, served.of(entry), 0),
        }  # fmt: skip
        with bench.store.writing(CARDS, key) as (_, noted):
            noted |= facts
        record(bench, entry.goal, entry.version, _metrics(facts[BATCH]), entry.closes_at)
    return key


def _metrics(card: Mapping[str, Any] | None) -> dict[str, float]:
    """Return the figures of a card that are kept in MLflow."""
    if card is None:
        return {}
    everyone = card["everyone"]
    found = {"card_predicted": everyone["predicted"], "card_happened": everyone["happened"]}
    found |= {"card_ece": card["ece"]}
    return found if card["auc"] is None else found | {"card_auc": card["auc"]}


def _goal(bench: Bench, entry: Entry) -> CompiledGoal:
    """Return the goal as it was; raise when its outcome means something else by now."""
    goal = compile_goal(settings_of(entry), everything_known(bench))
    if canonical(goal)["outcome"] != entry.outcome:
        raise NotJudged(f"its outcome was {entry.outcome}, and a measure in it has changed since.")
    return goal


def _judged(
    bench: Bench, goal: CompiledGoal, entry: Entry, scores: pa.Table, missing: int
) -> dict[str, Any] | None:
    """Return the card of scored people, JSON-ready; None where nobody is found again."""
    ids = scores["profile_id"].to_pylist()
    places = bench.graph.identities.keys_of(set(ids))
    key = np.array([places.get(each, NOBODY) for each in ids], dtype=np.int64)
    here, none = key != NOBODY, np.empty(0, dtype=np.int64)
    if not here.any():
        return None
    people = People(key[here], np.full(int(here.sum()), entry.as_of), none, none)
    found = labels(bench.engine, bench.log_of(goal), bench.graph, goal, people)
    if not found.known.any():
        return None
    kept = np.flatnonzero(here)[found.known]
    said = {name: scores[name].to_numpy(zero_copy_only=False)[kept] for name in COLUMNS[1:]}
    outcomes = Outcomes(
        probability=said["probability"],
        margin=said["margin"],
        bucket=said["bucket"].astype(np.str_),
        happened=found.label[found.known],
        person=found.person_group[found.known],
    )
    # Who lost a subscription within the gap is there, and has no outcome to be right about.
    gone = int((~here).sum()) + int((found.person_group == NOBODY).sum())
    return Card.of(outcomes, missing + gone, entry.promised).body()


# What is told of it ------------------------------------------------------------------------------


def scorecard(workspace: Workspace, goal: str | None = None) -> dict[str, Any]:
    """Return the scorecard of the published run, JSON-ready: newest cards first.

    `waiting` are scores whose window is open; `drift` is of the run's own scores, by goal, the most
    moved first. Raises `UnknownGoal`.
    """
    store, manifest = workspace.store, workspace.store.require_current()
    goals = [each.name for each in workspace.project.goals]
    if goal is not None and goal not in goals:
        raise UnknownGoal(f"There is no goal {goal!r}.", hint=did_you_mean(goal, goals))
    cards = [facts for _, facts in cards_of(store, manifest) if goal in (None, facts["goal"])]
    cards.sort(key=lambda card: (card["goal"], -card["as_of"], card["version"]))
    judged = {card["id"] for card in cards}
    waiting = [
        {"goal": each.goal, "version": each.version, "as_of": time.format_instant(each.as_of),
         "closes_at": time.format_instant(each.closes_at), "people": each.people}
        for each in entries_of(store, manifest)
        if each.id not in judged and goal in (None, each.goal)
    ]  # fmt: skip
    shown = [
        card | {name: time.format_instant(card[name]) for name in ("as_of", "closes_at")}
        for card in cards
    ]
    moved = {
        name: found
        for name, found in drift_of_scores(store, manifest.tables[SCORES]).items()
        if goal in (None, name)
    }
    now = time.format_instant(manifest.as_of)
    return {
        "as_of": now,
        "cards": shown,
        "waiting": waiting,
        "drift": moved,
        "alarms": [*alarms_of(cards), *drift_alarms(moved, manifest.models, now)],
    }


def scorecard_figures(
    store: Store, cards: Cards, scores: str, models: Mapping[str, str], as_of: int
) -> dict[str, Any]:
    """Return what a run tells, JSON-ready: the newest card of each goal, drift, and alarms."""
    moved, now = drift_of_scores(store, scores), time.format_instant(as_of)
    made = [store.facts(CARDS, key) for key in cards.keys]
    newest = {
        goal: {"as_of": time.format_instant(card["as_of"]), "version": card["version"]}
        | {of: card[of] and card[of]["everyone"] for of in (BATCH, SERVED)}
        for goal, card in newest_of(made).items()
    }
    return {
        "scorecard": newest,
        "drift": drift_figures(moved),
        "alarms": [*alarms_of(made), *drift_alarms(moved, models, now)],
        "not_judged": list(cards.warnings),
    }


def newest_of(cards: Iterable[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Return the newest closed card of each goal."""
    return {card["goal"]: card for card in sorted(cards, key=lambda card: int(card["as_of"]))}


def alarms_of(cards: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return what is wrong by the newest closed card of each goal, JSON-ready."""
    return [
        {"code": alarm["code"], "goal": goal, "version": card["version"], "of": of,
         "as_of": time.format_instant(card["as_of"]), "what": alarm["what"]}
        for goal, card in newest_of(cards).items()
        for of in (BATCH, SERVED) if card[of]
        for alarm in card[of]["alarms"]
    ]  # fmt: skip
