"""A login joins people at once: a run's components and later events say what the next run says."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from features import time
from features.identity import live
from features.identity.graph import NOBODY, Graph
from features.identity.live import Component, Linking, Person, components_at, person_of
from features.settings import Identity
from tests.oracles.identity import names
from tests.property.test_identity_oracle import (
    IDENTITY,
    MOMENTS,
    SECOND,
    STRICT,
    history,
    read,
    stated,
)
from tests.worlds import NAMESPACES, START, Row, seen, world

RULES = Linking.of(IDENTITY)
LENIENT = Linking.of(Identity.model_validate({"namespaces": NAMESPACES}))
END = START + 20 * SECOND


@dataclass(frozen=True)
class Seen:
    """An event that came after the run."""

    identities: tuple[str, ...]
    event_time: int


def published(graph: Graph, as_of: int) -> Callable[[str], Component | None]:
    """Return what an online store says of an identity: its component, or itself alone."""
    found: dict[str, Component] = {}
    for component in components_at(graph, as_of):
        found |= dict.fromkeys(component.identities, component)
        found |= dict.fromkeys((text for text, _ in component.aliases), component)
    seen = time.known_before(graph.seen_known, as_of)
    for key in np.unique(graph.seen_key[seen]).tolist():
        rows = seen & (graph.seen_key == key)
        if (name := graph.identities[key]) not in found:
            first, owns = int(graph.seen_time[rows].min()), bool(graph.seen_owner[rows].any())
            found[name] = Component((name,), (first,), (owns,))
    return found.get


def since(rows: Sequence[Row], as_of: int) -> dict[str, list[Seen]]:
    """Return the rows that became known at `as_of` or later, by identity."""
    found: dict[str, list[Seen]] = {}
    for row in rows:
        if time.known_before(row.known_at, as_of):
            continue
        sighting = Seen(tuple(name for _, name in names(row, IDENTITY)), row.event_time)
        for name in sighting.identities:
            found.setdefault(name, []).append(sighting)
    return found


def people(graph: Graph, as_of: int) -> Mapping[str, Person]:
    """Return the person of every identity, as a run at `as_of` says."""
    anchor = graph.at(as_of).anchor
    members: dict[int, list[str]] = {}
    for key in np.flatnonzero(anchor != NOBODY).tolist():
        members.setdefault(int(anchor[key]), []).append(graph.identities[key])
    return {
        name: Person(graph.identities[key], tuple(listed))
        for key, listed in members.items()
        for name in listed
    }


def differing(
    graph: Graph, rows: Sequence[Row], as_of: int, expected: Mapping[str, Person]
) -> dict[str, tuple[Person | None, Person | None]]:
    """Return the identities of which a run at `as_of` and the rows since say other than is so."""
    component_of, later = published(graph, as_of), since(rows, as_of)
    different = {}
    for name in graph.identities:
        found = person_of(name, component_of, lambda each: later.get(each, ()), RULES)
        told = found and replace(found, aliases=())
        if told != expected.get(name):
            different[name] = found, expected.get(name)
    return different


@pytest.mark.parametrize("seed", range(4))
def test_events_since_a_run_say_what_the_next_run_says(tmp_path: Path, seed: int) -> None:
    """Whatever part of the rows the run knew: none of them, some, all."""
    rng = random.Random(seed)
    rows = [row for number in range(60) for row in history(rng, f"h{number}")]
    with world(tmp_path, rows, identity=STRICT) as bench:
        expected = people(bench.graph, END)
        for as_of in [START, *MOMENTS, END]:
            assert not differing(bench.graph, rows, as_of, expected), as_of


@pytest.mark.parametrize("seed", range(3))
def test_overrides_hold_for_events_since(tmp_path: Path, seed: int) -> None:
    """Of identities that the run knew: what overrides say of others waits for the next run."""
    rng = random.Random(seed)
    drawn = {f"h{number}": history(rng, f"h{number}") for number in range(60)}
    said = [stated(rng, name) for name in drawn]
    for some in said:
        some["always"], some["never"] = ([f"{row.rpartition(',')[0]}," for row in some[table]]
                                         for table in ("always", "never"))  # fmt: skip
        some["bypass"] = [f"{row.partition(',')[0]}," for row in some["bypass"]]
    before = [row for rows in drawn.values() for row in rows if row.known_at < START + 9 * SECOND]
    again = [replace(row, event_time=START + rng.randrange(10, 19) * SECOND, received_at=None)
             for row in rng.sample(before, len(before) // 2)]  # fmt: skip
    overrides = read(tmp_path, said)
    with world(tmp_path, [*before, *again], identity=STRICT) as bench:
        graph = Graph(bench.store, bench.united, IDENTITY, overrides)
        assert overrides.always and overrides.never and overrides.bypass and overrides.aliases
        found = differing(graph, again, START + 9 * SECOND, people(graph, END))
        assert not found


def test_a_shared_cookie_goes_to_who_logged_in_last(tmp_path: Path) -> None:
    """And takes nobody else along."""
    rows = [
        seen(START, customer="ann", cookie="c"),
        seen(START, customer="ann", cookie="own"),
        seen(START + 5 * SECOND, customer="bob", cookie="c"),
    ]
    with world(tmp_path, rows) as bench:
        component_of, later = published(bench.graph, START + SECOND), since(rows, START + SECOND)
        told = {
            name: person_of(name, component_of, lambda each: later.get(each, ()), LENIENT)
            for name in ("cookie:c", "cookie:own", "customer:bob", "customer:never")
        }
    bob = Person("customer:bob", ("customer:bob", "cookie:c"))
    assert told == {
        "cookie:c": bob,
        "cookie:own": Person("customer:ann", ("customer:ann", "cookie:own")),
        "customer:bob": bob,
        "customer:never": None,
    }


def test_what_is_too_large_to_be_told_is_told_as_the_people_it_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A login still joins them, and the answer says that the next run settles it."""
    monkeypatch.setattr(live, "MOST_LINKS", 3)
    rows = [seen(START + n, customer=f"p{n % 2}", cookie=f"c{n}") for n in range(6)]
    rows += [seen(START, cookie="c0", device="d"), seen(START, cookie="c1", device="d")]
    rows += [seen(START + 5 * SECOND, customer="p0", cookie="new")]
    with world(tmp_path, rows) as bench:
        component_of, later = published(bench.graph, START + SECOND), since(rows, START + SECOND)
        found = person_of("cookie:new", component_of, lambda each: later.get(each, ()), LENIENT)
        [before] = {people(bench.graph, START + SECOND)["cookie:c0"]}
    assert found is not None
    assert found.provisional
    assert {*found.identities} == {*before.identities, "cookie:new"}
