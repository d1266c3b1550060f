"""The catalogue: every feature a project measures, derived from its data and settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import ibis
import ibis.expr.types as ir

from features import time
from features.behavior import definitions as d
from features.behavior.own import own_definition
from features.behavior.scene import Log
from features.engine import Engine
from features.errors import SettingsError, did_you_mean
from features.feature_settings import Family, Features
from features.settings import KNOWN_TYPES, Namespace
from features.sources.errors import MOST_VALUES, TooManyValues
from features.time import Window

GAP_MEASURES: tuple[d.GapMeasure, ...] = ("mean", "deviation", "last", "ratio")
STATISTICS: tuple[d.StatisticMeasure, ...] = ("mean", "min", "max")
ENDS: tuple[d.End, ...] = ("first", "last")
SESSION_MEASURES: tuple[d.SessionMeasure, ...] = ("length_mean", "length_last", "events_now")
_OF_VALUES = {"shares", "first", "last"}
"""Families that need to know the most frequent values."""


@dataclass(frozen=True)
class Behaviour:
    """What the data holds, as known at one moment: the facts a catalogue is made from.

    `events`: event type to its attributes and their kinds, most frequent type first. `attributes`:
    dated profile attribute to its kind. `categories`: text or boolean profile attribute to its most
    frequent values, most frequent first; those of a boolean are `true` and `false`. `values`: the
    same of text event attributes, by event type, where a family asks for them.
    """

    events: Mapping[str, Mapping[str, str]]
    attributes: Mapping[str, str]
    categories: Mapping[str, Sequence[str]]
    values: Mapping[str, Mapping[str, Sequence[str]]] = field(default_factory=dict)

    @property
    def category_lists(self) -> dict[str, Sequence[str]]:
        """Every list of most frequent values: of profiles by attribute, of events `event.attr`."""
        of_events = {
            f"{event}.{name}": listed
            for event, values in self.values.items()
            for name, listed in values.items()
        }
        return {**self.categories, **of_events}


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
    events = _event_types(engine, log, as_of)
    return Behaviour(
        events=events,
        attributes=attributes,
        categories=_categories(engine, stated, attributes, settings.categories),
        values=_values(engine, log, events, settings, as_of),
    )


def _values(
    engine: Engine,
    log: Log,
    events: Mapping[str, Mapping[str, str]],
    settings: Features,
    as_of: int,
) -> dict[str, dict[str, list[str]]]:
    """Return the values most events state, by event type and text attribute; then least text."""
    found: dict[str, dict[str, list[str]]] = {}
    by_attribute: dict[str, list[str]] = {}
    for event, attributes in events.items():
        for name, kind in attributes.items():
            if kind == "text" and _OF_VALUES & set(_families(event, settings)):
                by_attribute.setdefault(name, []).append(event)
    known = log.events.filter(time.known_before(log.events.known_at, as_of))
    for name, types in by_attribute.items():
        some = known.filter(known.event_type.isin(types), known[f"attr_{name}"].notnull())
        counted = some.group_by("event_type", value=some[f"attr_{name}"]).aggregate(
            rows=some.count()
        )
        order = [counted.rows.desc(), counted.value]
        place = ibis.row_number().over(group_by=counted.event_type, order_by=order)
        ranked = counted.mutate(place=place)
        top = ranked.filter(ranked.place < settings.categories).order_by("event_type", "place")
        for row in engine.arrow(top).to_pylist():
            found.setdefault(row["event_type"], {}).setdefault(name, []).append(row["value"])
    return found


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

    Raises `SettingsError` when two of them would make columns of one name, and when the settings
    name event types or attributes that the data lacks.
    """
    events = _measured(behaviour, settings)
    listed: list[d.Definition] = [d.Tenure()]
    for event in events:
        listed += _event_definitions(event, behaviour, settings)
    if settings.session_gap and events:
        listed += _session_definitions(settings.session_gap, events, settings)
    for name, kind in behaviour.attributes.items():
        listed += _profile_definitions(name, kind, behaviour.categories.get(name, ()))
    listed += [d.IdentityCount(namespace.name) for namespace in namespaces]
    naming = tuple(namespace.name for namespace in namespaces if namespace.type in KNOWN_TYPES)
    if settings.identity_known and naming:
        listed.append(d.IsKnown(naming))
    listed += [own_definition(own, behaviour.events) for own in settings.own]
    listed = list(dict.fromkeys(listed))
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
    """Return the event types that make features."""
    for key, named in (("events", settings.events), ("event_types", _demanded(settings))):
        if missing := [name for name in named if name not in behaviour.events]:
            raise SettingsError(
                f"features.{key}: there is no event type {missing[0]!r} in the data.",
                hint=did_you_mean(missing[0], behaviour.events),
            )
    if settings.events:
        return list(settings.events)
    able = [event for event in behaviour.events if _families(event, settings)]
    return able[: settings.max_event_types]


def _demanded(settings: Features) -> list[str]:
    return [name for name, own in settings.event_types.items() if own.families or own.windows]


def _families(event: str, settings: Features) -> Sequence[Family]:
    own = settings.of_event(event)
    if own.families is not None:
        return own.families
    # What is done to a person makes features where it is named, and only there.
    named = event in settings.events
    return settings.families if own.by == "person" or named else ()


def _event_definitions(event: str, behaviour: Behaviour, settings: Features) -> list[d.Definition]:
    windows = sorted(set(settings.of_event(event).windows or settings.windows))
    families = _families(event, settings)
    parts: dict[str, list[d.Definition]] = {
        "recency": [d.DaysSince(event), d.DaysSinceFirst(event)],
        "count": [d.Count(event, window) for window in windows],
        "active_days": [d.ActiveDays(event, window) for window in windows],
    }
    listed = [x for family, part in parts.items() if family in families for x in part]
    for name, kind in behaviour.events[event].items():
        values = behaviour.values.get(event, {}).get(name, ())
        of_kind = _of_numbers if kind == "number" else _of_texts
        listed += of_kind(event, name, families, windows, values)
    longest = windows[-1]
    parts = {
        "gaps": [d.Gap(event, measure) for measure in GAP_MEASURES],
        "trend": [d.Trend(event, short, longest) for short in windows[:-1]],
        "hours": [d.HourShare(event, hour, hour + 6, longest) for hour in range(0, 24, 6)],
        "weekdays": [d.WeekdayShare(event, day, longest) for day in range(1, 8)],
    }
    return listed + [x for family, part in parts.items() if family in families for x in part]


def _of_numbers(
    event: str,
    name: str,
    families: Sequence[Family],
    windows: Sequence[Window],
    values: Sequence[str],
) -> Iterator[d.Definition]:
    if "sum" in families:
        yield from (d.Sum(event, name, window) for window in windows)
    for measure in STATISTICS:
        if measure in families:
            yield from (d.Statistic(event, name, measure, window) for window in windows)


def _of_texts(
    event: str,
    name: str,
    families: Sequence[Family],
    windows: Sequence[Window],
    values: Sequence[str],
) -> Iterator[d.Definition]:
    if "distinct" in families:
        yield from (d.Distinct(event, name, window) for window in windows)
    listed = [*((value, place) for place, value in enumerate(values, 1)), (None, 0)]
    if "shares" in families:
        yield from (d.ValueShare(event, name, value, at, windows[-1]) for value, at in listed)
    for end in ENDS:
        if end in families:
            yield from (d.ValueIs(end, event, name, value, at) for value, at in listed)


def _session_definitions(
    gap: Window, events: Sequence[str], settings: Features
) -> list[d.Definition]:
    """Return the sessions of what people do themselves; nothing where they do nothing."""
    types = tuple(event for event in events if settings.of_event(event).by == "person")
    if not types:
        return []
    windows = sorted(set(settings.windows))
    return [
        *(d.SessionCount(gap, types, window) for window in windows),
        *(d.Session(measure, gap, types) for measure in SESSION_MEASURES),
    ]


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
        name: str(value) if isinstance(value, Window)
        else list(value) if isinstance(value, tuple)
        else value
        for name, value in vars(definition).items()
    }  # fmt: skip
    return {"kind": type(definition).__name__, **fields}


def from_json(raw: Mapping[str, Any]) -> d.Definition:
    """Return the definition that `to_json` wrote."""
    kind: Any = getattr(d, raw["kind"])
    fields = {
        name: Window.parse(value) if name in ("window", "short", "long", "gap")
        else tuple(value) if isinstance(value, list)
        else value
        for name, value in raw.items()
        if name != "kind"
    }  # fmt: skip
    return kind(**fields)  # type: ignore[no-any-return]
