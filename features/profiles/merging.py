"""Merge rules: which statement gives a person an attribute, where rows or sources disagree.

Of the statements made of a person and known at as_of, one wins for every attribute, and one row for
every group of attributes, so that a group never mixes rows. What wins first:

- `most_recent`: the newest statement.
- `source_order`: that of the best source.
- `most_filled`: that of the row which says most: of the group's attributes, or, for an attribute
  alone, of all attributes of the person.
- `min`, `max`: the least or greatest value as a number, date or text (false is below true).

Of equals the newest wins, then the greatest text (of a group: attribute by attribute, saying
nothing is least), then the least source name, then the least event id: the order in which rows
arrive never matters. Undated statements count only where nothing dated is known, so that whoever
may not see them sees the same winner.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import ibis
import ibis.expr.types as ir

from features import time
from features.profiles.attributes import typed
from features.settings import Merge, Project

ROW = ("row_id", "source", "row")
COLUMNS = ("row_id", "attribute", "value", "event_time", "source", "row")


@dataclass(frozen=True)
class Policy:
    """How one unit is merged: `attributes` are a group, or one attribute alone.

    `order` has every source of the project, best first; empty where sources do not matter.
    """

    attributes: tuple[str, ...]
    merge: Merge = "most_recent"
    order: tuple[str, ...] = ()

    @property
    def unit(self) -> str:
        """Name of the unit: an attribute belongs to one."""
        return self.attributes[0]


def policies(project: Project) -> tuple[Policy, ...]:
    """Return how every attribute of a project is merged; each is in one policy."""
    profiles = project.profiles
    named = tuple(source.name for source in project.sources)
    stated = sorted({name for source in project.sources for name in source.profile})
    grouped = {name: group for group in profiles.groups for name in group.attributes}
    found = {}
    for name in stated:
        item = grouped.get(name) or profiles.attributes.get(name)
        merge = (item and item.merge) or profiles.merge
        order = (item and item.source_order) or profiles.source_order
        members = grouped[name].attributes if name in grouped else (name,)
        ranked = (*order, *(source for source in named if source not in order))
        found[members] = Policy(members, merge, ranked if merge == "source_order" else ())
    return tuple(found.values())


def winners(
    observations: ir.Table,
    members: ir.Table,
    policies: Sequence[Policy],
    kinds: Mapping[str, str],
    *,
    undated: bool,
) -> ir.Table:
    """Return the statement that won, one a row and attribute.

    Columns: row_id, attribute, value, event_time, source, row. `members` has row_id, identity_key,
    as_of; `kinds` says what `min` and `max` compare. Attributes that no policy names have no
    winner.
    """
    joined = observations.inner_join(members, "identity_key")
    known = joined.filter(time.known_before(joined.known_at, joined.as_of))
    if not undated:
        known = known.filter(known.dated)
    if any(policy.merge == "most_filled" for policy in policies):
        known = known.mutate(fills=_fills(known))
    alone = [policy for policy in policies if len(policy.attributes) == 1]
    groups = [_of_group(known, policy) for policy in policies if len(policy.attributes) > 1]
    found = [*_alone(known, alone, kinds), *groups]
    if not found:
        return known.filter(ibis.literal(False)).select(*COLUMNS)
    return ibis.union(*found) if len(found) > 1 else found[0]


def _fills(known: ir.Table) -> ir.Value:
    """Return how many attributes a statement's row states: dated ones, if it is dated itself."""
    row = ibis.window(group_by=["row_id", "source", "row"])
    return known.dated.ifelse(known.dated.sum().over(row), known.count().over(row))


def attributes_at(
    observations: ir.Table,
    members: ir.Table,
    policies: Sequence[Policy],
    kinds: Mapping[str, str],
    *,
    undated: bool,
) -> ir.Table | None:
    """Return row_id and `profile_<name>` columns; None where nothing is ever stated.

    Only rows with a statement are there. Numbers are DECIMAL(18,4), dates UTC microseconds,
    booleans booleans.
    """
    if not kinds:
        return None
    won = winners(observations, members, policies, kinds, undated=undated)
    columns = {
        f"profile_{name}": typed(won.value.max(where=won.attribute == name), kind)
        for name, kind in kinds.items()
    }
    return won.group_by("row_id").aggregate(**columns)


# What wins ---------------------------------------------------------------------------------------


def _alone(
    known: ir.Table, policies: Sequence[Policy], kinds: Mapping[str, str]
) -> Iterator[ir.Table]:
    """Yield the winners of attributes alone, a table for every way of comparing."""
    ways: dict[tuple[str, str], list[Policy]] = {}
    for policy in policies:
        extreme = policy.merge in ("min", "max")
        way = (policy.merge, kinds.get(policy.unit, "text")) if extreme else ("", "")
        ways.setdefault(way, []).append(policy)
    for (merge, kind), alike in ways.items():
        some = known.filter(known.attribute.isin([policy.unit for policy in alike]))
        preferred = _extreme(some.value, merge, kind) if merge else _preferred(some, alike)
        # Equal texts need no telling apart; nor may one column be ordered by twice.
        texts = [] if merge and kind in ("text", "date") else [some.value]
        yield _first(some, ["row_id", "attribute"], preferred, texts).select(*COLUMNS)


def _of_group(known: ir.Table, policy: Policy) -> ir.Table:
    """Return what the one row that wins for a group says of its attributes."""
    some = known.filter(known.attribute.isin(policy.attributes))
    dated = some.dated.any().over(ibis.window(group_by=[*ROW]))
    counted = some.mutate(counts=some.dated | ~dated)
    counted = counted.filter(counted.counts)
    texts = {
        f"text_{name}": counted.value.max(where=counted.attribute == name)
        for name in policy.attributes
    }
    rows = counted.group_by(*ROW, "event_time", "dated").aggregate(fills=counted.count(), **texts)
    rows = rows.mutate(attribute=ibis.literal(policy.unit))
    first = _first(rows, ["row_id"], _preferred(rows, [policy]), [rows[name] for name in texts])
    return some.semi_join(first, ROW).select(*COLUMNS)


def _first(
    table: ir.Table, unit: Sequence[str], preferred: Sequence[ir.Value], texts: Sequence[ir.Value]
) -> ir.Table:
    """Return the row that wins, one a unit: equals are told apart as the module says."""
    order = [
        table.dated.desc(),
        *preferred,
        table.event_time.desc(),
        *(text.desc() for text in texts),
        table.source,
        table.row,
    ]
    placed = table.mutate(place=ibis.row_number().over(group_by=list(unit), order_by=order))
    return placed.filter(placed.place == 0)


def _preferred(table: ir.Table, policies: Sequence[Policy]) -> list[ir.Value]:
    """Return what comes before the newest: a rank by source or by how much a row says."""
    ranks = []
    for policy in policies:
        mine = table.attribute == policy.unit
        if policy.merge == "source_order":
            places = [(table.source == name, place) for place, name in enumerate(policy.order)]
            ranks.append((mine, ibis.cases(*places, else_=len(places))))
        elif policy.merge == "most_filled":
            ranks.append((mine, -table.fills))
    return [ibis.cases(*ranks, else_=0)] if ranks else []


def _extreme(value: ir.Value, merge: str, kind: str) -> list[ir.Value]:
    """Return what puts the least or greatest first; dates and booleans are in order as text."""
    if kind == "number":
        value = typed(value, kind)
    elif kind == "boolean":
        value = value.lower()
    return [value.desc() if merge == "max" else value.asc()]
