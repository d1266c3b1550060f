"""The margins of few rows, by a compiled walk through the trees.

LightGBM's own call sets up more than a row takes, and its trees lie all over memory. Here all nodes
lie one after the other. Leaves add up in the order of trees, so the bits are LightGBM's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.compiling import compiled
from training.tree_text import LEFT, RIGHT, ZERO, ZERO_LEFT, Tree, read_trees

Floats = NDArray[np.float64]
Narrow = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Walk:
    """Trees of `width` features, laid out to be walked. May be called from several threads."""

    width: int
    feature: Narrow
    threshold: Floats
    missing: NDArray[np.int8]
    left: Narrow
    right: Narrow
    leaf_value: Floats
    node_start: Narrow
    leaf_start: Narrow

    @classmethod
    def from_text(cls, text: str) -> Walk:
        """Lay out the trees of LightGBM's model text. Raises `Untabled` where they are not read."""
        width, trees = read_trees(text)
        return cls(
            width,
            _all(trees, lambda tree: tree.feature, np.int32),
            _all(trees, lambda tree: tree.threshold, np.float64),
            _all(trees, lambda tree: tree.missing, np.int8),
            _all(trees, lambda tree: tree.left, np.int32),
            _all(trees, lambda tree: tree.right, np.int32),
            _all(trees, lambda tree: tree.leaf_value, np.float64),
            _starts([len(tree.feature) for tree in trees]),
            _starts([len(tree.leaf_value) for tree in trees]),
        )

    def margin(self, matrix: Floats) -> Floats:
        """Return the raw log-odds (n,) of rows (n, width), NaN = null."""
        found = np.empty(len(matrix))
        walk_rows(
            np.ascontiguousarray(matrix, dtype=np.float64), found, self.feature, self.threshold,
            self.missing, self.left, self.right, self.leaf_value, self.node_start, self.leaf_start,
        )  # fmt: skip
        return found


def _all(trees: Sequence[Tree], part: Callable[[Tree], NDArray[Any]], kind: Any) -> NDArray[Any]:
    return np.concatenate([np.empty(0), *map(part, trees)]).astype(kind)


def _starts(sizes: Sequence[int]) -> Narrow:
    return np.array([0, *accumulate(sizes)], np.int32)


@compiled
def walk_rows(
    matrix: Floats,
    found: Floats,
    feature: Narrow,
    threshold: Floats,
    missing: NDArray[np.int8],
    left: Narrow,
    right: Narrow,
    leaf_value: Floats,
    node_start: Narrow,
    leaf_start: Narrow,
) -> None:
    """Write the margins of rows (n, features) into `found` (n,)."""
    for row in range(len(matrix)):
        total = 0.0
        for tree in range(len(node_start) - 1):
            first = node_start[tree]
            node = 0 if node_start[tree + 1] > first else -1
            while node >= 0:
                at = first + node
                value, edge, null = matrix[row, feature[at]], threshold[at], missing[at]
                if abs(value) <= ZERO:
                    value = 0.0
                if null == LEFT:
                    goes_left = not value > edge
                elif null == RIGHT:
                    goes_left = value <= edge
                elif value == 0 or np.isnan(value):
                    goes_left = null == ZERO_LEFT
                else:
                    goes_left = value <= edge
                node = left[at] if goes_left else right[at]
            total += leaf_value[leaf_start[tree] - 1 - node]
        found[row] = total
