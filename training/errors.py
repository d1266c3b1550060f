"""Errors of the training room."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlsplit

from features import time
from features.errors import LikelierError, did_you_mean
from features.goal_settings import Goal
from features.time import Window, format_instant


class DatasetError(LikelierError):
    """A dataset whose parts do not fit together."""

    code = "bad_dataset"


@dataclass(frozen=True)
class Remedy:
    """What a change of one setting would give: people with and without the outcome, counted.

    `enough` says whether a model would then be trained, as far as counting people can tell.
    """

    setting: str
    value: str
    with_outcome: int
    without: int
    enough: bool

    @property
    def words(self) -> str:
        """The change and what it would give, as a sentence without its end."""
        return (
            f"{self.setting}: {self.value} would give {self.with_outcome:,} people with the "
            f"outcome and {self.without:,} without"
        )

    def body(self) -> dict[str, Any]:
        """Return the remedy JSON-ready."""
        return {
            "setting": self.setting,
            "value": self.value,
            "with_outcome": self.with_outcome,
            "without": self.without,
            "enough": self.enough,
            "words": self.words,
        }


class Refusal(LikelierError):
    """A goal that cannot be trained as it stands on the data there are."""

    code = "goal_refused"
    remedies: tuple[Remedy, ...] = ()

    def facts(self) -> dict[str, Any]:
        """Return the refusal JSON-ready, to be noted and told again."""
        return {
            "code": self.code,
            "message": self.message,
            "hint": self.hint,
            "details": dict(self.details),
        }

    def with_remedies(self, remedies: Sequence[Remedy]) -> Self:
        """Return the same refusal with a hint that says which changes of setting would do."""
        enough = [remedy for remedy in remedies if remedy.enough]
        if enough:
            said = f"Change one setting. {'; '.join(remedy.words for remedy in enough)}."
        elif remedies:
            said = f"No setting tried is enough. {'; '.join(r.words for r in remedies)}."
        else:
            said = "No change of setting would do."
        told = type(self)(self.message, hint=f"{said} {self.hint}".strip(), **self.details)
        told.details["remedies"] = [remedy.body() for remedy in remedies]
        told.remedies = tuple(remedies)
        return told


class NotEnoughHistory(Refusal):
    """History too short for one closed outcome window after a look at the past."""

    code = "not_enough_history"

    @classmethod
    def before(cls, goal: Goal, as_of: int, earliest: int, back: Window) -> NotEnoughHistory:
        """Build the error for a goal that needs `back` before a snapshot, and its windows after."""
        needed = time.outcome_end(back.micros, goal.gap, goal.outcome_window)
        there = math.floor(time.days_between(earliest, as_of))
        days = math.ceil(needed / time.MICROS_PER_DAY)
        gap = f" after a gap of {goal.gap.words}" if goal.gap else ""
        return cls(
            f"goals.{goal.name}: {there} days of history before {format_instant(as_of)}, "
            f"{days} needed: {back.words} to look back on, and the outcome window of "
            f"{goal.outcome_window.words}{gap}.",
            hint=f"Or load older files: from {format_instant(as_of - needed)[:10]} or before.",
            goal=goal.name,
            days=there,
            days_needed=days,
        )


class OneClassError(Refusal):
    """Rows that all had the outcome, or all did not: nothing can be learnt or measured."""

    code = "one_class"

    @classmethod
    def among(cls, rows: int, positives: int, where: str) -> OneClassError:
        """Build the error for `rows` rows of `where` with `positives` outcomes."""
        which = "every one has" if positives else "none has"
        return cls(
            f"Of {rows:,} rows in {where}, {which} the outcome.",
            hint="Look at the outcome and at who is eligible: do they say what is meant?",
            rows=rows,
            positives=positives,
        )


class TooFewExamples(Refusal):
    """Fewer people with, or without, the outcome than a model can be learnt from."""

    code = "too_few_examples"

    @classmethod
    def of(cls, where: str, with_outcome: int, without: int, needed: int) -> TooFewExamples:
        """Build the error for people counted once on each side they were ever on."""
        return cls(
            f"{where}: {with_outcome:,} people with the outcome and {without:,} without; "
            f"{needed:,} of each are needed.",
            hint="More history gives more.",
            with_outcome=with_outcome,
            without=without,
            needed=needed,
        )


class UnknownFeature(LikelierError):
    """A feature name that the dataset does not have."""

    code = "unknown_feature"

    @classmethod
    def named(cls, missing: str, available: Sequence[str], where: str = "") -> UnknownFeature:
        """Build the error for `missing`, naming the nearest available feature."""
        return cls(
            f"{where}The dataset has no feature {missing!r}.",
            hint=did_you_mean(missing, available),
            missing=missing,
        )


class LeakFound(Refusal):
    """A feature that knows the outcome: what it says was not known before."""

    code = "leak_found"

    @classmethod
    def among(cls, aucs: Mapping[str, float], goal: str, most: float) -> LeakFound:
        """Build the error for features that alone tell the outcome, by their AUC."""
        found = ", ".join(f"{name} (AUC {auc:.3f})" for name, auc in aucs.items())
        return cls(
            f"goals.{goal}: {found} alone tells who has the outcome; from {most} on that is taken "
            "for a leak.",
            hint="Such a value is mostly written by the outcome, or after it. Date it by when it "
            "became known (received_at, known_from), or take it out of the source (of a table: "
            "--without). If it is right, add it to training.allow with the reason.",
            goal=goal,
            features=dict(aucs),
        )

    @classmethod
    def of_the_future(
        cls, features: Sequence[str], goal: str, differ: int, rows: int, as_of: int
    ) -> LeakFound:
        """Build the error for rows that hold what was not known at their `as_of`."""
        shown = ", ".join(features[:5]) + (", …" if len(features) > 5 else "")
        return cls(
            f"goals.{goal}: {differ} of {rows} training rows at {format_instant(as_of)} differ "
            f"from what was known then, in {shown}.",
            hint="Compute them anew with `likelier run --from features`. If that does not help it "
            "is a defect of Likelier: please report it.",
            goal=goal,
            features=list(features),
            rows=differ,
        )


class NotAdditive(LikelierError):
    """Contributions that do not add up to the margin they explain."""

    code = "not_additive"
    status = 500


class BrokenBundle(LikelierError):
    """A bundle folder that is not, to the byte, what was saved."""

    code = "broken_bundle"
    status = 503


class ColumnsDiffer(LikelierError):
    """A matrix whose columns are not the model's, in the model's order."""

    code = "columns_differ"

    @classmethod
    def between(cls, expected: Sequence[str], found: Sequence[str]) -> ColumnsDiffer:
        """Build the error showing what is missing, what is extra and where the order departs."""
        missing = [name for name in expected if name not in found]
        extra = [name for name in found if name not in expected]
        pairs = enumerate(zip(expected, found, strict=False))
        first = next((place for place, (ours, theirs) in pairs if ours != theirs), None)
        parts = [f"missing {missing}"] * bool(missing) + [f"extra {extra}"] * bool(extra)
        if not parts and first is not None:
            parts = [f"column {first} is {found[first]!r}, expected {expected[first]!r}"]
        parts = parts or [f"{len(found)} columns, expected {len(expected)}"]
        return cls(
            f"The columns are not those of the model: {'; '.join(parts)}.",
            hint="Compute the features from the definitions stored in the bundle, in their order.",
            missing=missing,
            extra=extra,
            first_difference=first,
        )


class MlflowUnreachable(LikelierError):
    """MLflow does not answer: its server is down, or its file cannot be opened."""

    code = "mlflow_unreachable"
    status = 503

    @classmethod
    def at(cls, uri: str, why: str) -> MlflowUnreachable:
        """Build the error for a tracking URI and what was said when it was tried."""
        where = _without_password(uri)
        return cls(
            f"MLflow cannot be reached at {where}: {_shortened(why)}",
            hint="Start the server, or put mlflow.tracking_uri right. What serves goes on serving, "
            "and `likelier run` renews its scores; training and promotion wait for MLflow.",
            tracking_uri=where,
        )


class MlflowRefused(LikelierError):
    """MLflow answers, but not with what was asked."""

    code = "mlflow_refused"
    status = 502

    @classmethod
    def of(cls, uri: str, why: str) -> MlflowRefused:
        """Build the error for a tracking URI and MLflow's own words."""
        return cls(
            f"MLflow at {_without_password(uri)} refused: {_shortened(why)}",
            hint="Look at the model in `mlflow ui`, and at who may change it.",
        )


class UnknownVersion(LikelierError):
    """A version of a model that is not there, or that cannot be used any more."""

    code = "unknown_version"
    status = 404

    @classmethod
    def of(cls, version: str, goal: str, known: Sequence[str] = ()) -> UnknownVersion:
        """Build the error for a version that a goal, or every goal where it is empty, lacks."""
        where = f"{goal} has no version" if goal else "No model has a version"
        return cls(
            f"{where} {version!r}.",
            hint=(did_you_mean(version, known) + " " if known else "")
            + "`likelier models list` shows them.",
            version=version,
        )

    @classmethod
    def without_record(cls, version: str, goal: str) -> UnknownVersion:
        """Build the error for a version that was made before trainings were kept whole."""
        return cls(
            f"{goal} {version} was made by an older Likelier, which did not keep what a champion "
            "needs.",
            hint="Train it anew with `likelier run --from train`.",
            version=version,
        )


def _without_password(uri: str) -> str:
    """Return a URI without the user and password that may stand in it."""
    parts = urlsplit(uri)
    return uri.replace(f"{parts.netloc.rpartition('@')[0]}@", "", 1) if "@" in parts.netloc else uri


def _shortened(text: str) -> str:
    """Return the first line of what was said, of 200 characters at most."""
    return (text.strip().splitlines() or ["it does not say why"])[0][:200]
