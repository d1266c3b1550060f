"""What a feature says of itself: the column a definition makes, fully described."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

NullMeaning = Literal[
    "0 = none seen", "null = none seen", "null = never", "null = unknown", "never null"
]


def plain(name: str) -> str:
    """Return a name as a person writes it."""
    return name.replace("_", " ")


@dataclass(frozen=True)
class Feature:
    """One column of the feature table, fully described. Built by a definition's `feature`."""

    name: str
    label: str
    unit: str
    null: NullMeaning
    reason: str
    reason_label: str

    @property
    def of_nothing(self) -> float:
        """The value for someone of whom nothing is known; NaN = null."""
        return 0.0 if self.null in ("0 = none seen", "never null") else math.nan
