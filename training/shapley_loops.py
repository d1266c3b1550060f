"""The loops of `training.shapley`, compiled to machine code by Numba when first called.

Nothing here may depend on how many rows there are: sums are added one by one, in the order of
groups, and no `fastmath` or parallel reduction may change that order.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from features.compiling import compiled
from training.tree_text import LEFT, RIGHT, ZERO, ZERO_LEFT

Floats = NDArray[np.float64]
Places = NDArray[np.int64]

BLOCK = 512
"""Rows worked on together, so that their sums stay in the processor's cache."""


@compiled
def _cases(value: float, odds: Floats, points: Floats, weights: Floats) -> Floats:
    """Return a leaf's contributions (2 ** k, k) to the k features of its path, by which hold.

    With h_j (0 or 1) for "feature j holds" and w_j for its odds, the share of rows that go its way,
    feature i gets value x (h_i - w_i) x the integral over p, 0 to 1, of the product, over the other
    j, of h_j p + w_j (1 - p): Shapley's weights are that integral's (a beta function). The product
    is a polynomial of degree k - 1, so half of k Gauss-Legendre points, rounded up, are exact.
    """
    features = len(odds)
    cases, ahead = np.zeros((1 << features, features)), np.empty(features + 1)
    count = (features + 1) // 2
    for case in range(1 << features):
        for number in range(count):
            point = points[count, number]
            ahead[0] = weights[count, number] * value
            for j in range(features):
                held = (case >> j) & 1
                ahead[j + 1] = ahead[j] * (held * point + odds[j] * (1.0 - point))
            behind = 1.0
            for j in range(features - 1, -1, -1):
                held = (case >> j) & 1
                cases[case, j] += (held - odds[j]) * ahead[j] * behind
                behind *= held * point + odds[j] * (1.0 - point)
    return cases


@compiled
def fill_tables(
    table: Floats,
    table_start: Places,
    bit_start: Places,
    leaf_group: Places,
    leaf_value: Floats,
    step_start: Places,
    steps: Places,
    share: Floats,
    points: Floats,
    weights: Floats,
) -> None:
    """Add each leaf's contributions to its group's table, in the order of leaves."""
    for leaf in range(len(leaf_group)):
        group, first, last = leaf_group[leaf], step_start[leaf], step_start[leaf + 1]
        size = 1 << (bit_start[group + 1] - bit_start[group])
        features = 0
        for step in range(first, last):
            features = max(features, steps[step, 2] + 1)
        odds, column = np.ones(features), np.zeros(features, np.int64)
        for step in range(first, last):
            odds[steps[step, 2]] *= share[step]
            column[steps[step, 2]] = steps[step, 3]
        cases = _cases(leaf_value[leaf], odds, points, weights)
        for pattern in range(size):
            case = (1 << features) - 1
            for step in range(first, last):
                if (pattern >> steps[step, 0]) & 1 != steps[step, 1]:
                    case &= ~(1 << steps[step, 2])
            for j in range(features):
                table[table_start[group] + column[j] * size + pattern] += cases[case, j]


@compiled
def _decide(values: Floats, threshold: float, missing: int, lefts: NDArray[np.uint16]) -> None:
    """Set `lefts` to 1 for the values that go left."""
    if missing == LEFT:
        for row in range(len(values)):
            lefts[row] = not values[row] > threshold
    elif missing == RIGHT:
        for row in range(len(values)):
            lefts[row] = values[row] <= threshold
    else:
        for row in range(len(values)):
            value = values[row]
            away = value == 0 or np.isnan(value)
            lefts[row] = missing == ZERO_LEFT if away else value <= threshold


@compiled
def explain_rows(
    matrix: Floats,
    found: Floats,
    feature: Places,
    threshold: Floats,
    missing: Places,
    node_start: Places,
    group_start: Places,
    bit: Places,
    bit_start: Places,
    column: Places,
    column_start: Places,
    table: Floats,
    table_start: Places,
) -> None:
    """Write the contributions of rows (n, features) into `found` (n, features + 1), but the last.

    A block of rows goes through all trees at a time, column by column: sums add up in the order of
    groups for each row, whatever the block.
    """
    rows, width = matrix.shape
    block = min(BLOCK, rows)
    most = 1
    for tree in range(len(node_start) - 1):
        most = max(most, node_start[tree + 1] - node_start[tree])
    values, sums = np.empty((width, block)), np.empty((width, block))
    lefts, pattern = np.empty((most, block), np.uint16), np.empty(block, np.uint16)
    for start in range(0, rows, max(block, 1)):
        size = min(block, rows - start)
        for row in range(size):
            for place in range(width):
                value = matrix[start + row, place]
                values[place, row] = 0.0 if abs(value) <= ZERO else value
        sums[:] = 0.0
        for tree in range(len(node_start) - 1):
            base = node_start[tree]
            for node in range(base, node_start[tree + 1]):
                into = lefts[node - base, :size]
                _decide(values[feature[node], :size], threshold[node], missing[node], into)
            for group in range(group_start[tree], group_start[tree + 1]):
                first, last = bit_start[group], bit_start[group + 1]
                pattern[:size] = lefts[bit[first], :size]
                for place in range(first + 1, last):
                    shift, side = np.uint16(place - first), lefts[bit[place], :size]
                    for row in range(size):
                        pattern[row] |= side[row] << shift
                at, lines = table_start[group], 1 << (last - first)
                for place in range(column_start[group], column_start[group + 1]):
                    cells = table[at : at + lines]
                    total = sums[column[place], :size]
                    for row in range(size):
                        total[row] += cells[pattern[row]]
                    at += lines
        for row in range(size):
            for place in range(width):
                found[start + row, place] = sums[place, row]
