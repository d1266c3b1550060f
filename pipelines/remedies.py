"""Which change of setting would let a refused goal be trained: tried on the data, not guessed.

A trial counts people as training would: the snapshots that the changed goal would have, whoever is
eligible at each, and their closed labels. No feature is measured. Of one setting, smaller changes
are tried first, and a direction is left as soon as it gives no more of the people who lack.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from features import time
from features.behavior.scene import People
from features.conditions.text import text_in_full
from features.goal_settings import Goal
from features.time import Window
from pipelines.stages import Bench, default_as_of, earliest_event, eligibility, unexpired
from training.errors import NotEnoughHistory, OneClassError, Refusal, Remedy, TooFewExamples
from training.goals import CompiledGoal, widened
from training.labels import labels
from training.spine import SHORTEST_HISTORY, event_rows, look_back, snapshots
from training.sufficiency import Examples

LONGER, SHORTER = (1.5, 2, 3, 4), (0.75, 0.5, 0.25)
"""Outcome windows tried, as multiples of the goal's."""
WIDER = (2, 4, None)
"""Look-backs of the population tried, as multiples; None is the whole history."""
MOST_SNAPSHOTS = 60
"""What `training.max_snapshots` may be."""
LONGEST = 300
"""A population that takes more characters to say is not tried: nobody would read it."""
ROUGH = 50
"""Fewer people than this are no remedy, whatever `min_people` says."""


@dataclass(frozen=True)
class Trial:
    """A goal with one setting changed, at a moment, with so many snapshots at most."""

    setting: str
    value: str
    goal: CompiledGoal
    as_of: int
    most: int


def examples_of(bench: Bench, goal: CompiledGoal, as_of: int, most: int) -> list[Examples]:
    """Return what a goal could learn from, counted, by snapshot, newest first, and last in all.

    Raises `NotEnoughHistory`.
    """
    moments = snapshots(goal.settings, as_of, earliest_event(bench, as_of), most)
    parts = [_labelled(bench, goal, as_of, [moment]) for moment in moments]
    return [
        *(Examples.of(*part) for part in parts),
        Examples.of(*(np.concatenate(side) for side in zip(*parts, strict=True))),
    ]


def _labelled(
    bench: Bench, goal: CompiledGoal, as_of: int, moments: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the labels and persons of the rows of a goal's spine at `moments`."""
    if goal.settings.spine == "at_events":
        seed, step = bench.workspace.project.training.seed, goal.settings.outcome_window
        log = bench.log_of(goal)
        people = event_rows(bench.engine, log, bench.graph, moments, step, seed)
    else:
        people = People.everyone(bench.graph.at(moments[0]))
    people = people.only(eligibility(bench, [goal], people)[goal.name])
    people = unexpired(bench, people, as_of)
    found = labels(bench.engine, bench.log_of(goal), bench.graph, goal, people)
    return found.label[found.known], found.person_group[found.known]


def with_remedies(bench: Bench, goal: CompiledGoal, as_of: int, refusal: Refusal) -> Refusal:
    """Return a refusal for want of history or people with what would mend it; others as they are.

    `as_of` is the run's moment.
    """
    search = _Search(bench, goal, as_of)
    if isinstance(refusal, NotEnoughHistory):
        return refusal.with_remedies(search.for_history())
    if isinstance(refusal, OneClassError | TooFewExamples):
        return refusal.with_remedies(search.for_people())
    return refusal


class _Search:
    """The trials of one refused goal."""

    def __init__(self, bench: Bench, goal: CompiledGoal, as_of: int) -> None:
        self.bench, self.goal, self.as_of = bench, goal, as_of
        self.fewest = goal.settings.min_people
        self.most = bench.workspace.project.training.max_snapshots
        self.earliest = earliest_event(bench, as_of)
        self.newest = default_as_of(bench)
        self.back = look_back(goal.settings)

    # Too short a history -------------------------------------------------------------------------

    def for_history(self) -> list[Remedy]:
        """Return what would leave room for one snapshot, with the people it would give."""
        settings, history = self.goal.settings, self.as_of - self.earliest
        longest = time.longest_outcome(history, settings.gap, SHORTEST_HISTORY)
        trials = [*self._windows([_round(longest)])]
        if settings.gap:
            spare = history - time.outcome_end(self.back.micros, None, settings.outcome_window)
            trials += self._gaps([_round(spare)])
        needed = time.outcome_end(self.back.micros, settings.gap, settings.outcome_window)
        if time.has_history(self.newest, self.earliest, Window(needed)):
            trials.append(self._moved(self.newest))
        return [remedy for trial in trials if (remedy := self._tried(trial))]

    # Too few people ------------------------------------------------------------------------------

    def for_people(self) -> list[Remedy]:
        """Return what would give enough people; where nothing would, the best of each setting."""
        settings = self.goal.settings
        now = self._count(Trial("", "", self.goal, self.as_of, self.most))
        if now is None:
            return []
        length = settings.outcome_window.micros
        ladders: list[Iterable[Trial]] = [
            self._windows([_round(length * times) for times in LONGER]),
            self._windows([_round(length * times) for times in SHORTER]),
        ]
        if settings.gap:
            ladders.append(self._gaps([_round(settings.gap.micros / 2), 0]))
        ladders += [self._populations(), self._depths(), self._moments()]
        best = [remedy for ladder in ladders if (remedy := self._climb(ladder, now))]
        enough = [remedy for remedy in best if remedy.enough] or best
        fewest = min(now.with_outcome, now.without)
        if fewest >= ROUGH:
            found = Remedy("min_people", f"{fewest}", now.with_outcome, now.without, True)
            enough.append(found)
        return enough

    def _climb(self, ladder: Iterable[Trial], now: Examples) -> Remedy | None:
        """Return the first trial that is enough, or the last that gave more than the one before."""
        best, most = None, min(now.with_outcome, now.without)
        for trial in ladder:
            remedy = self._tried(trial)
            if remedy is None or min(remedy.with_outcome, remedy.without) <= most:
                break
            best, most = remedy, min(remedy.with_outcome, remedy.without)
            if remedy.enough:
                break
        return best

    # Trials --------------------------------------------------------------------------------------

    def _windows(self, lengths: Iterable[int]) -> Iterator[Trial]:
        for length in lengths:
            if length and length != self.goal.settings.outcome_window.micros:
                window = Window(length)
                yield self._changed("outcome_window", str(window), outcome_window=window)

    def _gaps(self, lengths: Iterable[int]) -> Iterator[Trial]:
        for length in dict.fromkeys(lengths):
            gap = Window(length) if length > 0 else None
            yield self._changed("gap", str(gap or "null"), gap=gap)

    def _populations(self) -> Iterator[Trial]:
        for times in WIDER:
            eligible = widened(self.goal.eligible, times)
            said = text_in_full(eligible)
            if eligible != self.goal.eligible and len(said) <= LONGEST:
                goal = replace(self.goal, eligible=eligible)
                yield Trial("eligible", said, goal, self.as_of, self.most)

    def _depths(self) -> Iterator[Trial]:
        """Yield more snapshots, where history has more than are used."""
        there = len(self._snapshots(MOST_SNAPSHOTS))
        for most in (2 * self.most, 4 * self.most, MOST_SNAPSHOTS):
            if most <= MOST_SNAPSHOTS and there > self.most:
                name = "training.max_snapshots"
                yield Trial(name, str(most), self.goal, self.as_of, most)

    def _moments(self) -> Iterator[Trial]:
        """Yield the newest moment there is, and one before the snapshots that are used."""
        if self.newest > self.as_of:
            yield self._moved(self.newest)
        elif len(self._snapshots(2 * self.most)) == 2 * self.most:
            oldest = self._snapshots(self.most)[-1]
            yield self._moved(oldest)

    def _snapshots(self, most: int) -> list[int]:
        return snapshots(self.goal.settings, self.as_of, self.earliest, most)

    def _moved(self, as_of: int) -> Trial:
        return Trial("--as-of", time.format_instant(as_of), self.goal, as_of, self.most)

    def _changed(self, setting: str, value: str, **changes: Window | None) -> Trial:
        settings: Goal = self.goal.settings.model_copy(update=changes)
        goal = replace(self.goal, settings=settings)
        return Trial(setting, value, goal, self.as_of, self.most)

    def _tried(self, trial: Trial) -> Remedy | None:
        """Return what a trial gives; None where there is no history for it."""
        self.bench.say(f"{self.goal.name} is refused; trying {trial.setting}: {trial.value}")
        found = self._count(trial)
        if found is None:
            return None
        enough = found.enough(self.fewest)
        return Remedy(trial.setting, trial.value, found.with_outcome, found.without, enough)

    def _count(self, trial: Trial) -> Examples | None:
        try:
            return examples_of(self.bench, trial.goal, trial.as_of, trial.most)[-1]
        except NotEnoughHistory:
            return None


def _round(micros: float) -> int:
    """Return a length in whole days, or hours, or minutes where it is shorter than two of them."""
    for unit in (time.MICROS_PER_DAY, 3_600 * time.MICROS_PER_SECOND):
        if micros >= 2 * unit:
            return int(micros // unit) * unit
    return int(micros // time.MICROS_PER_SECOND) * time.MICROS_PER_SECOND
