"""One generation of scores: the online store and the model bundles of its goals.

A score is computed by the bundle that the run used: from the vector that the run published, so that
a request and the `scores` table agree to the bit, or, of a person with events since, from features
of that moment (`serving.live`). A `Scorer` never changes but for its recent events; a newer
generation is another `Scorer`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from features.behavior.arriving import Arrived
from features.errors import LikelierError, StoreError, did_you_mean
from features.store import Manifest, Store
from features.time import format_instant
from serving.finding import Finder, Found
from serving.journal.event import LiveEvent
from serving.live import LiveGoals
from serving.online import Floats, OnlineStore, ProfileRecord, Recent
from serving.online.places import Place
from training.bundle import Bundle, ScoredOne
from training.factors import explain

MOST_FACTORS = 10

MakesRecent = Callable[[Callable[[LiveEvent], Arrived]], Recent]


class UnknownGoal(LikelierError):
    """A goal that the published generation does not score."""

    code = "unknown_goal"
    status = 422


class BrokenGeneration(StoreError):
    """A published run whose parts do not fit together."""

    code = "broken_generation"


@dataclass(frozen=True)
class Asked:
    """Who is asked about: `said` is echoed; `identity` is how the store knows them.

    `identity` has personal data hashed, and is None when what was said identifies nobody.
    """

    said: str
    identity: str | None


@dataclass(frozen=True, eq=False)
class Answer:
    """What is told about one person, and the vectors (features,) of the goals scored."""

    asked: Asked
    body: dict[str, Any]
    vectors: Mapping[str, Floats]


@dataclass(frozen=True, eq=False)
class ServedGoal:
    """A goal with its bundle, and the facts that every score of it carries."""

    name: str
    bundle: Bundle
    model_version: str
    kind: str
    basis: str
    eligible_words: str
    base_rate: float
    life: int
    """How long a score is good for, in microseconds."""

    @classmethod
    def load(cls, store: Store, name: str, as_of: int, facts: Mapping[str, Any]) -> ServedGoal:
        """Load the bundle that `facts` name; raise `BrokenGeneration` when it is another."""
        folder = store.root / "models" / name / facts["version"]
        bundle = Bundle.load(folder)
        if (bundle.goal, bundle.version) != (name, facts["version"]):
            raise BrokenGeneration(
                f"{folder} holds {bundle.goal} {bundle.version}.", hint="Publish a new run."
            )
        # One thread: a worker's requests must not fight over the cores. The bits are the same.
        single = replace(bundle, trees=replace(bundle.trees, threads=1))
        # The first reasons take up to seconds to get ready for; no caller should wait for that.
        single.trees.contributions(np.zeros((1, len(single.features))))
        return cls(
            name,
            single,
            bundle.version,
            facts["kind"],
            facts["basis"],
            facts["eligible_words"],
            float(facts["base_rate"]),
            int(facts["expires_at"]) - as_of,
        )

    def not_eligible(self, as_of: int) -> dict[str, Any]:
        """Return the answer for a person this goal says nothing about."""
        why = f"Not among those scored: {self.eligible_words}."
        return self._answer("not_eligible", as_of, why=why)

    def no_history(self, as_of: int) -> dict[str, Any]:
        """Return the answer for somebody never seen: the base rate is the best guess."""
        return self._answer("no_history", as_of, probability=self.base_rate)

    def scored(
        self, vectors: Sequence[Floats], moments: Sequence[int], factors: int
    ) -> list[dict[str, Any]]:
        """Return the answers for people with these vectors, each at a moment of its own."""
        found = self._scores(vectors)
        reasons = self._reasons(vectors, factors)
        return [
            self._answer("scored", moment, **one._asdict(), factors=some)
            for one, moment, some in zip(found, moments, reasons, strict=True)
        ]

    def _scores(self, vectors: Sequence[Floats]) -> Iterable[ScoredOne]:
        if len(vectors) == 1:
            return [self.bundle.score_one(vectors[0])]
        found = self.bundle.score(np.stack(vectors))
        parts = found.probability, found.score, found.percentile, found.bucket
        return map(ScoredOne, *(part.tolist() for part in parts))

    def _reasons(self, vectors: Sequence[Floats], factors: int) -> list[list[dict[str, object]]]:
        if not factors:
            return [[] for _ in vectors]
        matrix = np.stack(vectors)
        contributions = self.bundle.trees.contributions(matrix)
        found = explain(contributions, matrix, self.bundle.features, factors)
        return [found.of(row) for row in range(len(matrix))]

    def _answer(self, status: str, as_of: int, **known: Any) -> dict[str, Any]:
        return {
            "goal": self.name,
            "kind": self.kind,
            "basis": self.basis,
            "status": status,
            "why": known.get("why"),
            "probability": known.get("probability"),
            "score": known.get("score"),
            "percentile": known.get("percentile"),
            "bucket": known.get("bucket"),
            "factors": known.get("factors", []),
            "model_version": self.model_version,
            "as_of": format_instant(as_of),
            "expires_at": format_instant(as_of + self.life),
        }


@dataclass(frozen=True, eq=False)
class _Person:
    """Who is asked about at one moment, and the vectors of the goals they are eligible for."""

    asked: Asked
    found: Found
    vectors: Mapping[str, Floats]

    def unscored(self, goal: ServedGoal) -> dict[str, Any]:
        """Return the answer where there is no vector."""
        seen, as_of = self.found.profile_id is not None, self.found.as_of
        return goal.not_eligible(as_of) if seen else goal.no_history(as_of)

    def body(self, scores: Mapping[str, Any]) -> dict[str, Any]:
        """Return what is told of the person."""
        profile = self.found.profile
        return {
            "identity": self.asked.said,
            "profile_id": self.found.profile_id,
            "known": self.found.known,
            "provisional": self.found.provisional,
            "segments": [each["segment"] for each in profile.segments] if profile else [],
            "scores": scores,
        }


class Scorer:
    """Answers about people from one generation. May be called from several threads."""

    def __init__(
        self, run_id: str, online: OnlineStore, goals: Iterable[ServedGoal], recent: MakesRecent
    ) -> None:
        """`recent` makes the recent events of this generation, of what reads one."""
        self.run_id = run_id
        self.online = online
        self.goals = {goal.name: goal for goal in goals}
        self.as_of = int(online.meta["as_of"])
        self.erasures = int(online.meta.get("erasures", 0))
        """How many erasures this generation was made after."""
        columns = {goal.name: goal.bundle.names for goal in self.goals.values()}
        self.live = LiveGoals(online.meta, columns)
        self.recent = recent(self.live.read)
        self.finder = Finder.of(online, self.recent, self.live)

    @classmethod
    def load(cls, store: Store, manifest: Manifest, place: Place | None = None) -> Scorer:
        """Load a published run whole, and score one person with each model to be sure of it.

        Its generation is at `place`, in the store by default. Raises `OnlineStoreError`,
        `OnlineStoreAway`, `BrokenBundle`, `BrokenGeneration` or `ColumnsDiffer`.
        """
        if "online" not in manifest.tables:
            raise BrokenGeneration(
                f"Run {manifest.run_id!r} published no online store.",
                hint="Publish again with `likelier run`.",
            )
        place, version = place or Place(store), manifest.tables["online"]
        online = place.open(version)
        facts, as_of = online.meta["goals"], int(online.meta["as_of"])
        goals = [ServedGoal.load(store, name, as_of, facts[name]) for name in facts]
        scorer = cls(manifest.run_id, online, goals, partial(place.recent, version))
        scorer.warm_up()
        return scorer

    def warm_up(self) -> None:
        """Score and explain one stored vector a goal, or an empty one where there is none.

        And describe somebody: the first time takes longest.
        """
        self.live.warm_up()
        for goal in self.goals.values():
            stored = self.online.sample(goal.name)
            empty = np.full(len(goal.bundle.names), np.nan)
            goal.scored([empty if stored is None else stored], [self.as_of], factors=1)

    def score(
        self, identity: str, goals: Sequence[str] | None = None, factors: int = 0
    ) -> dict[str, Any]:
        """Return the scores of one identity (`namespace:value`, personal data hashed)."""
        return self.answer([Asked(identity, identity)], goals, factors)[0].body

    def answer(
        self,
        asked: Sequence[Asked],
        goals: Sequence[str] | None = None,
        factors: int = 0,
        events: Sequence[LiveEvent] = (),
    ) -> list[Answer]:
        """Return what is known of each person, in order; the same bits one by one or together.

        `goals` None means all; `factors` is the number of reasons wanted, 0 to 10. `events` are of
        everyone asked about, for these answers alone. Raises `UnknownGoal`.
        """
        chosen = self._chosen(goals)
        people = [self._person(each, [*chosen], events) for each in asked]
        scored = {name: _scored(goal, people, factors) for name, goal in chosen.items()}
        answers = []
        for place, person in enumerate(people):
            scores = {
                name: scored[name].get(place) or person.unscored(goal)
                for name, goal in chosen.items()
            }
            answers.append(Answer(person.asked, person.body(scores), person.vectors))
        return answers

    def profile(self, identity: str | None) -> ProfileRecord | None:
        """Return the profile that holds an identity, or None."""
        return self.finder.profile(identity)

    def _chosen(self, names: Sequence[str] | None) -> dict[str, ServedGoal]:
        for name in names or ():
            if name not in self.goals:
                raise UnknownGoal(
                    f"There are no scores of a goal {name[:60]!r}.",
                    hint=did_you_mean(name[:60], self.goals),
                    known=sorted(self.goals),
                )
        return self.goals if names is None else {name: self.goals[name] for name in names}

    def _person(self, asked: Asked, goals: list[str], events: Sequence[LiveEvent]) -> _Person:
        found = self.finder.find(asked.identity, events)
        if found.history is None:
            return _Person(asked, found, self._vectors(found.profile, goals))
        vectors = self.live.vectors(found.history, found.arrived, found.as_of, goals)
        return _Person(asked, found, vectors)

    def _vectors(self, profile: ProfileRecord | None, goals: Sequence[str]) -> dict[str, Floats]:
        if profile is None:
            return {}
        found = {name: self.online.vector(profile.profile_id, name) for name in goals}
        return {name: vector for name, vector in found.items() if vector is not None}


def _scored(goal: ServedGoal, people: Sequence[_Person], factors: int) -> dict[int, dict[str, Any]]:
    """Return the scores of one goal by place; people without a vector are left out."""
    places = [place for place, person in enumerate(people) if goal.name in person.vectors]
    if not places:
        return {}
    vectors = [people[place].vectors[goal.name] for place in places]
    moments = [people[place].found.as_of for place in places]
    return dict(zip(places, goal.scored(vectors, moments, factors), strict=True))
