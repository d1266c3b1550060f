"""Exact Shapley contributions of numeric trees, in float64, by tables made once a model.

Path-dependent TreeSHAP (Lundberg et al. 2020). What a leaf gives each feature depends only on
which features of its path hold for the row, so a table with a line per case replaces the
arithmetic (as in WOODELF, Nadel and Wettenstein 2026). Here leaves that few nodes decide between
share a table: its line is the bits of those decisions, so one look-up per feature serves several
leaves.

LightGBM is not needed here: trees are read from its text. Categorical splits, linear trees, many
classes and trees too deep for tables are refused with `Untabled`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from training.shapley_loops import explain_rows, fill_tables
from training.tree_text import Tree, Untabled, read_trees

Floats = NDArray[np.float64]
Places = NDArray[np.int64]

BITS = 8
"""Decisions a table is looked up by; as many as the longest path has where that is more."""
MOST_BITS = 12
MOST_CELLS = 1 << 26
"""Largest tables of one model: half a gigabyte."""
ALONE = 256
"""Up to this many rows one thread does it: starting a second costs more than it saves."""


@dataclass(frozen=True)
class _Leaf:
    """A leaf and the way to it: the nodes from the root, and whether it lies to their left."""

    leaf: int
    nodes: tuple[int, ...]
    lefts: tuple[bool, ...]


@dataclass(frozen=True, eq=False)
class ShapleyTables:
    """The tables of one model with `width` features; `base` is the margin all rows start from.

    Trees own nodes and groups, a group owns bits (nodes of its tree) and features; its table holds,
    feature by feature, a value for each pattern of its bits. The `*_start` arrays end with a total.
    `deepest` is the length of the longest path.
    """

    width: int
    base: float
    deepest: int
    feature: Places
    threshold: Floats
    missing: Places
    node_start: Places
    group_start: Places
    bit: Places
    bit_start: Places
    column: Places
    column_start: Places
    table: Floats
    table_start: Places

    @property
    def additions(self) -> int:
        """How many numbers are looked up and added to explain a row."""
        return len(self.column)

    @property
    def bytes(self) -> int:
        """What the tables take in memory."""
        arrays = (value for value in vars(self).values() if isinstance(value, np.ndarray))
        return sum(array.nbytes for array in arrays)

    @classmethod
    def from_text(cls, text: str, base: float) -> ShapleyTables:
        """Make the tables of LightGBM's model text. Raises `Untabled` where they cannot be."""
        width, trees = read_trees(text)
        return _Builder().tables(width, base, [tree for tree in trees if len(tree.feature)])

    def contributions(self, matrix: Floats, threads: int = 1) -> Floats:
        """Return contributions (n, width + 1) of rows (n, width), NaN = null; the last is the base.

        The bits of a row do not depend on the other rows or on `threads`: each is summed by itself,
        group after group.
        """
        plain = np.ascontiguousarray(matrix, dtype=np.float64)
        found = np.empty((len(plain), self.width + 1))
        found[:, -1] = self.base
        count = threads if len(plain) > ALONE else 1
        ends = np.linspace(0, len(plain), count + 1).astype(np.int64)
        parts = [(plain[a:b], found[a:b]) for a, b in pairwise(ends)]
        if count == 1:
            self._explain(*parts[0])
        else:
            with ThreadPoolExecutor(count) as pool:
                list(pool.map(lambda part: self._explain(*part), parts))
        return found

    def _explain(self, matrix: Floats, found: Floats) -> None:
        explain_rows(
            matrix, found, self.feature, self.threshold, self.missing, self.node_start,
            self.group_start, self.bit, self.bit_start, self.column, self.column_start,
            self.table, self.table_start,
        )  # fmt: skip


class _Builder:
    """Gathers trees' nodes and groups, then fills the tables in one compiled pass."""

    def __init__(self) -> None:
        self.node_start, self.group_start = [0], [0]
        self.bit: list[int] = []
        self.bit_start = [0]
        self.column: list[int] = []
        self.column_start = [0]
        self.table_start = [0]
        self.deepest = 0
        # Per leaf: its group and value. Per step of its path: bit, side, place in the path's
        # features, place of the feature in the group, and the share of rows that go this way.
        self.leaf_group: list[int] = []
        self.leaf_value: list[float] = []
        self.step_start = [0]
        self.steps: list[tuple[int, int, int, int]] = []
        self.share: list[float] = []

    def tables(self, width: int, base: float, trees: Sequence[Tree]) -> ShapleyTables:
        """Return the tables of `trees`, none of which is a single leaf."""
        for tree in trees:
            leaves = list(_leaves(tree))
            deepest = max(len(leaf.nodes) for leaf in leaves)
            self.deepest, bits = max(self.deepest, deepest), max(BITS, deepest)
            if bits > MOST_BITS:
                raise Untabled(f"A path of {bits} splits; tables reach {MOST_BITS}.")
            for group in _groups(leaves, bits):
                self._add_group(tree, group)
            self.node_start.append(self.node_start[-1] + len(tree.feature))
            self.group_start.append(len(self.bit_start) - 1)
        return ShapleyTables(
            width,
            base,
            self.deepest,
            np.concatenate([np.empty(0, np.int64), *(tree.feature for tree in trees)]),
            np.concatenate([np.empty(0), *(tree.threshold for tree in trees)]),
            np.concatenate([np.empty(0, np.int64), *(tree.missing for tree in trees)]),
            _places(self.node_start),
            _places(self.group_start),
            _places(self.bit),
            _places(self.bit_start),
            _places(self.column),
            _places(self.column_start),
            self._filled(),
            _places(self.table_start),
        )

    def _add_group(self, tree: Tree, leaves: Sequence[_Leaf]) -> None:
        bits = list(dict.fromkeys(node for leaf in leaves for node in leaf.nodes))
        columns = sorted({int(tree.feature[node]) for node in bits})
        for leaf in leaves:
            self._add_leaf(tree, leaf, bits, columns)
        self.bit += bits
        self.bit_start.append(len(self.bit))
        self.column += columns
        self.column_start.append(len(self.column))
        self.table_start.append(self.table_start[-1] + (len(columns) << len(bits)))
        if self.table_start[-1] > MOST_CELLS:
            raise Untabled(f"Tables of more than {MOST_CELLS} numbers.")

    def _add_leaf(
        self, tree: Tree, leaf: _Leaf, bits: Sequence[int], columns: Sequence[int]
    ) -> None:
        features = [int(tree.feature[node]) for node in leaf.nodes]
        place = {feature: number for number, feature in enumerate(dict.fromkeys(features))}
        for node, left, feature in zip(leaf.nodes, leaf.lefts, features, strict=True):
            step = (bits.index(node), int(left), place[feature], columns.index(feature))
            self.steps.append(step)
            child = int((tree.left if left else tree.right)[node])
            rows = tree.count[child] if child >= 0 else tree.leaf_count[-1 - child]
            self.share.append(float(rows / tree.count[node]))
        self.step_start.append(len(self.steps))
        self.leaf_group.append(len(self.bit_start) - 1)
        self.leaf_value.append(float(tree.leaf_value[leaf.leaf]))

    def _filled(self) -> Floats:
        table = np.zeros(self.table_start[-1])
        fill_tables(
            table, _places(self.table_start), _places(self.bit_start), _places(self.leaf_group),
            np.array(self.leaf_value), _places(self.step_start),
            np.array(self.steps, dtype=np.int64).reshape(-1, 4), np.array(self.share), *_GAUSS,
        )  # fmt: skip
        return table


def _places(values: Sequence[int]) -> Places:
    return np.array(values, dtype=np.int64)


def _gauss() -> tuple[Floats, Floats]:
    """Return the Gauss-Legendre points and weights on 0 to 1, one line per number of points."""
    most = MOST_BITS // 2 + 1
    points, weights = np.zeros((most, most)), np.zeros((most, most))
    for count in range(1, most):
        at, weight = np.polynomial.legendre.leggauss(count)
        points[count, :count], weights[count, :count] = (at + 1) / 2, weight / 2
    return points, weights


_GAUSS = _gauss()


# Leaves ------------------------------------------------------------------------------------------


def _leaves(tree: Tree) -> Iterator[_Leaf]:
    """Yield a tree's leaves from left to right, so that neighbours share most of their way."""
    waiting: list[tuple[int, tuple[int, ...], tuple[bool, ...]]] = [(0, (), ())]
    while waiting:
        node, nodes, lefts = waiting.pop()
        if node < 0:
            yield _Leaf(-1 - node, nodes, lefts)
            continue
        waiting.append((int(tree.right[node]), (*nodes, node), (*lefts, False)))
        waiting.append((int(tree.left[node]), (*nodes, node), (*lefts, True)))


def _groups(leaves: Sequence[_Leaf], bits: int) -> Iterator[list[_Leaf]]:
    """Yield runs of leaves that at most `bits` nodes decide between."""
    group: list[_Leaf] = []
    nodes: set[int] = set()
    for leaf in leaves:
        if len(nodes.union(leaf.nodes)) > bits:
            yield group
            group, nodes = [], set()
        group.append(leaf)
        nodes.update(leaf.nodes)
    yield group
