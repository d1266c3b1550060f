"""Which rows fit, which calibrate and which evaluate.

The rule is out of time: the newest snapshot evaluates; the newest snapshot whose outcome window
had closed by then calibrates; every snapshot closed by *that* one fits. Snapshots in between are
purged, since their outcomes overlap a later role's moment. When time cannot give three roles, a
hash of the person decides instead, and the report says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from features.time import Window, format_instant, has_closed, outcome_end
from training.dataset import Dataset

Mask = NDArray[np.bool_]
Protocol = Literal["out_of_time", "person_hash"]

FIT_SHARE, CALIBRATE_SHARE = 0.6, 0.2
APART = "whose outcomes close before the next begins"
SMALLEST_ROLE = 10
"""Rows with, and without, the outcome that each role needs for the out-of-time protocol."""


@dataclass(frozen=True)
class Roles:
    """A mask over the dataset's rows per role. The masks never overlap.

    `note` says in plain words what was done; `persons_in_fit_and_evaluate` counts people seen in
    both: they are the same people at another time, which the figures of new people may not match.
    """

    fit: Mask
    calibrate: Mask
    evaluate: Mask
    protocol: Protocol
    note: str
    persons_in_fit_and_evaluate: int


@dataclass(frozen=True)
class Snapshot:
    """Rows asked about together: those whose as_of lies in `[first, last]`, both included."""

    first: int
    last: int


def person_fraction(person: NDArray[np.int64], salt: int) -> NDArray[np.float64]:
    """Return a number in [0, 1) per person: stable over runs, machines and row order.

    SplitMix64 (Steele, Lea, Flood 2014); another `salt` gives an independent number.
    """
    mixed = np.ascontiguousarray(person, dtype=np.int64).view(np.uint64)
    mixed = mixed + np.uint64((0x9E3779B97F4A7C15 * (salt + 1)) % 2**64)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed = mixed ^ (mixed >> np.uint64(31))
    return (mixed >> np.uint64(11)).astype(np.float64) / 2.0**53


def snapshots(as_of: NDArray[np.int64], width: Window | None) -> list[Snapshot]:
    """Return the snapshots, oldest first: each distinct as_of, or blocks of `width`.

    Blocks step back from the newest as_of; they are for rows whose as_of differ one by one.
    """
    moments = np.unique(as_of)
    if width is None:
        return [Snapshot(int(moment), int(moment)) for moment in moments]
    block = (int(moments[-1]) - moments) // width.micros
    members = [moments[block == number] for number in np.unique(block)[::-1]]
    return [Snapshot(int(group[0]), int(group[-1])) for group in members]


def split(
    dataset: Dataset, outcome_window: Window, gap: Window | None, width: Window | None = None
) -> Roles:
    """Give each row of `dataset` at most one role; out of time where that leaves three roles.

    `width` None takes every distinct as_of as a snapshot (calendar spines); a window groups the
    as_of of an at_events spine into snapshots of that length.
    """
    found = _by_time(snapshots(dataset.as_of, width), outcome_window, gap)
    if found is None:
        return by_person(dataset, f"The dates do not leave three snapshots {APART}")
    newest, middle, oldest = found
    masks = tuple(_within(dataset.as_of, part) for part in (oldest, middle, [newest]))
    if not all(_usable(dataset.label[mask]) for mask in masks):
        return by_person(dataset, "A snapshot has too few outcomes of one kind to serve")
    note = (
        f"Fitted on {len(oldest)} snapshots up to {format_instant(oldest[-1].last)}, calibrated on "
        f"{format_instant(middle[0].last)}, evaluated on {format_instant(newest.last)}: "
        "each later than every outcome of the one before."
    )
    return _roles(dataset, masks, "out_of_time", note)


def _by_time(
    found: list[Snapshot], outcome_window: Window, gap: Window | None
) -> tuple[Snapshot, list[Snapshot], list[Snapshot]] | None:
    def closed_by(later: Snapshot) -> list[Snapshot]:
        ends = ((each, outcome_end(each.last, gap, outcome_window)) for each in found)
        return [each for each, end in ends if has_closed(end, later.first)]

    newest = found[-1]
    middle = closed_by(newest)[-1:]
    oldest = closed_by(middle[0]) if middle else []
    return (newest, middle, oldest) if oldest else None


def by_person(dataset: Dataset, reason: str) -> Roles:
    """Give each row the role of its person, by a hash; `reason` begins the note."""
    fraction = person_fraction(dataset.person, salt=0)
    fit = fraction < FIT_SHARE
    evaluate = fraction >= FIT_SHARE + CALIBRATE_SHARE
    note = (
        f"{reason}, so people rather than dates were split (60/20/20). "
        "The figures say how well the model does for other people in the same period, not for a "
        "later one: expect them to be somewhat better than what you will see."
    )
    return _roles(dataset, (fit, ~fit & ~evaluate, evaluate), "person_hash", note)


def _roles(dataset: Dataset, masks: tuple[Mask, ...], protocol: Protocol, note: str) -> Roles:
    fit, calibrate, evaluate = masks
    crossing = np.intersect1d(dataset.person[fit], dataset.person[evaluate])
    return Roles(fit, calibrate, evaluate, protocol, note, len(crossing))


def _within(as_of: NDArray[np.int64], parts: list[Snapshot]) -> Mask:
    mask = np.zeros(len(as_of), dtype=bool)
    for part in parts:
        mask |= (as_of >= part.first) & (as_of <= part.last)
    return mask


def _usable(label: NDArray[np.int8]) -> bool:
    positives = int(label.sum())
    return min(positives, len(label) - positives) >= SMALLEST_ROLE
