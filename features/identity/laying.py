"""The laying of links one by one, compiled to machine code by Numba when first called.

Imported only where a component breaks a rule: loading Numba takes a moment.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from features.compiling import compiled

Ints = NDArray[np.int64]

HELD, NEVER, UNIQUE, SIZE = range(4)
NONE = -1


@compiled
def _root(parent: Ints, node: int) -> int:
    while parent[node] != node:
        parent[node] = parent[parent[node]]
        node = parent[node]
    return node


@compiled
def _forbidden(parent: Ints, head: Ints, following: Ints, never: Ints, few: int, many: int) -> bool:
    """Say whether a never pair has one end in each of two groups, of which `few` has fewer."""
    entry = head[few]
    while entry != NONE:
        if _root(parent, never[entry]) == many:
            return True
        entry = following[entry]
    return False


@compiled
def lay(
    a: Ints,
    b: Ints,
    always: NDArray[np.bool_],
    unique: Ints,
    size: Ints,
    most: int,
    never_a: Ints,
    never_b: Ints,
) -> tuple[Ints, Ints]:
    """Lay links a-b in the order given; return why each is refused (or `HELD`), and node roots.

    `unique` (nodes, unique namespaces) holds a node's value there, or -1; `size` what a node counts
    towards `most`. Both are overwritten, as groups grow.
    """
    nodes, pairs = len(size), len(never_a)
    parent, weight = np.arange(nodes), np.ones(nodes, np.int64)
    # The never pairs of a group, from both ends: a chain of entries, joined when groups are.
    never = np.concatenate((never_b, never_a))
    head, tail = np.full(nodes, NONE), np.full(nodes, NONE)
    count, following = np.zeros(nodes, np.int64), np.full(2 * pairs, NONE)
    for entry in range(2 * pairs):
        node = never_a[entry] if entry < pairs else never_b[entry - pairs]
        following[entry] = head[node]
        tail[node] = entry if head[node] == NONE else tail[node]
        head[node] = entry
        count[node] += 1
    reason = np.zeros(len(a), np.int64)
    for link in range(len(a)):
        into, other = _root(parent, a[link]), _root(parent, b[link])
        if into == other:
            continue
        if weight[into] < weight[other]:
            into, other = other, into
        few, many = (into, other) if count[into] < count[other] else (other, into)
        if _forbidden(parent, head, following, never, few, many):
            reason[link] = NEVER
            continue
        for place in range(unique.shape[1]):
            if unique[into, place] != NONE and unique[other, place] != NONE:
                reason[link] = UNIQUE
        if reason[link] == HELD and not always[link] and size[into] + size[other] > most:
            reason[link] = SIZE
        if reason[link] != HELD:
            continue
        parent[other] = into
        weight[into] += weight[other]
        size[into] += size[other]
        for place in range(unique.shape[1]):
            unique[into, place] = max(unique[into, place], unique[other, place])
        if count[other]:
            if count[into]:
                following[tail[into]] = head[other]
            else:
                head[into] = head[other]
            tail[into] = tail[other]
            count[into] += count[other]
    for node in range(nodes):
        parent[node] = _root(parent, node)
    return reason, parent
