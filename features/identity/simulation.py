"""Typed events through the linking rules: who would be who, with nothing read or written.

An event is a line, `CRMID: Tom, ECID: 111`, and line n happens at time n. Every line counts, but
on blank lines and on lines that begin with `#` nothing happens. Namespaces are matched without
case; values are taken as typed. Priority, uniqueness and `max_identities` apply; values are not
normalised, hashed or taken for junk, and `max_fan_out` is left out. The profile rule is that of
the house: a profile exists when a row belongs to it, by the row's highest-priority identity.

Source: the graph simulation of Adobe's Identity Service, whose text form this is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from features.errors import LikelierError, did_you_mean
from features.identity.graph import NOBODY, rules_of
from features.identity.linking import Components, Nodes, edges_of, resolve
from features.identity.who import Link, WhoIsWho, links_of, profiles_of
from features.settings import NEVER_LINK, Identity

REFUSED_EVENT = "conflicting_identity"
"""Reason of a pair whose whole event is refused: two values of a unique namespace on one line."""
NO_FAN_OUT = int(np.iinfo(np.int64).max)

Typed = tuple[int, str]
"""An identity: rank of its namespace, 0 = highest priority, and its value."""
Sighting = tuple[int, int, int]
"""Positions of two identities, the smaller first, and the line that holds both."""


class EventsError(LikelierError):
    """Typed events that cannot be read; every wrong line is named."""

    code = "bad_events"


@dataclass(frozen=True)
class Event:
    """What one line says: its identities, each once, the first one the row's primary."""

    line: int
    identities: tuple[Typed, ...]

    def conflicts(self, rules: Identity) -> list[tuple[Typed, Typed]]:
        """Return the pairs of values that a unique namespace has here."""
        return [
            (a, b)
            for a, b in combinations(sorted(self.identities), 2)
            if a[0] == b[0] and rules.namespaces[a[0]].unique
        ]

    def pairs(self, rules: Identity) -> list[tuple[Typed, Typed]]:
        """Return the pairs that this event links."""
        linking = [n.type not in NEVER_LINK for n in rules.namespaces]
        return list(combinations(sorted(i for i in self.identities if linking[i[0]]), 2))


def simulate(text: str, rules: Identity, where: str = "events") -> WhoIsWho:
    """Return who is who after all events of `text`; times of links are line numbers.

    An event with two values of a unique namespace is refused whole, and each such pair is listed
    as refused for `conflicting_identity`. `where` names the text in errors; raises `EventsError`.
    """
    events, spelling = read_events(text, rules, where)
    typed = sorted({identity for event in events for identity in event.identities})
    key = {identity: position for position, identity in enumerate(typed)}
    names = {key[rank, value]: f"{spelling[rank]}:{value}" for rank, value in typed}
    held = [event for event in events if not event.conflicts(rules)]
    linked = [(key[a], key[b], e.line) for e in held for a, b in e.pairs(rules)]
    bad = [(key[a], key[b], e.line) for e in events for a, b in e.conflicts(rules)]
    people = _resolved(typed, linked, rules)
    reasons = people.refused.reasons()
    links = (*_links(linked, names, reasons), *_links(bad, names, {}, REFUSED_EVENT))
    owners = {int(people.label[key[event.identities[0]]]) for event in held}
    labels = dict(enumerate(people.label.tolist()))
    anchor = {each: label if label in owners else NOBODY for each, label in labels.items()}
    order = {name: position for position, name in names.items()}
    by_pair = sorted(links, key=lambda link: (order[link.a], order[link.b]))
    return WhoIsWho(tuple(names.values()), profiles_of(anchor, names), tuple(by_pair))


def read_events(text: str, rules: Identity, where: str) -> tuple[list[Event], dict[int, str]]:
    """Return the events of `text`, and each namespace, by rank, as it was typed first.

    Raises `EventsError` naming every line that cannot be read, and when there is no event.
    """
    ranks = {namespace.name: rank for rank, namespace in enumerate(rules.namespaces)}
    events: list[Event] = []
    spelling: dict[int, str] = {}
    problems: list[tuple[int, str, str]] = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        found: list[Typed] = []
        for name, value, problem, hint in _parts(line, ranks):
            if problem:
                problems.append((number, problem, hint))
                continue
            rank = ranks[name.lower()]
            spelling.setdefault(rank, name)
            found.append((rank, value))
        # A stable sort: of two values of one namespace the one typed first leads.
        events.append(Event(number, tuple(sorted(dict.fromkeys(found), key=lambda i: i[0]))))
    _refuse(problems, where)
    if not events:
        raise EventsError(
            f"{where} holds no event.", hint="Write one event a line, as `CRMID: Tom, ECID: 111`."
        )
    return events, spelling


def _parts(line: str, ranks: dict[str, int]) -> Iterator[tuple[str, str, str, str]]:
    """Yield namespace, value, and what is wrong with them and a hint (empty: nothing)."""
    for part in line.split(","):
        name, colon, value = (piece.strip() for piece in part.partition(":"))
        problem = hint = ""
        if not colon:
            problem = f"{part.strip()!r} has no colon"
            hint = "Write namespace: value, with commas between identities."
        elif name.lower() not in ranks:
            problem, hint = f"there is no namespace {name!r}", did_you_mean(name, ranks)
        elif not value:
            problem = f"{name} has no value"
            hint = f"Write {name}: VALUE, or leave {name} out."
        yield name, value, problem, hint


def _refuse(problems: list[tuple[int, str, str]], where: str) -> None:
    if problems:
        said = "; ".join(f"line {line}: {problem}" for line, problem, _ in problems)
        raise EventsError(
            f"{where}: {said}.",
            hint=problems[0][2],
            problems=[{"line": line, "problem": problem} for line, problem, _ in problems],
        )


def _resolved(typed: list[Typed], linked: list[Sighting], rules: Identity) -> Components:
    rank = np.array([rank for rank, _ in typed], dtype=np.int64)
    nodes = Nodes(rank, np.arange(len(typed), dtype=np.int64))
    a, b, line = np.array(linked, dtype=np.int64).reshape(-1, 3).T
    return resolve(nodes, edges_of(a, b, line), replace(rules_of(rules), max_fan_out=NO_FAN_OUT))


def _links(
    seen: list[Sighting], names: dict[int, str], reasons: dict[tuple[int, int], str], why: str = ""
) -> tuple[Link, ...]:
    a, b, line = np.array(seen, dtype=np.int64).reshape(-1, 3).T
    return tuple(
        replace(link, refused=why or link.refused) for link in links_of(a, b, line, names, reasons)
    )
