"""Trees as arrays, read from LightGBM's model text."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Places = NDArray[np.int64]

ZERO = float(np.float32(1e-35))
"""LightGBM reads what is no further from 0 than this as 0."""
RIGHT, LEFT, ZERO_RIGHT, ZERO_LEFT = range(4)
"""Where null goes; for the last two, 0 goes there too."""


class Untabled(Exception):
    """Trees that are not read, or that tables cannot explain, and why; LightGBM itself can."""


@dataclass(frozen=True, eq=False)
class Tree:
    """One tree's arrays, by node or by leaf. A child below 0 is leaf -1 - child.

    A tree of one leaf has no nodes. `missing`: where null goes, `RIGHT` to `ZERO_LEFT`.
    """

    feature: Places
    threshold: Floats
    missing: Places
    left: Places
    right: Places
    count: Floats
    leaf_value: Floats
    leaf_count: Floats


def read_trees(text: str) -> tuple[int, list[Tree]]:
    """Return the number of features and the trees; raise `Untabled` where not all are numeric."""
    header, *rest = text.partition("\nparameters:")[0].split("\nTree=")
    trees = [_read(part) for part in rest]
    if "num_tree_per_iteration=1" not in header or "average_output" in header:
        raise Untabled("Not one margin summed over trees.")
    return int(_fields(header)["max_feature_idx"]) + 1, trees


def _fields(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def _read(text: str) -> Tree:
    fields = _fields(text)
    if int(fields.get("num_cat", 0)) or int(fields.get("is_linear", 0)):
        raise Untabled("Categorical splits or linear leaves.")
    threshold = _numbers(fields, "threshold")
    kind = _numbers(fields, "decision_type").astype(np.int64)
    left, reads = (kind >> 1) & 1, (kind >> 2) & 3
    # Where null has no branch of its own it is read as 0: it goes where 0 goes.
    as_zero = np.where(threshold >= 0, LEFT, RIGHT)
    missing = np.choose(reads, [as_zero, left + ZERO_RIGHT, left + RIGHT])
    return Tree(
        _numbers(fields, "split_feature").astype(np.int64),
        threshold,
        missing.astype(np.int64),
        _numbers(fields, "left_child").astype(np.int64),
        _numbers(fields, "right_child").astype(np.int64),
        _numbers(fields, "internal_count"),
        _numbers(fields, "leaf_value"),
        _numbers(fields, "leaf_count"),
    )


def _numbers(fields: dict[str, str], key: str) -> Floats:
    return np.array(fields.get(key, "").split(), dtype=np.float64)
