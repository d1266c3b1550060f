"""A branch for null at every split, also where training has never seen one.

LightGBM gives null a branch of its own only in columns that held one. Elsewhere it reads a null of
later as 0: of `days_since_purchase` that is "just now", and never is read as its very opposite.
Here such a null follows the larger part of the training rows, at each split anew: it says as little
as a value can (as scikit-learn's histogram trees do). Rows without nulls are scored as before.
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

Places = NDArray[np.int64]

CATEGORICAL, DEFAULT_LEFT, MISSING, IS_NULL = 1, 2, 12, 8
"""Bits of LightGBM's `decision_type`: what kind of split, where null goes, and what is null."""


def with_null_branches(text: str) -> str:
    """Return a model's text in which every numeric split has a branch for null."""
    header, *rest = text.split("\nTree=")
    if not rest:
        return text
    trees, marker, footer = rest[-1].partition("\nend of trees")
    parts = [*rest[:-1], trees]
    changed = [_branched(part) for part in parts]
    sizes = [len(new) - len(old) for old, new in zip(parts, changed, strict=True)]
    return "\nTree=".join([_resized(header, sizes), *changed]) + marker + footer


def _branched(tree: str) -> str:
    fields = dict(line.split("=", 1) for line in tree.splitlines() if "=" in line)
    if "decision_type" not in fields:
        return tree
    kind = _places(fields["decision_type"])
    left, right = (_rows(fields, side) for side in ("left_child", "right_child"))
    bare = (kind & (CATEGORICAL | MISSING)) == 0
    given = (kind & ~DEFAULT_LEFT) | IS_NULL | np.where(left >= right, DEFAULT_LEFT, 0)
    types = " ".join(map(str, np.where(bare, given, kind)))
    return re.sub(r"(?m)^decision_type=.*$", f"decision_type={types}", tree)


def _rows(fields: dict[str, str], side: str) -> Places:
    """Return how many training rows each split sends to one side."""
    child = _places(fields[side])
    inner, leaves = _places(fields["internal_count"]), _places(fields["leaf_count"])
    return np.where(child >= 0, inner[np.maximum(child, 0)], leaves[np.maximum(-1 - child, 0)])


def _resized(header: str, grown: list[int]) -> str:
    """Return the header with the trees' lengths, by which LightGBM finds them."""

    def longer(match: re.Match[str]) -> str:
        sizes = _places(match[1]) + np.array(grown)
        return "tree_sizes=" + " ".join(map(str, sizes))

    return re.sub(r"(?m)^tree_sizes=(.*)$", longer, header)


def _places(text: str) -> Places:
    return np.array(text.split(), dtype=np.int64)
