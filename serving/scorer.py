"""One generation of scores: the online store and the model bundles of its goals.

A score is computed from the vector that the run published, by the bundle that the run used, so a
request and the `scores` table agree to the bit. A `Scorer` never changes; a newer generation is
another `Scorer`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from features.errors import LikelierError, StoreError, did_you_mean
from features.store import Manifest, Store
from features.time import format_instant
from serving.online import Floats, OnlineStore, ProfileRecord
from serving.online.lmdb import LmdbStore
from training.bundle import Bundle
from training.factors import explain

MOST_FACTORS = 10


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
    as_of: int
    expires_at: int

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
            as_of,
            int(facts["expires_at"]),
        )

    def not_eligible(self) -> dict[str, Any]:
        """Return the answer for a person this goal says nothing about."""
        return self._answer("not_eligible", why=f"Not among those scored: {self.eligible_words}.")

    def no_history(self) -> dict[str, Any]:
        """Return the answer for somebody never seen: the base rate is the best guess."""
        return self._answer("no_history", probability=self.base_rate)

    def scored(self, vectors: Sequence[Floats], factors: int) -> list[dict[str, Any]]:
        """Return the answers for people with these vectors, in order."""
        matrix = np.stack(vectors)
        found = self.bundle.score(matrix)
        reasons = self._reasons(matrix, factors)
        return [
            self._answer(
                "scored",
                probability=float(found.probability[row]),
                score=float(found.score[row]),
                percentile=int(found.percentile[row]),
                bucket=str(found.bucket[row]),
                factors=reasons[row],
            )
            for row in range(len(vectors))
        ]

    def _reasons(self, matrix: Floats, factors: int) -> list[list[dict[str, object]]]:
        if not factors:
            return [[] for _ in matrix]
        contributions = self.bundle.trees.contributions(matrix)
        found = explain(contributions, matrix, self.bundle.features, factors)
        return [found.of(row) for row in range(len(matrix))]

    def _answer(self, status: str, **known: Any) -> dict[str, Any]:
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
            "as_of": format_instant(self.as_of),
            "expires_at": format_instant(self.expires_at),
        }


class Scorer:
    """Answers about people from one generation. May be called from several threads."""

    def __init__(self, run_id: str, online: OnlineStore, goals: Iterable[ServedGoal]) -> None:
        self.run_id = run_id
        self.online = online
        self.goals = {goal.name: goal for goal in goals}
        self.as_of = int(online.meta["as_of"])
        self.erasures = int(online.meta.get("erasures", 0))
        """How many erasures this generation was made after."""

    @classmethod
    def load(cls, store: Store, manifest: Manifest) -> Scorer:
        """Load a published run whole, and score one person with each model to be sure of it.

        Raises `OnlineStoreError`, `BrokenBundle`, `BrokenGeneration` or `ColumnsDiffer`.
        """
        if "online" not in manifest.tables:
            raise BrokenGeneration(
                f"Run {manifest.run_id!r} published no online store.",
                hint="Publish again with `likelier run`.",
            )
        online = LmdbStore(store.folder("online", manifest.tables["online"]))
        facts, as_of = online.meta["goals"], int(online.meta["as_of"])
        goals = [ServedGoal.load(store, name, as_of, facts[name]) for name in facts]
        scorer = cls(manifest.run_id, online, goals)
        scorer.warm_up()
        return scorer

    def warm_up(self) -> None:
        """Score and explain one stored vector a goal, or an empty one where there is none."""
        for goal in self.goals.values():
            stored = self.online.sample(goal.name)
            empty = np.full(len(goal.bundle.names), np.nan)
            goal.scored([empty if stored is None else stored], factors=1)

    def score(
        self, identity: str, goals: Sequence[str] | None = None, factors: int = 0
    ) -> dict[str, Any]:
        """Return the scores of one identity (`namespace:value`, personal data hashed)."""
        return self.answer([Asked(identity, identity)], goals, factors)[0].body

    def answer(
        self, asked: Sequence[Asked], goals: Sequence[str] | None = None, factors: int = 0
    ) -> list[Answer]:
        """Return what is known of each person, in order; the same bits one by one or together.

        `goals` None means all; `factors` is the number of reasons wanted, 0 to 10. Raises
        `UnknownGoal`.
        """
        chosen = self._chosen(goals)
        profiles = [self._find(each.identity) for each in asked]
        vectors = [self._vectors(profile, chosen) for profile in profiles]
        scored = {goal.name: _scored(goal, vectors, factors) for goal in chosen}
        answers = []
        for place, (each, profile) in enumerate(zip(asked, profiles, strict=True)):
            scores = {
                goal.name: scored[goal.name].get(place) or _unscored(goal, profile)
                for goal in chosen
            }
            answers.append(Answer(each, _body(each, profile, scores), vectors[place]))
        return answers

    def profile(self, identity: str | None) -> ProfileRecord | None:
        """Return the profile that holds an identity, or None."""
        return self._find(identity)

    def _chosen(self, names: Sequence[str] | None) -> list[ServedGoal]:
        for name in names or ():
            if name not in self.goals:
                raise UnknownGoal(
                    f"There are no scores of a goal {name[:60]!r}.",
                    hint=did_you_mean(name[:60], self.goals),
                    known=sorted(self.goals),
                )
        return [self.goals[name] for name in dict.fromkeys(self.goals if names is None else names)]

    def _find(self, identity: str | None) -> ProfileRecord | None:
        profile_id = self.online.profile_id_of(identity) if identity is not None else None
        return self.online.profile(profile_id) if profile_id is not None else None

    def _vectors(
        self, profile: ProfileRecord | None, goals: Sequence[ServedGoal]
    ) -> dict[str, Floats]:
        if profile is None:
            return {}
        found = {goal.name: self.online.vector(profile.profile_id, goal.name) for goal in goals}
        return {name: vector for name, vector in found.items() if vector is not None}


def _scored(
    goal: ServedGoal, vectors: Sequence[Mapping[str, Floats]], factors: int
) -> dict[int, dict[str, Any]]:
    """Return the scores of one goal by place; places without a vector are left out."""
    places = [place for place, found in enumerate(vectors) if goal.name in found]
    if not places:
        return {}
    scores = goal.scored([vectors[place][goal.name] for place in places], factors)
    return dict(zip(places, scores, strict=True))


def _unscored(goal: ServedGoal, profile: ProfileRecord | None) -> dict[str, Any]:
    return goal.no_history() if profile is None else goal.not_eligible()


def _body(asked: Asked, profile: ProfileRecord | None, scores: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "identity": asked.said,
        "profile_id": profile.profile_id if profile else None,
        "known": bool(profile and profile.known),
        "segments": [each["segment"] for each in profile.segments] if profile else [],
        "scores": scores,
    }
