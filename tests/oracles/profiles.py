"""The slow twin of the merge rules: one person, one moment, lists sorted again and again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

from features.profiles.merging import Policy


@dataclass(frozen=True)
class Said:
    """One row's statement of one attribute; `row` numbers the rows of a source."""

    identity: int
    attribute: str
    value: str
    event_time: int
    known_at: int
    dated: bool
    source: str
    row: int


def merged(
    known: Sequence[Said], policies: Sequence[Policy], kinds: Mapping[str, str]
) -> dict[str, Said]:
    """The statement that wins for every attribute, of those known of one person."""
    won: dict[str, Said] = {}
    for policy in policies:
        rows: dict[tuple[str, int], list[Said]] = {}
        for said in known:
            if said.attribute in policy.attributes:
                rows.setdefault((said.source, said.row), []).append(said)
        won |= {said.attribute: said for said in best(list(rows.values()), policy, known, kinds)}
    return won


def best(
    rows: list[list[Said]], policy: Policy, known: Sequence[Said], kinds: Mapping[str, str]
) -> list[Said]:
    """The row that wins: sorted by what matters least first, since sorting keeps ties in order."""
    rows = sorted(rows, key=lambda row: (row[0].source, row[0].row))
    rows.sort(key=lambda row: texts(row, policy), reverse=True)
    rows.sort(key=lambda row: row[0].event_time, reverse=True)
    if policy.merge == "source_order":
        rows.sort(key=lambda row: policy.order.index(row[0].source))
    if policy.merge == "most_filled":
        rows.sort(key=lambda row: fills(row, policy, known), reverse=True)
    if policy.merge in ("min", "max"):
        kind = kinds[policy.attributes[0]]
        rows.sort(key=lambda row: ordered(row[0].value, kind), reverse=policy.merge == "max")
    rows.sort(key=lambda row: any(said.dated for said in row), reverse=True)
    return rows[0] if rows else []


def counted(row: Sequence[Said]) -> list[Said]:
    """What counts of a row: its dated statements, or all where none is."""
    return [said for said in row if said.dated] or list(row)


def texts(row: Sequence[Said], policy: Policy) -> list[tuple[bool, str]]:
    values = {said.attribute: said.value for said in counted(row)}
    return [(name in values, values.get(name, "")) for name in policy.attributes]


def fills(row: Sequence[Said], policy: Policy, known: Sequence[Said]) -> int:
    """Attributes of the group that the row states; of an attribute alone, all that it states."""
    if len(policy.attributes) > 1:
        return len(counted(row))
    whole = [said for said in known if (said.source, said.row) == (row[0].source, row[0].row)]
    return sum(said.dated for said in whole) if row[0].dated else len(whole)


def ordered(value: str, kind: str) -> Decimal | str:
    if kind == "number":
        return Decimal(value).quantize(Decimal("0.0001"), ROUND_HALF_UP)
    return value.lower() if kind == "boolean" else value
