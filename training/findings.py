"""What a training found, in plain sentences: for the report and the terminal."""

from __future__ import annotations

from collections.abc import Iterator

from features.time import Window, format_instant
from training.baselines import NAMES, Baseline
from training.bundle import Bundle
from training.evaluation import Evaluation
from training.grade import Grade
from training.split import Roles

SUSPICIOUS_AUC = 0.98
POOR_CALIBRATION = 0.05
FEW_OUTCOMES = 50


def summary(
    bundle: Bundle,
    found: Evaluation,
    served: Evaluation,
    grade: Grade,
    simple: Baseline,
    roles: Roles,
) -> tuple[str, ...]:
    """Say what was trained and how good it is.

    `served` is of the curve that serves; `simple` the rule to beat.
    """
    low, high = found.intervals.headline["auc"]
    alone = f"{simple.name[0].upper()}{simple.name[1:]}"
    what = "The model" if bundle.serves == "model" else f"{alone} alone, as trees,"
    return (
        f"{bundle.goal} ({bundle.kind}) as of {format_instant(bundle.as_of)}: the chance "
        f"{_of_what(bundle)}. {found.positive_rate:.1%} of {found.population:,} people "
        "evaluated had the outcome.",
        f"{what} ranks someone with the outcome above someone without {found.auc:.1%} of the time "
        f"(95% interval {low:.1%} to {high:.1%}); {simple.name} alone manages "
        f"{found.baseline_auc or 0.5:.1%}.{_others(bundle, simple)}",
        _graded(grade, simple),
        f"The likeliest tenth has {found.lift_at_10:.1f} times the average rate{_range(found)}.",
        f"Before their outcomes were known, the mean prediction was {_mean(found)}. The curve that "
        "serves has learnt from these outcomes too; for people left out of it the mean is "
        f"{_mean(served)}.",
        roles.note,
    )


def _range(found: Evaluation) -> str:
    low, high = found.intervals.headline["lift_at_10"]
    return f" ({low:.1f} to {high:.1f})"


def _mean(found: Evaluation) -> str:
    low, high = found.intervals.headline["ece"]
    return (
        f"{found.mean_predicted:.1%}, off by {found.ece:.1%} on average over tenths "
        f"({low:.1%} to {high:.1%})"
    )


def _of_what(bundle: Bundle) -> str:
    if not bundle.outcome_window:
        return "of the outcome, for people like those in the table"
    return f"that it happens within {Window.parse(bundle.outcome_window).words}"


def _graded(grade: Grade, simple: Baseline) -> str:
    named = grade.caught + grade.false_alarms
    return (
        f"Grade {grade.letter}: {named:,} people have a probability of {grade.cut:.1%} or more, "
        f"the cut that names about as many as have the outcome. {grade.right:.1%} of all "
        f"predictions are right, and {grade.found:.1%} of those with the outcome are found; "
        f"{simple.name}, naming as many, finds {grade.baseline_found:.1%}."
    )


def _others(bundle: Bundle, simple: Baseline) -> str:
    """Say what the other rules manage, where there are any."""
    aucs = {name: bundle.metrics.get(f"baseline_{rule}_auc") for rule, name in NAMES.items()}
    others = [f"{name} {auc:.1%}" for name, auc in aucs.items() if auc and name != simple.name]
    if not others:
        return ""
    return f" It is the rule that ranked best before the evaluation; {', '.join(others)}."


def warnings_of(
    bundle: Bundle, found: Evaluation, simple: Baseline, roles: Roles, eligible: int
) -> tuple[str, ...]:
    """Say what a reader must know before trusting the figures; `eligible` people were scored."""
    return (
        *_beside(bundle, found, simple),
        *_warnings(found, roles, eligible),
    )


def _beside(bundle: Bundle, found: Evaluation, simple: Baseline) -> Iterator[str]:
    if bundle.serves == "baseline":
        yield (
            f"The model (AUC {bundle.metrics['model_auc']:.3f}) does not beat {simple.name} "
            f"alone (AUC {found.baseline_auc:.3f}) on the same people, so that is served."
        )
        return
    low, high = found.intervals.headline["auc_over_baseline"]
    if low <= 0:
        yield (
            f"The model's AUC is {found.auc_over_baseline or 0:.3f} above that of {simple.name} "
            f"alone, which may be chance ({low:+.3f} to {high:+.3f})."
        )


def _warnings(found: Evaluation, roles: Roles, eligible: int) -> Iterator[str]:
    if roles.protocol == "person_hash":
        yield roles.note
    if found.auc > SUSPICIOUS_AUC:
        yield (
            f"An AUC of {found.auc:.3f} is too good to be likely: look for a feature that already "
            "knows the outcome, first among those that matter most."
        )
    if found.ece > POOR_CALIBRATION:
        yield (
            f"Probabilities are off by {found.ece:.1%} on average: behaviour may have changed "
            "between the calibration and the evaluation. Trust the order more than the numbers."
        )
    if min(found.positives, found.population - found.positives) < FEW_OUTCOMES:
        yield (
            f"Only {found.positives} of {found.population} people evaluated had the outcome: "
            "the figures are rough."
        )
    if eligible == 0:
        yield "Nobody is eligible at the run's as_of: scores compare with the evaluated people."
