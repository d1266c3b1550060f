"""The margin of one row, by a compiled walk through the trees.

LightGBM's own call sets up more than a row takes, and its trees lie all over memory. Here all nodes
lie one after the other, and what a step looks at lies together. Leaves add up in the order of
trees, so the bits are LightGBM's.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from features.compiling import compiled
from training.tree_text import LEFT, RIGHT, ZERO, ZERO_LEFT, read_trees

Floats = NDArray[np.float64]
Narrow = NDArray[np.int32]

FEATURE, MISSING, ON_LEFT, ON_RIGHT = range(4)


@dataclass(frozen=True, eq=False)
class Walk:
    """Trees of `width` features, laid out to be walked. May be called from several threads.

    `nodes` (n, 4): the feature asked for, where null goes, and the two nodes below; one below 0 is
    leaf -1 - node. `threshold` (n,): up to it is left. `roots`: where each tree begins.
    """

    width: int
    nodes: Narrow
    threshold: Floats
    roots: Narrow
    leaf_value: Floats

    @classmethod
    def from_text(cls, text: str) -> Walk:
        """Lay out the trees of LightGBM's model text. Raises `Untabled` where they are not read."""
        width, trees = read_trees(text)
        first_node = [0, *accumulate(len(tree.feature) for tree in trees)]
        first_leaf = [0, *accumulate(len(tree.leaf_value) for tree in trees)]
        nodes, roots = [np.empty((0, 4))], []
        for tree, node, leaf in zip(trees, first_node, first_leaf, strict=False):
            below = [np.where(to < 0, to - leaf, to + node) for to in (tree.left, tree.right)]
            nodes.append(np.column_stack([tree.feature, tree.missing, *below]))
            roots.append(node if len(tree.feature) else -1 - leaf)
        return cls(
            width,
            np.concatenate(nodes).astype(np.int32),
            np.concatenate([np.empty(0), *(tree.threshold for tree in trees)]),
            np.array(roots, np.int32),
            np.concatenate([np.empty(0), *(tree.leaf_value for tree in trees)]),
        )

    def margin(self, row: Floats) -> float:
        """Return the raw log-odds of a row (width,), NaN = null."""
        row = np.ascontiguousarray(row, dtype=np.float64)
        return walk(row, self.nodes, self.threshold, self.roots, self.leaf_value)


@compiled
def walk(row: Floats, nodes: Narrow, threshold: Floats, roots: Narrow, leaf_value: Floats) -> float:
    """Return the sum of the leaves that a row (features,) comes to."""
    total = 0.0
    for root in roots:
        node = root
        while node >= 0:
            value, edge, null = row[nodes[node, FEATURE]], threshold[node], nodes[node, MISSING]
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
            node = nodes[node, ON_LEFT] if goes_left else nodes[node, ON_RIGHT]
        total += leaf_value[-1 - node]
    return total
