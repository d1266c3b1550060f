"""The slow twin of the identity graph: sets of (rank, text), replayed link by link."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations

from features.settings import NEVER_LINK, Identity
from tests.worlds import Row

Name = tuple[int, str]
"""An identity: priority of its namespace, then its text. Sorts as identity keys do."""
Pair = tuple[Name, Name]
"""Two identities, the smaller first."""
UNSEEN = -1
"""When a pair that was never on one row was seen: before all time."""


def names(row: Row, identity: Identity) -> list[Name]:
    """The identities on a row, highest priority first: the first owns the row."""
    spaces = enumerate(identity.namespaces)
    return [(rank, f"{s.name}:{row.who[s.name]}") for rank, s in spaces if s.name in row.who]


def people(
    rows: Sequence[Row],
    identity: Identity,
    as_of: int,
    always: Sequence[Pair] = (),
    never: Sequence[Pair] = (),
    bypassed: Sequence[Name] = (),
) -> tuple[dict[Name, Name], dict[Pair, str]]:
    """Who is in a profile at as_of, by its anchor; and every refused link, with the reason."""
    spaces = identity.namespaces
    known = [(names(row, identity), row) for row in rows if row.known_at < as_of]
    last: dict[Pair, int] = dict.fromkeys(always, UNSEEN)
    for who, row in known:
        linking = [name for name in who if spaces[name[0]].type not in NEVER_LINK]
        for pair in combinations(linking, 2):
            last[pair] = max(last.get(pair, UNSEEN), row.event_time)
    persons = [rank for rank, space in enumerate(spaces) if space.type == "person"]
    refused = {pair: "bypassed" for pair in last if set(pair) & set(bypassed)}
    real = [pair for pair in last if pair not in refused]

    def wide(name: Name) -> bool:
        met = {other for pair in real if name in pair for other in pair if other != name}
        return any(sum(o[0] == r for o in met) > identity.max_fan_out for r in persons)

    def breaks(group: set[Name], demanded: bool = False) -> str:
        ranks = [rank for rank, _ in group]
        if any({a, b} <= group for a, b in never):
            return "never_link"
        if any(s.unique and ranks.count(rank) > 1 for rank, s in enumerate(spaces)):
            return "unique_namespace"
        size = sum(spaces[rank].type != "session" for rank in ranks)
        return "max_identities" if size > identity.max_identities and not demanded else ""

    for pair in real:
        if pair not in always and any(map(wide, pair)):
            refused[pair] = "fan_out"
    pairs = [pair for pair in real if pair not in refused]
    everyone = {name for who, _ in known for name in who} | {name for pair in last for name in pair}
    final: list[set[Name]] = []
    for group in laid(everyone, pairs, lambda *_: "", {}):
        inside = [pair for pair in pairs if pair[0] in group]
        newest = max((last[pair] for pair in inside), default=0)
        inside.sort(key=lambda p: (p not in always, last[p] < newest, p[0][0] + p[1][0],
                                   -last[p], p))  # fmt: skip
        allowed = (lambda g, p: breaks(g, p in always)) if breaks(group) else (lambda *_: "")
        final += laid(group, inside, allowed, refused)
    owners = {who[0] for who, _ in known}
    seen = {name for who, _ in known for name in who}
    first = {name: min(row.event_time for who, row in known if name in who) for name in seen}
    anchors = {name: min(group & seen, key=lambda n: (n[0], first[n], n[1]))
               for group in final if group & owners for name in group & seen}  # fmt: skip
    return anchors, refused


def laid(
    nodes: set[Name],
    pairs: Sequence[Pair],
    breaks: Callable[[set[Name], Pair], str],
    refused: dict[Pair, str],
) -> list[set[Name]]:
    """Lay pairs in order, refusing each that would make a group that breaks a rule."""
    groups = [{node} for node in nodes]
    for pair in pairs:
        first, second = (next(g for g in groups if node in g) for node in pair)
        if first is not second and not (why := breaks(first | second, pair)):
            groups.remove(second)
            first |= second
        elif first is not second:
            refused[pair] = why
    return groups
