"""Features of one's own: what the project file asks for beside the families."""

from __future__ import annotations

from collections.abc import Mapping

from features.behavior import definitions as d
from features.errors import SettingsError, did_you_mean
from features.feature_settings import OwnFeature

OF_NUMBERS = ("sum", "mean", "min", "max")


def own_definition(own: OwnFeature, events: Mapping[str, Mapping[str, str]]) -> d.Definition:
    """Return the definition of an own feature, for data with these event types and attributes.

    Raises `SettingsError` when the data has no such event type, or no such attribute of the kind
    that is needed.
    """
    if own.event not in events:
        raise SettingsError(
            f"features.own: there is no event type {own.event!r} in the data.",
            hint=did_you_mean(own.event, events),
        )
    if own.attribute is not None:
        _refuse_attribute(own, own.attribute, events[own.event])
    return _definition(own)


def _refuse_attribute(own: OwnFeature, attribute: str, kinds: Mapping[str, str]) -> None:
    if attribute not in kinds:
        raise SettingsError(
            f"features.own: events of type {own.event!r} have no attribute {attribute!r}.",
            hint=did_you_mean(attribute, kinds),
        )
    wanted = {"share": "text"} | dict.fromkeys(OF_NUMBERS, "number")
    if kinds[attribute] != wanted.get(own.kind, kinds[attribute]):
        raise SettingsError(
            f"features.own: {attribute} of {own.event} is a {kinds[attribute]}, and "
            f"{own.kind} is of a {wanted[own.kind]}.",
            hint="Use count, distinct or share of texts, and sum, mean, min or max of numbers.",
        )


def _definition(own: OwnFeature) -> d.Definition:
    keys = {n: getattr(own, n) for n in own.model_fields_set if n != "kind"}
    match own.kind:
        case "count":
            return d.Count(**keys)
        case "active_days":
            return d.ActiveDays(**keys)
        case "sum":
            return d.Sum(**keys)
        case "mean" | "min" | "max":
            return d.Statistic(measure=own.kind, **keys)
        case "distinct":
            return d.Distinct(**keys)
        case "share":
            return d.ValueShare(position=0, **keys)
        case "trend":
            return d.Trend(keys["event"], keys["window"], keys["against"])
        case "hours":
            return d.HourShare(**keys)
        case "weekday":
            return d.WeekdayShare(**keys)
