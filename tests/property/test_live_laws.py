"""Live and in a table, a feature of any history is the same number, to the bit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.behavior import definitions as d
from features.behavior.history import History, described_by, events_by_type
from features.behavior.live import Live
from features.behavior.scene import AnyEngine, Log, Scene, known_history
from features.behavior.table import matrix_of, render
from features.conditions import tree as t
from features.conditions.live_events import Known, without
from features.conditions.table import passing
from features.engine import Engine
from features.identity.spellings import Spellings
from features.time import MICROS_PER_DAY as DAY
from features.time import Window, parse_instant
from tests.property.test_conditions_laws import value_tests

BERLIN = ZoneInfo("Europe/Berlin")
SPRING = parse_instant("2024-03-30", "Europe/Berlin")
"""Midnight in Berlin; the day after has 23 hours."""
AUTUMN = parse_instant("2024-10-26", "Europe/Berlin")
"""Midnight in Berlin; the day after has 25 hours."""
HOUR = DAY // 24
MONEY = pa.decimal128(18, 4)
TYPES = ("view", "buy", "other")
WINDOWS = [Window.parse(text) for text in ("1h", "1d", "2d", "10d")]
GAPS: tuple[d.GapMeasure, ...] = ("mean", "deviation", "last", "ratio")
MEASURES: tuple[d.StatisticMeasure, ...] = ("mean", "min", "max")
SESSION: tuple[d.SessionMeasure, ...] = ("length_mean", "length_last", "events_now")
ENDS: tuple[d.End, ...] = ("first", "last")
HOURS = Window.parse("4h")
DEFINITIONS: tuple[d.Definition, ...] = (
    d.Tenure(),
    *(x for event in TYPES[:2] for x in (d.DaysSince(event), d.DaysSinceFirst(event))),
    *(kind(event, w) for event in TYPES[:2] for kind in (d.Count, d.ActiveDays) for w in WINDOWS),
    *(d.Sum("buy", "amount", window) for window in WINDOWS),
    *(
        d.Statistic("buy", "amount", measure, window)
        for measure in MEASURES
        for window in WINDOWS[1:]
    ),
    *(
        d.ValueShare("buy", "item", value, at, window)
        for window in WINDOWS[2:]
        for at, value in enumerate(("a", "b", "zz", None))
    ),
    *(
        d.ValueIs(end, "buy", "item", value, at)
        for end in ENDS
        for at, value in enumerate(("a", "b", None))
    ),
    *(d.HourShare("view", start, start + 8, WINDOWS[-1]) for start in (0, 8, 16)),
    d.HourShare("buy", 1, 3, WINDOWS[1]),
    *(d.WeekdayShare("view", day, WINDOWS[-1]) for day in range(1, 8)),
    *(d.SessionCount(HOURS, ("view", "buy"), window) for window in WINDOWS),
    *(d.Session(measure, HOURS, ("view", "buy")) for measure in SESSION),
    *(d.Distinct("buy", name, window) for name in ("item", "amount") for window in WINDOWS),
    *(d.Distinct("view", "item", window) for window in WINDOWS),
    *(d.Gap(event, measure) for event in TYPES[:2] for measure in GAPS),
    *(d.Trend("view", short, WINDOWS[-1]) for short in WINDOWS[:-1]),
    d.NumberAttribute("age"),
    d.DaysSinceAttribute("born"),
    *(d.CategoryIs("country", value, at) for at, value in enumerate(("FR", "DE", None))),
    *(d.CategoryIs("vip", value, at) for at, value in enumerate(("true", "false"), 1)),
    d.IdentityCount("cookie"),
    d.IsKnown(("customer", "cookie")),
)

STATED = ("0", "0.1", "19.99", "-2.5", "12345678901234.5678", "-1e12", "-9999999999.9999")
"""Some add up to what no float64 holds."""
AMOUNTS = [*map(Decimal, STATED), Decimal(10**10), Decimal("9999999999.9997")]
numbers = st.none() | st.decimals("-99999999999999.9999", "99999999999999.9999", places=4) | (
    st.sampled_from(AMOUNTS)
)  # fmt: skip


def moments(around: int) -> st.SearchStrategy[int]:
    """Most are on the hour, so that they tie, and lie on the edges of each other's windows."""
    odd = st.sampled_from([0, 0, 0, 1, -1, 1_500_000])
    return st.builds(lambda hour, odd: around + hour * HOUR + odd, st.integers(-48, 300), odd)


@st.composite
def happenings(draw: st.DrawFn, around: int) -> dict[str, Any]:
    """Draw an event of one of three people."""
    moment = draw(moments(around))
    local = datetime.fromtimestamp(moment // 1_000_000, BERLIN)
    return {
        "identity_key": draw(st.integers(0, 2)),
        "event_time": moment,
        "known_at": moment + draw(st.sampled_from([0, 0, 0, DAY, 1])),
        "local_day": (local.date() - datetime.fromtimestamp(0, UTC).date()).days,
        "local_hour": local.hour,
        "event_type": draw(st.sampled_from(TYPES)),
        "attr_amount": draw(numbers),
        "attr_item": draw(st.sampled_from([None, "", "a", "b", "B"])),
    }  # fmt: skip


@st.composite
def worlds(draw: st.DrawFn) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Draw events, and what is said of six rows: two moments of each of three people.

    Most moments see an event on the edge of a window, or just beyond it.
    """
    around = draw(st.sampled_from([SPRING, AUTUMN]))
    events = draw(st.lists(happenings(around), max_size=25))
    near = moments(around)
    if events:
        seen = [each[name] for each in events for name in ("event_time", "known_at")]
        near = st.sampled_from(seen)
    lengths = [0, *(window.micros for window in WINDOWS)]
    as_of = st.builds(sum, st.tuples(near, st.sampled_from(lengths), st.sampled_from([0, 0, 1])))
    rows = [
        {
            "row_id": row,
            "identity_key": row % 3,
            "as_of": draw(as_of),
            "profile_age": draw(numbers),
            "profile_born": draw(st.none() | st.integers(-40_000, 40_000).map(lambda n: n * DAY)),
            "profile_country": draw(st.sampled_from([None, "FR", "DE", "NL", ""])),
            "profile_vip": draw(st.sampled_from([None, True, False])),
            "identities_cookie": draw(st.integers(0, 3)),
            "identities_customer": draw(st.integers(0, 1)),
        }
        for row in range(6)
    ]
    return events, rows


SPINE = pa.schema({
    "row_id": pa.int64(), "as_of": pa.int64(), "profile_age": MONEY, "profile_born": pa.int64(),
    "profile_country": pa.string(), "profile_vip": pa.bool_(), "identities_cookie": pa.int64(),
    "identities_customer": pa.int64(),
})  # fmt: skip
MEMBERS = pa.schema({"row_id": pa.int64(), "identity_key": pa.int64(), "as_of": pa.int64()})
EVENTS = pa.schema({
    "identity_key": pa.int64(), "event_time": pa.int64(), "known_at": pa.int64(),
    "local_day": pa.int32(), "local_hour": pa.int8(), "event_type": pa.string(),
    "attr_amount": MONEY, "attr_item": pa.string(),
})  # fmt: skip


def in_table(
    engine: AnyEngine,
    events: Sequence[Mapping[str, Any]],
    rows: Sequence[Mapping[str, Any]],
    excluded: Sequence[t.EventFilter] = (),
) -> Any:
    """Return the features of `rows` as the table renderer computes them."""
    stated = engine.table(pa.Table.from_pylist(list(events), EVENTS))
    held = engine.hold(stated.filter(~passing(excluded, stated)) if excluded else stated)
    nothing = np.zeros(0, np.int64)
    spellings = Spellings(nothing, nothing, nothing, nothing, nothing)
    log = Log(held, held, nothing, spellings, (), {})
    members = engine.hold(engine.table(pa.Table.from_pylist(list(rows), MEMBERS)))
    spine = engine.hold(engine.table(pa.Table.from_pylist(list(rows), SPINE)))
    scene = Scene(engine, spine, members, engine.hold(known_history(log, members)))
    matrix = matrix_of(render(scene, DEFINITIONS))
    scene.close()
    engine.drop(held)
    return matrix


def history_of(events: Sequence[Mapping[str, Any]], row: Mapping[str, Any]) -> History:
    """Return the history of a row's person."""
    mine = [event for event in events if event["identity_key"] == row["identity_key"]]
    table = pa.Table.from_pylist(mine, EVENTS)
    return replace(described_by(row), events=events_by_type(table))


def test_every_kind_of_feature_is_compared() -> None:
    assert {type(x) for x in DEFINITIONS} == set(d.Definition.__args__)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with Engine(threads=1, temporary=tmp_path_factory.mktemp("live")) as opened:
        yield opened


@settings(max_examples=80)
@given(worlds())
def test_live_is_the_table_to_the_bit(
    engine: Engine, drawn: tuple[list[dict[str, Any]], list[dict[str, Any]]]
) -> None:
    events, rows = drawn
    assert_alike(in_table(engine, events, rows), Live(DEFINITIONS), events, rows)


@pytest.mark.parametrize(
    "amounts",
    [("-1000000000000", "0.0002"), ("-9999999999999.9999",) * 3, ("99999999999999.9997",) * 25],
)
def test_a_mean_is_that_of_the_exact_sum_where_no_float64_holds_it(
    engine: Engine, amounts: tuple[str, ...]
) -> None:
    event = {"identity_key": 0, "event_time": SPRING, "known_at": SPRING, "local_day": 19_812,
             "local_hour": 0, "event_type": "buy", "attr_item": None}  # fmt: skip
    events = [event | {"attr_amount": Decimal(amount)} for amount in amounts]
    row = dict.fromkeys(SPINE.names) | {"row_id": 0, "identity_key": 0, "as_of": SPRING + DAY}
    row |= {"identities_cookie": 1, "identities_customer": 0}
    expected = in_table(engine, events, [row])
    units = sum(int(Decimal(amount).scaleb(4)) for amount in amounts)
    mean = DEFINITIONS.index(d.Statistic("buy", "amount", "mean", WINDOWS[1]))
    assert expected[0, mean] == float(units) / float(10_000 * len(amounts))
    assert_alike(expected, Live(DEFINITIONS), events, [row])


ATTRIBUTES = [t.EventAttribute("amount", "number"), t.EventAttribute("item", "text")]
items = st.sampled_from(["", "a", "b", "B", "zz"])
exclusions = st.lists(
    st.builds(
        t.EventFilter,
        st.sampled_from(TYPES),
        st.none() | value_tests(st.sampled_from(ATTRIBUTES), items),
        since=st.none() | st.builds(t.Instant, moments(SPRING) | moments(AUTUMN)),
    ),
    min_size=1,
    max_size=3,
)


@settings(max_examples=80)
@given(worlds(), exclusions)
def test_events_that_do_not_count_for_a_goal_count_nowhere(
    engine: Engine,
    drawn: tuple[list[dict[str, Any]], list[dict[str, Any]]],
    excluded: list[t.EventFilter],
) -> None:
    events, rows = drawn
    expected = in_table(engine, events, rows, excluded)
    assert_alike(expected, Live(DEFINITIONS), events, rows, without(excluded))


def assert_alike(
    expected: Any,
    renderer: Live,
    events: Sequence[Mapping[str, Any]],
    rows: Sequence[Mapping[str, Any]],
    left: Callable[[Known], Known] = dict,
) -> None:
    for row, wanted in zip(rows, expected, strict=True):
        history = history_of(events, row)
        counted = replace(history, events=left(history.events))
        found = renderer.features(counted, row["as_of"])
        names = [x.feature.name for x in DEFINITIONS]
        differ = {n: (a, b) for n, a, b in zip(names, found.tolist(), wanted.tolist(), strict=True)
                  if np.float64(a).tobytes() != np.float64(b).tobytes()
                  and not (np.isnan(a) and np.isnan(b))}  # fmt: skip
        assert not differ
