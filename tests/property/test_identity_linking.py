"""Laws of the linking rules, whatever was seen and whatever a steward demands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from features.identity.linking import (
    DEMANDED,
    REFUSED_BYPASSED,
    REFUSED_NEVER,
    REFUSED_UNIQUE,
    Components,
    Nodes,
    Pairs,
    Rules,
    edges_of,
    resolve,
)

RANKS = np.array([0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3])
"""Namespace of each identity: customer (unique), login, cookie, session."""
SIZE = len(RANKS)
RULES = Rules(
    unique=np.array([True, False, False, False]),
    person=np.array([True, True, False, False]),
    counted=np.array([True, True, True, False]),
    max_fan_out=2,
    max_identities=4,
)
ends = st.tuples(st.integers(0, SIZE - 1), st.integers(0, SIZE - 1)).filter(lambda p: p[0] < p[1])
sightings = st.lists(st.tuples(ends, st.integers(0, 5)), max_size=25)
pairs = st.lists(ends, max_size=3)
nodes = st.lists(st.integers(0, SIZE - 1), max_size=2)

Seen = Sequence[tuple[tuple[int, int], int]]
Ends = Sequence[tuple[int, int]]


def found(
    seen: Seen, always: Ends = (), never: Ends = (), bypassed: Sequence[int] = ()
) -> Components:
    rows = [(*pair, moment) for pair, moment in seen] + [(*pair, DEMANDED) for pair in always]
    edges = edges_of(*np.array(rows, dtype=np.int64).reshape(-1, 3).T)
    apart = Pairs(*np.array(never, dtype=np.int64).reshape(-1, 2).T)
    flags = np.isin(np.arange(SIZE), bypassed)
    return resolve(Nodes(RANKS, np.arange(SIZE)), edges, RULES, apart, flags)


def groups(components: Components) -> set[frozenset[int]]:
    label = components.label
    return {frozenset(np.flatnonzero(label == each).tolist()) for each in label}


@given(sightings, pairs, pairs, nodes, st.randoms())
def test_order_and_repetition_are_no_facts(
    seen: Seen, always: Ends, never: Ends, bypassed: list[int], chance: Any
) -> None:
    one = found(seen, always, never, bypassed)
    more = [(pair, moment) for pair, moment in seen for _ in range(chance.choice([1, 2]))]
    more, wanted, apart = ([*some] for some in (more, [*always, *always[:1]], [*never, *never[:1]]))
    for some in (more, wanted, apart):
        chance.shuffle(some)
    two = found(more, wanted, [(b, a) for a, b in apart], bypassed)
    assert groups(one) == groups(two)
    assert one.refused.reasons() == two.refused.reasons()


@given(sightings, pairs, pairs, nodes)
def test_no_rule_is_broken(seen: Seen, always: Ends, never: Ends, bypassed: list[int]) -> None:
    people = found(seen, always, never, bypassed)
    for group in groups(people):
        assert sum(RANKS[node] == 0 for node in group) <= 1
        assert not any({a, b} <= group for a, b in never)
        assert len(group) == 1 or not group & set(bypassed)
        if not always:
            assert sum(RANKS[node] != 3 for node in group) <= RULES.max_identities


@given(sightings, pairs, pairs, nodes)
def test_a_demanded_link_gives_way_to_three_reasons_only(
    seen: Seen, always: Ends, never: Ends, bypassed: list[int]
) -> None:
    people = found(seen, always, never, bypassed)
    refused = people.refused.reasons()
    reasons = {REFUSED_NEVER, REFUSED_UNIQUE, REFUSED_BYPASSED}
    for a, b in always:
        if (a, b) in refused:
            assert refused[a, b] in reasons
        else:
            assert people.label[a] == people.label[b]


@given(sightings, pairs)
def test_a_demand_that_is_met_already_changes_nobody_before_a_rule_breaks(
    seen: Seen, never: Ends
) -> None:
    plain = found(seen)
    met = [(a, b) for a, b in never if plain.label[a] != plain.label[b]]
    if not len(plain.refused):
        assert groups(found(seen, never=met)) == groups(plain)
