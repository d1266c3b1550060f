"""The slow twin of the identity graph: sets of (rank, text), replayed link by link."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations

from features.settings import NEVER_LINK, Identity
from tests.worlds import Row

Name = tuple[int, str]
"""An identity: priority of its namespace, then its text. Sorts as identity keys do."""


def names(row: Row, identity: Identity) -> list[Name]:
    """The identities on a row, highest priority first: the first owns the row."""
    spaces = enumerate(identity.namespaces)
    return [(rank, f"{s.name}:{row.who[s.name]}") for rank, s in spaces if s.name in row.who]


def people(rows: Sequence[Row], identity: Identity, as_of: int) -> dict[Name, Name]:
    """Every identity that is in a profile at as_of, and the anchor of that profile."""
    spaces = identity.namespaces
    known = [(names(row, identity), row) for row in rows if row.known_at < as_of]
    last: dict[tuple[Name, Name], int] = {}
    for who, row in known:
        linking = [name for name in who if spaces[name[0]].type not in NEVER_LINK]
        for pair in combinations(linking, 2):
            last[pair] = max(last.get(pair, row.event_time), row.event_time)
    everyone = {name for who, _ in known for name in who}
    persons = [rank for rank, space in enumerate(spaces) if space.type == "person"]

    def wide(name: Name) -> bool:
        met = {other for pair in last if name in pair for other in pair if other != name}
        return any(sum(o[0] == r for o in met) > identity.max_fan_out for r in persons)

    def breaks(group: set[Name]) -> bool:
        ranks = [rank for rank, _ in group]
        size = sum(spaces[rank].type != "session" for rank in ranks)
        twice = any(s.unique and ranks.count(rank) > 1 for rank, s in enumerate(spaces))
        return twice or size > identity.max_identities

    too_wide = {name for name in everyone if wide(name)}
    pairs = [pair for pair in last if not too_wide & set(pair)]
    final: list[set[Name]] = []
    for group in laid(everyone, pairs, lambda _: False):
        inside = [pair for pair in pairs if pair[0] in group]
        newest = max((last[pair] for pair in inside), default=0)
        inside.sort(key=lambda p: (last[p] < newest, p[0][0] + p[1][0], -last[p], p))
        final += laid(group, inside, breaks) if breaks(group) else [group]
    owners = {who[0] for who, _ in known}
    first = {name: min(row.event_time for who, row in known if name in who) for name in everyone}
    return {name: min(group, key=lambda n: (n[0], first[n], n[1]))
            for group in final if group & owners for name in group}  # fmt: skip


def laid(
    nodes: set[Name], pairs: Sequence[tuple[Name, Name]], breaks: Callable[[set[Name]], bool]
) -> list[set[Name]]:
    """Lay pairs in order, refusing each that would make a group that breaks a rule."""
    groups = [{node} for node in nodes]
    for a, b in pairs:
        first, second = (next(g for g in groups if node in g) for node in (a, b))
        if first is not second and not breaks(first | second):
            groups.remove(second)
            first |= second
    return groups
