"""The slow twin of overrides: rows are read as if they were written right, then resolved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from features.identity.overrides import Overrides
from features.settings import Identity
from tests.oracles.identity import Name, Pair, names, people
from tests.worlds import Row


def overridden(
    rows: Sequence[Row], identity: Identity, as_of: int, overrides: Overrides
) -> tuple[dict[Name, Name], dict[Pair, str]]:
    """Who is in a profile at as_of, by its anchor; and every refused link, with the reason."""
    ranks = {space.name: rank for rank, space in enumerate(identity.namespaces)}

    def named(text: str) -> Name:
        return ranks[text.partition(":")[0]], text

    def known(said: Mapping[Any, int]) -> list[Any]:
        return [who for who, known_from in said.items() if known_from < as_of]

    heard = {name for row in rows if row.known_at < as_of for name in names(row, identity)}
    right = {named(alias): named(spelt) for alias, spelt in overrides.aliases.items()}
    there = {right.get(name, name) for name in heard}
    always = [tuple(sorted(map(named, pair))) for pair in known(overrides.always)]
    never = [(named(a), named(b)) for a, b in known(overrides.never)]
    spelt = [replace(row, who={space: right.get(named(f"{space}:{value}"), (0, f":{value}"))[1]
                               .partition(":")[2] for space, value in row.who.items()})
             for row in rows]  # fmt: skip
    met = [(a, b) for a, b in always if {a, b} <= there]
    bypassed = list(map(named, known(overrides.bypass)))
    anchors, refused = people(spelt, identity, as_of, met, never, bypassed)
    called = {name: min([name] if name in heard else {n for n in heard if right.get(n) == name})
              for name in there}  # fmt: skip
    return (
        {name: called[anchors[right.get(name, name)]]
         for name in heard if right.get(name, name) in anchors},
        {(called[a], called[b]): why for (a, b), why in refused.items()},
    )  # fmt: skip
