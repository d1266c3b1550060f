"""Profile attributes as known at a moment, merged by most recent.

Among the values stated for a person and known at as_of, the newest statement wins; of several
stated at the same time the greatest text does, so that the order of rows never matters.
"""

from __future__ import annotations

from collections.abc import Mapping

import ibis.expr.types as ir

from features import time

NUMBER = r"^-?(0|[1-9][0-9]{0,12})(\.[0-9]+)?$"
"""A text that reads as a number. A code with leading zeros does not: it would lose them."""
DATE = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"


def winners(observations: ir.Table, members: ir.Table, *, undated: bool) -> ir.Table:
    """Return the statement that won, one a row and attribute.

    Columns: row_id, attribute, value, event_time, source. `members` has row_id, identity_key,
    as_of.
    """
    joined = observations.inner_join(members, "identity_key")
    known = joined.filter(time.known_before(joined.known_at, joined.as_of))
    if not undated:
        known = known.filter(known.dated)
    dated = known.group_by("row_id", "attribute").mutate(newest=known.event_time.max())
    last = dated.filter(dated.event_time == dated.newest)
    ranked = last.group_by("row_id", "attribute").mutate(greatest=last.value.max())
    won = ranked.filter(ranked.value == ranked.greatest)
    return won.group_by("row_id", "attribute", "value", "event_time").aggregate(
        source=won.source.min()
    )


def attributes_at(
    observations: ir.Table, members: ir.Table, kinds: Mapping[str, str], *, undated: bool
) -> ir.Table | None:
    """Return row_id and `profile_<name>` columns; None where nothing is ever stated.

    Only rows with a statement are there. Numbers are DECIMAL(18,4), dates UTC microseconds,
    booleans booleans.
    """
    if not kinds:
        return None
    won = winners(observations, members, undated=undated)
    columns = {
        f"profile_{name}": typed(won.value.max(where=won.attribute == name), kind)
        for name, kind in kinds.items()
    }
    return won.group_by("row_id").aggregate(**columns)


def kinds_of(stated: ir.Table) -> ir.Table:
    """Return, per attribute, how many of its values there are and how many read as what.

    `stated` has attribute and value (text, not null). Columns: attribute, values, number, date,
    boolean. An attribute is of a kind when all of its values are, and text otherwise.
    """
    value = stated.value
    return stated.group_by("attribute").aggregate(
        values=stated.count(),
        number=value.re_search(NUMBER).sum(),
        date=value.re_search(DATE).sum(),
        boolean=value.lower().isin(["true", "false"]).sum(),
    )


def typed(value: ir.Value, kind: str) -> ir.Value:
    """Read an attribute's text as its kind; null where it cannot be read."""
    if kind == "number":
        return value.try_cast("decimal(18,4)")
    if kind == "date":
        return value.try_cast("date").cast("timestamp").epoch_seconds() * time.MICROS_PER_SECOND
    if kind == "boolean":
        return value.lower() == "true"
    return value
