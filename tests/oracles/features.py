"""The slow twin of the table renderer: one person, one moment, one definition, nested loops."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_UP, Decimal
from itertools import pairwise
from zoneinfo import ZoneInfo

from features.behavior import definitions as d
from features.settings import Identity
from features.time import MICROS_PER_DAY as DAY
from features.time import Window
from tests.oracles.identity import names, people
from tests.worlds import Row

SECOND = 1_000_000


@dataclass(frozen=True)
class Person:
    """Who a row's person was at as_of: namespaces of the identities, and the rows known then."""

    as_of: int
    spaces: Sequence[str]
    rows: Sequence[Row]
    zone: ZoneInfo


def person(rows: Sequence[Row], identity: Identity, name: str, as_of: int, zone: str) -> Person:
    """The profile holding identity `name` at as_of."""
    anchors, _ = people(rows, identity, as_of)
    found = {text: (anchor, rank) for (rank, text), anchor in anchors.items()}
    mine = {text: rank for text, (anchor, rank) in found.items() if anchor == found[name][0]}
    spaces = [identity.namespaces[rank].name for rank in mine.values()]
    known = [r for r in rows if r.known_at < as_of and names(r, identity)[0][1] in mine]
    return Person(as_of, spaces, known, ZoneInfo(zone))


def value(x: d.Definition, who: Person, listed: Sequence[d.Definition]) -> float | None:
    """A feature of a person; None is null."""
    match x:
        case d.Count(event, window):
            return float(len(inside(who, event, window)))
        case d.ActiveDays(event, window):
            return float(len({day(row, who.zone) for row in inside(who, event, window)}))
        case d.Sum(event, attribute, window):
            return sum(units(n) for n in held(inside(who, event, window), attribute)) / 10_000
        case d.Statistic(event, attribute, measure, window):
            said = [units(n) for n in held(inside(who, event, window), attribute)]
            least, most = (edge(said, default=0) / 10_000 for edge in (min, max))
            known = {"min": least, "max": most, "mean": over_units(said)}
            return known[measure] if said else None
        case d.ValueShare(event, attribute, wanted, _, window):
            said = held(inside(who, event, window), attribute)
            return share(sum(is_value(x, text, wanted, listed) for text in said), said)
        case d.ValueIs(end, event, attribute, wanted, _):
            known = [(row.event_time, row.attributes[attribute]) for row in of(who, event)
                     if row.attributes.get(attribute) is not None]  # fmt: skip
            edge = (max if end == "last" else min)((at for at, _ in known), default=None)
            text = max((text for at, text in known if at == edge), default=None)
            return float(text is not None and is_value(x, text, wanted, listed))
        case d.HourShare(event, start, end, window):
            some = inside(who, event, window)
            return share(sum(start <= local(row, who.zone).hour < end for row in some), some)
        case d.WeekdayShare(event, weekday, window):
            some = inside(who, event, window)
            return share(sum(local(r, who.zone).isoweekday() == weekday for r in some), some)
        case d.SessionCount(gap_, events, window):
            start = who.as_of - window.micros
            return float(sum(found[0] >= start for found in sessions(who, gap_, events)))
        case d.Session(measure, gap_, events):
            return of_sessions(sessions(who, gap_, events), measure, gap_, who.as_of)
        case d.IsKnown(namespaces):
            return float(any(space in namespaces for space in who.spaces))
        case d.Distinct(event, attribute, window):
            return float(len(set(held(inside(who, event, window), attribute))))
        case d.DaysSince(event):
            return over(of(who, event), lambda times: (who.as_of - max(times)) / DAY)
        case d.DaysSinceFirst(event):
            return over(of(who, event), lambda times: (who.as_of - min(times)) / DAY)
        case d.Tenure():
            return over(of(who, None), lambda times: (who.as_of - min(times)) / DAY)
        case d.Gap(event, measure):
            moments = sorted({row.event_time for row in of(who, event)})
            return gap(moments, measure, who.as_of) if len(moments) > 1 else None
        case d.Trend(event, short, long):
            whole = len(inside(who, event, long))
            recent = len(inside(who, event, short))
            return recent / whole * (long.micros / short.micros) if whole else None
        case d.NumberAttribute(attribute):
            text = stated(who, attribute)
            return None if text is None else units(text) / 10_000
        case d.DaysSinceAttribute(attribute):
            text = stated(who, attribute)
            return None if text is None else (who.as_of - midnight(text)) / DAY
        case d.CategoryIs(attribute, wanted, _):
            text = stated(who, attribute)
            others = [y.value for y in listed if isinstance(y, d.CategoryIs)
                      and y.attribute == attribute]  # fmt: skip
            if wanted is None:
                return float(text is not None and text not in others)
            return float(text is not None and wanted == (text if None in others else text.lower()))
        case d.IdentityCount(namespace):
            return float(list(who.spaces).count(namespace))


def of(who: Person, event: str | None) -> list[Row]:
    return [row for row in who.rows if event is None or row.event_type == event]


def inside(who: Person, event: str, window: Window) -> list[Row]:
    start = who.as_of - window.micros
    return [row for row in of(who, event) if start <= row.event_time < who.as_of]


def held(rows: Sequence[Row], attribute: str) -> list[str]:
    return [row.attributes[attribute] for row in rows if row.attributes.get(attribute) is not None]


def stated(who: Person, attribute: str) -> str | None:
    """The newest statement; of several at one time, the greatest text."""
    found = [(row.event_time, row.profile[attribute]) for row in who.rows
             if row.profile.get(attribute) is not None]  # fmt: skip
    return max(found)[1] if found else None


def units(text: str) -> int:
    return int(Decimal(text).quantize(Decimal("0.0001"), ROUND_HALF_UP) * 10_000)


def local(row: Row, zone: ZoneInfo) -> datetime:
    return datetime.fromtimestamp(row.event_time // SECOND, zone)


def day(row: Row, zone: ZoneInfo) -> date:
    return local(row, zone).date()


def share(part: int, whole: Sequence[object]) -> float | None:
    return part / len(whole) if whole else None


def over_units(stated: Sequence[int]) -> float:
    return float(sum(stated)) / (10_000 * max(len(stated), 1))


def is_value(
    x: d.ValueShare | d.ValueIs, text: str, wanted: str | None, listed: Sequence[d.Definition]
) -> bool:
    def about(y: d.ValueShare | d.ValueIs) -> tuple[object, ...]:
        return (type(y), getattr(y, "end", ""), y.event, y.attribute)

    kinds = (d.ValueShare, d.ValueIs)
    others = [y.value for y in listed if isinstance(y, kinds) and about(y) == about(x)]
    return text == wanted if wanted is not None else text not in others


def sessions(who: Person, gap_: Window, events: Sequence[str]) -> list[list[int]]:
    """Runs of moments with no silence longer than the gap."""
    runs: list[list[int]] = []
    for moment in sorted(row.event_time for row in who.rows if row.event_type in events):
        if runs and moment - runs[-1][-1] <= gap_.micros:
            runs[-1].append(moment)
        else:
            runs.append([moment])
    return runs


def of_sessions(
    runs: list[list[int]], measure: d.SessionMeasure, gap_: Window, as_of: int
) -> float | None:
    if measure == "events_now":
        return float(len(runs[-1]) if runs and as_of - runs[-1][-1] <= gap_.micros else 0)
    lengths = [run[-1] - run[0] for run in runs]
    if not runs:
        return None
    minute = 60 * SECOND
    return lengths[-1] / minute if measure == "length_last" else sum(lengths) / (len(runs) * minute)


def midnight(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * SECOND


def over(rows: Sequence[Row], measure: Callable[[list[int]], float]) -> float | None:
    return measure([row.event_time for row in rows]) if rows else None


def gap(moments: Sequence[int], measure: d.GapMeasure, as_of: int) -> float:
    span, count = moments[-1] - moments[0], len(moments) - 1
    if measure == "mean":
        return span / (count * DAY)
    if measure == "last":
        return (moments[-1] - moments[-2]) / DAY
    if measure == "ratio":
        return (as_of - moments[-1]) / span * count
    seconds = [moment // SECOND for moment in moments]
    gaps = [later - earlier for earlier, later in pairwise(seconds)]
    spread = count * sum(g * g for g in gaps) - sum(gaps) ** 2
    return math.sqrt(spread) / count / 86_400
