"""What kind of thing a profile attribute is: number, date, boolean or text, read from text."""

from __future__ import annotations

import ibis.expr.types as ir

from features import time

NUMBER = r"^-?(0|[1-9][0-9]{0,12})(\.[0-9]+)?$"
"""A text that reads as a number. A code with leading zeros does not: it would lose them."""
DATE = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"


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


def readable(value: ir.StringValue, kind: str) -> ir.BooleanValue:
    """Say whether a text reads as a kind."""
    if kind == "boolean":
        return value.lower().isin(["true", "false"])
    return value.re_search({"number": NUMBER, "date": DATE}.get(kind, ""))


def typed(value: ir.Value, kind: str) -> ir.Value:
    """Read an attribute's text as its kind; null where it cannot be read."""
    if kind == "number":
        return value.try_cast("decimal(18,4)")
    if kind == "date":
        return value.try_cast("date").cast("timestamp").epoch_seconds() * time.MICROS_PER_SECOND
    if kind == "boolean":
        return value.lower() == "true"
    return value
