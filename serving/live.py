"""Features of a person a moment after their newest event, for all goals of a generation at once.

What does not depend on the person is worked out once: conditions and definitions are read from the
facts of the generation, and goals that count the same events share one renderer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from features import time
from features.behavior.arriving import Arrived, Reader
from features.behavior.catalogue import from_json
from features.behavior.definitions import Definition, Valued, listed_beside
from features.behavior.history import History
from features.behavior.live import Live
from features.behavior.packed import Wanted
from features.behavior.scene import Ints
from features.conditions import Condition, Vocabulary
from features.conditions.live import Answer, Person, live
from features.conditions.live_events import Known, without
from features.conditions.parts import from_parts
from features.conditions.tree import AnyEvent, EventFilter
from features.measure_settings import Measure
from features.profiles.measures import with_measures
from serving.journal.event import LiveEvent
from serving.online import Floats


@dataclass(frozen=True, eq=False)
class _Asked:
    """One goal: who is eligible, its columns by name, and what they are made of."""

    name: str
    eligible: Condition
    excluded: tuple[EventFilter, ...]
    definitions: tuple[Definition, ...]
    columns: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class _Together:
    """Goals described by one renderer. `left`: what leaves out the events that do not count."""

    left: Callable[[Known], Known] | None
    renderer: Live
    eligible: Mapping[str, Answer]
    places: Mapping[str, Ints]

    def vectors(self, known: History, as_of: int, goals: Sequence[str]) -> dict[str, Floats]:
        """Return the features of those of `goals` that a person is eligible for."""
        if self.left is not None:
            known = replace(known, events=self.left(known.events))
        person = Person(known, as_of)
        asked = [name for name in goals if name in self.eligible and self.eligible[name](person)]
        if not asked:
            return {}
        row = self.renderer.features(known, as_of)
        return {name: row[self.places[name]] for name in asked}


class LiveGoals:
    """Describes people for the goals of one generation. May be called from several threads."""

    def __init__(self, meta: Mapping[str, Any], columns: Mapping[str, Sequence[str]]) -> None:
        """`meta`: the facts of the generation; `columns`: by goal, the features of its bundle."""
        vocabulary = _vocabulary(meta["live"])
        goals = [_goal(name, meta["goals"][name], vocabulary, columns[name]) for name in columns]
        self.naming = frozenset(meta["live"]["naming"])
        self.as_of = int(meta["as_of"])
        conditions = [condition for goal in goals for condition in _conditions(goal)]
        wanted = Wanted.by([x for goal in goals for x in goal.definitions], conditions)
        self.reader = Reader(wanted, meta["live"]["kinds"], vocabulary.time_zone)
        self._together = [_rendered(some) for some in _alike(goals)]

    def read(self, event: LiveEvent) -> Arrived:
        """Return an event as this generation reads it."""
        return self.reader.read(
            event.id, event.event_type, event.event_time, event.known_at, event.attributes,
            event.identities,
        )  # fmt: skip

    def moment(self, arrived: Iterable[Arrived]) -> int:
        """Return the as_of at which all events count: just after the newest became known.

        Never before the generation's own.
        """
        return max([self.as_of, *(int(time.just_after(each.known_at)) for each in arrived)])

    def vectors(
        self, history: History, arrived: Sequence[Arrived], as_of: int, goals: Sequence[str]
    ) -> dict[str, Floats]:
        """Return the features of a person at `as_of`, by those of `goals` they are eligible for."""
        known = self.reader.joined(history, arrived).known(as_of)
        found: dict[str, Floats] = {}
        for some in self._together:
            found |= some.vectors(known, as_of, goals)
        return found

    def warm_up(self) -> None:
        """Describe somebody of whom everything is known.

        Loops are compiled at their first run, for which no caller should wait.
        """
        wanted = self.reader.wanted.events
        stated = [(event, dict.fromkeys(names, "1")) for event, names in wanted.items()]
        arrived = [self.reader.read(event, event, 0, 0, names) for event, names in stated]
        history = History(self.reader.events(arrived))
        for some in self._together:
            some.renderer.features(history, self.as_of)

    def newcomer(self, identities: Iterable[str]) -> History:
        """Return the history of somebody with these identities of whom no run knew anything."""
        counts: dict[str, int] = {}
        for identity in set(identities):
            namespace = identity.partition(":")[0]
            counts[namespace] = counts.get(namespace, 0) + 1
        return History(identities=counts)

    def names_somebody(self, identities: Iterable[str]) -> bool:
        """Say whether one of these identities is a person's, an e-mail address or a phone."""
        return any(identity.partition(":")[0] in self.naming for identity in identities)


def _vocabulary(live_facts: Mapping[str, Any]) -> Vocabulary:
    names = Vocabulary(
        events=live_facts["events"],
        attributes=live_facts["attributes"],
        identities=frozenset(live_facts["identities"]),
        time_zone=live_facts["time_zone"],
    )
    return with_measures(names, [Measure.model_validate(each) for each in live_facts["measures"]])


def _goal(
    name: str, facts: Mapping[str, Any], vocabulary: Vocabulary, columns: Sequence[str]
) -> _Asked:
    excluded = [from_parts(each, vocabulary) for each in facts["excluded"]]
    return _Asked(
        name,
        from_parts(facts["eligible"], vocabulary),
        tuple(each.events for each in excluded if isinstance(each, AnyEvent)),
        tuple(from_json(each) for each in facts["definitions"]),
        tuple(columns),
    )


def _conditions(goal: _Asked) -> list[Condition]:
    return [goal.eligible, *map(AnyEvent, goal.excluded)]


def _alike(goals: Iterable[_Asked]) -> list[list[_Asked]]:
    """Return goals together that leave out the same events and mean the same by every `other`."""
    groups: list[list[_Asked]] = []
    for goal in goals:
        for group in groups:
            if group[0].excluded == goal.excluded and _mean_the_same([*group, goal]):
                group.append(goal)
                break
        else:
            groups.append([goal])
    return groups


def _mean_the_same(goals: Sequence[_Asked]) -> bool:
    """Say whether names, and the values that are not `other`, stay the same when put together.

    Goals may be scored by models of different runs, whose lists of values differ.
    """
    whole = _all_of(goals)
    named = len({x.feature.name for x in whole}) == len(whole)
    return named and all(
        set(listed_beside(x, goal.definitions)) == set(listed_beside(x, whole))
        for goal in goals
        for x in goal.definitions
        if isinstance(x, Valued) and x.value is None
    )


def _all_of(goals: Sequence[_Asked]) -> list[Definition]:
    return list(dict.fromkeys(x for goal in goals for x in goal.definitions))


def _rendered(goals: Sequence[_Asked]) -> _Together:
    definitions = _all_of(goals)
    place = {x.feature.name: at for at, x in enumerate(definitions)}
    return _Together(
        without(goals[0].excluded) if goals[0].excluded else None,
        Live(definitions),
        {goal.name: live(goal.eligible) for goal in goals},
        {goal.name: np.array([place[name] for name in goal.columns]) for goal in goals},
    )
