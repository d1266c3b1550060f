"""The catalogue: every feature a project measures, derived from its data and settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ibis
import ibis.expr.types as ir

from features import time
from features.behavior import definitions as d
from features.behavior.scene import Log
from features.engine import Engine
from features.errors import SettingsError, did_you_mean
from features.settings import Features, Namespace
from features.sources.errors import MOST_VALUES, TooManyValues
from features.time import Window

GAP_MEASURES: tuple[d.GapMeasure, ...] = ("mean", "deviation", "last", "ratio")


@dataclass(frozen=True)
class Behaviour:
    """What the data holds, as known at one moment: the facts a catalogue is made from.

    `events`: event type to its attributes and their kinds, most frequent type first. `attributes`:
    dated profile attribute to its kind. `categories`: text or boolean profile attribute to its most
    frequent values, most frequent first; those of a boolean are `true` and `false`.
    """

    events: Mapping[str, Mapping[str, str]]
    attributes: Mapping[str, str]
    categories: Mapping[str, Sequence[str]]


def observe(engine: Engine, log: Log, settings: Features, as_of: int) -> Behaviour:
    """Look at what was known at `as_of`: event types, their attributes, and categories.

    Raises `TooManyValues` for an attribute whose values cannot be categories.
    """
    stated = log.observations.filter(
        log.observations.dated & time.known_before(log.observations.known_at, as_of)
    )
    known = set(engine.arrow(stated.select("attribute").distinct())["attribute"].to_pylist())
    attributes = {
        name: kind
        for name, kind in log.attribute_kinds.items()
        if name in known and name not in log.undated and name not in settings.without
    }
    return Behaviour(
        events=_event_types(engine, log, as_of),
        attributes=attributes,
        categories=_categories(engine, stated, attributes, settings.categories),
    )


def _event_types(engine: Engine, log: Log, as_of: int) -> dict[str, dict[str, str]]:
    events = log.events.filter(time.known_before(log.events.known_at, as_of))
    counts = {name: events[name].count() for name in log.event_attributes}
    rows = engine.arrow(events.group_by("event_type").aggregate(rows=events.count(), **counts))
    found = sorted(rows.to_pylist(), key=lambda row: (-row["rows"], row["event_type"]))
    schema = log.events.schema()
    return {
        row["event_type"]: {
            name.removeprefix("attr_"): "number" if schema[name].is_decimal() else "text"
            for name in log.event_attributes
            if row[name]
        }
        for row in found
    }


def _categories(
    engine: Engine, stated: ir.Table, kinds: Mapping[str, str], most: int
) -> dict[str, list[str]]:
    """Return the values stated of most identities, by attribute; among equals, least text first."""
    named = [name for name, kind in kinds.items() if kind in ("text", "boolean")]
    booleans = [name for name in named if kinds[name] == "boolean"]
    some = stated.filter(stated.attribute.isin(named))
    # Booleans are written in any case: `True` and `true` are one value.
    plain = some.attribute.isin(booleans).ifelse(some.value.lower(), some.value)
    counted = some.group_by(some.attribute, value=plain).aggregate(
        people=some.identity_key.nunique()
    )
    _refuse_many(engine, counted)
    order = [counted.people.desc(), counted.value]
    place = ibis.row_number().over(group_by=counted.attribute, order_by=order)
    ranked = counted.mutate(place=place)
    rows = engine.arrow(ranked.filter(ranked.place < most).order_by("attribute", "place"))
    found: dict[str, list[str]] = {name: [] for name in named}
    for row in rows.to_pylist():
        found[row["attribute"]].append(row["value"])
    return found


def _refuse_many(engine: Engine, counted: ir.Table) -> None:
    values = counted.group_by("attribute").aggregate(values=counted.count())
    found = engine.arrow(values.filter(values["values"] > MOST_VALUES).order_by("attribute"))
    for row in found.to_pylist():
        raise TooManyValues(
            f"The profile attribute {row['attribute']!r} has {row['values']:,} different values, "
            f"as a category up to {MOST_VALUES:,}.",
            hint=f"Let it make no features: features: {{without: [{row['attribute']}]}}. "
            "Conditions and files may use it all the same. Or map it to something coarser.",
            attribute=row["attribute"],
            values=row["values"],
        )


def catalogue(
    behaviour: Behaviour, settings: Features, namespaces: Sequence[Namespace]
) -> tuple[d.Definition, ...]:
    """Return the definitions of every feature, in a fixed order.

    Raises `SettingsError` when two of them would make columns of one name.
    """
    ordered = sorted(set(settings.windows))
    listed: list[d.Definition] = [d.Tenure()]
    for event in _measured(behaviour, settings):
        listed += _event_definitions(event, behaviour.events[event], ordered)
    for name, kind in behaviour.attributes.items():
        listed += _profile_definitions(name, kind, behaviour.categories.get(name, ()))
    listed += [d.IdentityCount(namespace.name) for namespace in namespaces]
    _refuse_clashes(listed)
    return tuple(listed)


def _refuse_clashes(definitions: Sequence[d.Definition]) -> None:
    named: dict[str, d.Definition] = {}
    for definition in definitions:
        name = definition.feature.name
        other = named.setdefault(name, definition)
        if other is not definition:
            raise SettingsError(
                f"Two features would be called {name!r}: {to_json(other)} and "
                f"{to_json(definition)}.",
                hint="Name an event type or an attribute differently in the source.",
                feature=name,
            )


def _measured(behaviour: Behaviour, settings: Features) -> list[str]:
    if not settings.events:
        return list(behaviour.events)[: settings.max_event_types]
    if missing := [name for name in settings.events if name not in behaviour.events]:
        raise SettingsError(
            f"features.events: there is no event type {missing[0]!r} in the data.",
            hint=did_you_mean(missing[0], behaviour.events),
        )
    return list(settings.events)


def _event_definitions(
    event: str, attributes: Mapping[str, str], windows: Sequence[Window]
) -> list[d.Definition]:
    listed: list[d.Definition] = [d.DaysSince(event), d.DaysSinceFirst(event)]
    listed += [d.Count(event, window) for window in windows]
    listed += [d.ActiveDays(event, window) for window in windows]
    for name, kind in attributes.items():
        if kind == "number":
            listed += [d.Sum(event, name, window) for window in windows]
        else:
            listed += [d.Distinct(event, name, window) for window in windows]
    listed += [d.Gap(event, measure) for measure in GAP_MEASURES]
    listed += [d.Trend(event, short, windows[-1]) for short in windows[:-1]]
    return listed


def _profile_definitions(name: str, kind: str, values: Sequence[str]) -> list[d.Definition]:
    if kind == "number":
        return [d.NumberAttribute(name)]
    if kind == "date":
        return [d.DaysSinceAttribute(name)]
    listed: list[d.Definition] = [d.CategoryIs(name, v, i) for i, v in enumerate(values, 1)]
    return [*listed, d.CategoryIs(name, None, 0)] if kind == "text" else listed


def to_json(definition: d.Definition) -> dict[str, Any]:
    """Return a definition as JSON: its kind and its fields, windows as text."""
    fields = {
        name: str(value) if isinstance(value, Window) else value
        for name, value in vars(definition).items()
    }
    return {"kind": type(definition).__name__, **fields}


def from_json(raw: Mapping[str, Any]) -> d.Definition:
    """Return the definition that `to_json` wrote."""
    kind: Any = getattr(d, raw["kind"])
    fields = {
        name: Window.parse(value) if name in ("window", "short", "long") else value
        for name, value in raw.items()
        if name != "kind"
    }
    return kind(**fields)  # type: ignore[no-any-return]
