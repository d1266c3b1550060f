"""Errors of the training room."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from features.errors import LikelierError, did_you_mean
from features.time import format_instant


class DatasetError(LikelierError):
    """A dataset whose parts do not fit together."""

    code = "bad_dataset"


class OneClassError(LikelierError):
    """Rows that all had the outcome, or all did not: nothing can be learnt or measured."""

    code = "one_class"

    @classmethod
    def among(cls, rows: int, positives: int, where: str) -> OneClassError:
        """Build the error for `rows` rows of `where` with `positives` outcomes."""
        which = "every one has" if positives else "none has"
        return cls(
            f"Of {rows} rows in {where}, {which} the outcome.",
            hint="Look at the goal's outcome and eligible conditions, or lengthen outcome_window.",
            rows=rows,
            positives=positives,
        )


class TooFewExamples(LikelierError):
    """Fewer people with, or without, the outcome than a model can be learnt from."""

    code = "too_few_examples"


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


class LeakFound(LikelierError):
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
