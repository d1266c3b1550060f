"""The catalogue: what a project measures, how it is called, and when an attribute is what."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import ValidationError

from features.behavior import definitions as d
from features.behavior.catalogue import Behaviour, catalogue, from_json, observe, to_json
from features.behavior.log import log_as_known
from features.errors import SettingsError
from features.feature_settings import Family, Features
from features.settings import Namespace
from features.time import Window
from pipelines.stages import Bench, plan_features
from tests.worlds import Row, days, seen, world

WINDOWS = Features.model_validate({"windows": ["30d", "7d", "1w"]})
SPACES = [Namespace(name="customer", type="person"), Namespace(name="cookie", type="cookie")]
BEHAVIOUR = Behaviour(
    events={"purchase": {"amount": "number", "item": "text"}, "view": {}},
    attributes={"age": "number", "born": "date", "country": "text", "vip": "boolean"},
    categories={"country": ["FR", "DE"], "vip": ["true", "false"]},
    values={"purchase": {"item": ["tea", "cup"]}},
)


def test_the_catalogue_is_complete_and_in_a_fixed_order() -> None:
    listed = catalogue(BEHAVIOUR, WINDOWS, SPACES)
    assert list(d.names(listed)) == [
        "tenure_days",
        "days_since_purchase", "days_since_first_purchase",
        "purchase_count_7d", "purchase_count_30d",
        "purchase_active_days_7d", "purchase_active_days_30d",
        "purchase_amount_sum_7d", "purchase_amount_sum_30d",
        "purchase_item_distinct_7d", "purchase_item_distinct_30d",
        "purchase_gap_mean", "purchase_gap_deviation", "purchase_gap_last", "purchase_gap_ratio",
        "purchase_trend_7d_30d",
        "days_since_view", "days_since_first_view", "view_count_7d", "view_count_30d",
        "view_active_days_7d", "view_active_days_30d",
        "view_gap_mean", "view_gap_deviation", "view_gap_last", "view_gap_ratio",
        "view_trend_7d_30d",
        "profile_age", "days_since_profile_born",
        "profile_country_is_1", "profile_country_is_2", "profile_country_is_other",
        "profile_vip_is_1", "profile_vip_is_2",
        "identity_customer_count", "identity_cookie_count",
    ]  # fmt: skip


WHOLE = Features.model_validate(
    {"windows": ["7d", "30d"], "families": get_args(Family), "session_gap": "30m",
     "identity_known": True}
)  # fmt: skip
"""Every family, for every event type."""


def test_families_add_what_they_measure() -> None:
    added = {x.feature.name for x in catalogue(BEHAVIOUR, WHOLE, SPACES)} - {
        x.feature.name for x in catalogue(BEHAVIOUR, WINDOWS, SPACES)
    }
    hours = [f"hours_{at}_{at + 6}" for at in (0, 6, 12, 18)]
    clocks = [*hours, *(f"weekday_{day}" for day in range(1, 8))]
    assert added == {
        *(f"purchase_amount_{kind}_{w}" for kind in ("mean", "min", "max") for w in ("7d", "30d")),
        *(f"purchase_item_share_{value}_30d" for value in ("1", "2", "other")),
        *(f"{end}_purchase_item_is_{at}" for end in d.End.__args__ for at in ("1", "2", "other")),
        *(f"{event}_{clock}_30d" for event in ("purchase", "view") for clock in clocks),
        "session_count_7d", "session_count_30d",
        "session_length_mean", "session_length_last", "session_events_now",
        "identity_known",
    }  # fmt: skip


def test_families_and_windows_may_differ_by_event_type() -> None:
    own = {"purchase": {"families": ["count", "mean"], "windows": ["90d"]},
           "view": {"families": []}}  # fmt: skip
    settings = Features.model_validate({"windows": ["7d"], "event_types": own})
    assert [x.feature.name for x in catalogue(BEHAVIOUR, settings, ())][:3] == [
        "tenure_days", "purchase_count_90d", "purchase_amount_mean_90d",
    ]  # fmt: skip
    unknown = Features.model_validate({"event_types": {"purchse": {"families": ["count"]}}})
    with pytest.raises(SettingsError, match=r"event_types.*'purchse'.*Did you mean 'purchase'"):
        catalogue(BEHAVIOUR, unknown, ())


SYSTEM = {"view": {"by": "system"}}


@pytest.mark.parametrize(
    ("changes", "measured"),
    [
        ({}, ["purchase"]),
        ({"max_event_types": 1}, ["purchase"]),
        ({"events": ["view"]}, ["view"]),
        (
            {"event_types": {"view": {"by": "system", "families": ["recency"]}}},
            ["purchase", "view"],
        ),
    ],
)
def test_what_is_done_to_a_person_is_measured_only_where_it_is_named(
    changes: dict[str, Any], measured: list[str]
) -> None:
    settings = Features.model_validate({"event_types": SYSTEM, "session_gap": "1h"} | changes)
    listed = catalogue(BEHAVIOUR, settings, ())
    assert [x.event for x in listed if isinstance(x, d.DaysSince)] == measured
    sessions = {x.events for x in listed if isinstance(x, d.Session)}
    assert sessions == ({("purchase",)} if "purchase" in measured else set())


OWN: list[tuple[dict[str, Any], str]] = [
    ({"kind": "count", "event": "view", "window": "3d"}, "view_count_3d"),
    ({"kind": "active_days", "event": "view", "window": "3d"}, "view_active_days_3d"),
    ({"kind": "sum", "event": "purchase", "attribute": "amount", "window": "3d"},
     "purchase_amount_sum_3d"),
    ({"kind": "max", "event": "purchase", "attribute": "amount", "window": "3d"},
     "purchase_amount_max_3d"),
    ({"kind": "distinct", "event": "purchase", "attribute": "amount", "window": "3d"},
     "purchase_amount_distinct_3d"),
    ({"kind": "share", "event": "purchase", "attribute": "item", "value": "Red Shoe",
      "window": "3d"},
     "purchase_item_share_red_shoe_3d"),
    ({"kind": "trend", "event": "view", "window": "3d", "against": "9d"}, "view_trend_3d_9d"),
    ({"kind": "hours", "event": "view", "start": 18, "end": 24, "window": "9d"},
     "view_hours_18_24_9d"),
    ({"kind": "weekday", "event": "view", "weekday": 7, "window": "9d"}, "view_weekday_7_9d"),
]  # fmt: skip


@pytest.mark.parametrize(("own", "name"), OWN)
def test_a_project_has_features_of_its_own(own: dict[str, Any], name: str) -> None:
    plain = catalogue(BEHAVIOUR, Features(), SPACES)
    more = catalogue(BEHAVIOUR, Features.model_validate({"own": [own, own]}), SPACES)
    assert more[: len(plain)] == plain
    assert [x.feature.name for x in more[len(plain) :]] == [name]


def test_an_own_feature_that_is_there_already_is_there_once() -> None:
    own = {"kind": "count", "event": "view", "window": "7d"}
    assert catalogue(BEHAVIOUR, Features.model_validate({"own": [own]}), ()) == catalogue(
        BEHAVIOUR, Features(), ()
    )


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"kind": "count", "event": "vew", "window": "3d"}, r"'vew'.*Did you mean 'view'"),
        ({"kind": "sum", "event": "purchase", "attribute": "amont", "window": "3d"},
         r"no attribute 'amont'.*Did you mean 'amount'"),
        ({"kind": "sum", "event": "purchase", "attribute": "item", "window": "3d"},
         "item of purchase is a text, and sum is of a number"),
        ({"kind": "share", "event": "purchase", "attribute": "amount", "value": "1",
          "window": "3d"},
         "amount of purchase is a number, and share is of a text"),
    ],
)  # fmt: skip
def test_an_own_feature_of_what_is_not_there_is_refused(own: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        catalogue(BEHAVIOUR, Features.model_validate({"own": [own]}), ())


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"kind": "count", "event": "view"}, "kind count has the keys window: window"),
        ({"kind": "count", "event": "view", "window": "3d", "value": "x"}, "window: value"),
        ({"kind": "trend", "event": "view", "window": "3d", "against": "3d"}, "no longer than"),
        ({"kind": "hours", "event": "view", "start": 9, "end": 9, "window": "3d"}, "not after"),
        ({"kind": "hours", "event": "view", "start": 9, "end": 25, "window": "3d"}, "24"),
        ({"kind": "median", "event": "view", "window": "3d"}, "kind"),
    ],
)
def test_an_own_feature_has_the_keys_of_its_kind(own: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Features.model_validate({"own": [own]})


def test_every_feature_is_described() -> None:
    listed = [x.feature for x in catalogue(BEHAVIOUR, WHOLE, SPACES)]
    for part in ("name", "label"):
        said = [getattr(feature, part) for feature in listed]
        assert len(set(said)) == len(said)
    assert all(feature.unit and feature.reason_label for feature in listed)
    by_name = {feature.name: feature for feature in listed}
    assert by_name["purchase_amount_sum_7d"] == d.Feature(
        "purchase_amount_sum_7d", "Total purchase amount in the last 7 days", "amount",
        "0 = none seen", "purchase_amount_sum", "Total purchase amount",
    )  # fmt: skip
    assert by_name["profile_country_is_other"].label == "Country is other"
    assert len({f.reason for f in listed if f.name.startswith("profile_country")}) == 1


def test_definitions_survive_json() -> None:
    listed = catalogue(BEHAVIOUR, WHOLE, SPACES)
    assert {type(x) for x in listed} == set(d.Definition.__args__)
    written = json.dumps([to_json(x) for x in listed])
    assert tuple(from_json(raw) for raw in json.loads(written)) == listed


@pytest.mark.parametrize(
    ("events", "name"),
    [
        ({"a": {"b_c": "number"}, "a_b": {"c": "number"}}, "a_b_c_sum_7d"),
        ({"x": {}, "first_x": {}}, "days_since_first_x"),
    ],
)
def test_two_features_never_share_a_name(events: dict[str, dict[str, str]], name: str) -> None:
    """The wider table has one column a name: one of the two would silently be the other."""
    with pytest.raises(SettingsError, match=f"Two features would be called '{name}'"):
        catalogue(Behaviour(events, {}, {}), WINDOWS, SPACES)


def test_events_are_measured_as_named_or_the_most_frequent() -> None:
    def measured(**settings: Any) -> list[str]:
        listed = catalogue(BEHAVIOUR, Features.model_validate(settings), ())
        return [x.event for x in listed if isinstance(x, d.DaysSince)]

    assert measured() == ["purchase", "view"]
    assert measured(max_event_types=1) == ["purchase"]
    assert measured(events=["view"]) == ["view"]
    with pytest.raises(SettingsError, match=r"no event type 'vieww'.*Did you mean 'view'"):
        measured(events=["vieww"])


def told(moment: int, **profile: str) -> Row:
    return Row({"cookie": f"c{moment}"}, days(moment), profile=profile)


def test_categories_are_the_most_frequent_values_known(tmp_path: Path) -> None:
    later = [replace(told(n, country="ZZ"), received_at=days(9)) for n in (6, 7, 8)]
    rows = [told(n, country=value) for n, value in enumerate(["NL", "FR", "FR", "DE"])]
    with world(tmp_path, rows + later) as bench:
        seen_at = [
            observe(bench.engine, bench.log, Features(categories=2), as_of).categories
            for as_of in (days(1), days(9), days(9) + 1)
        ]
    assert seen_at == [{"country": ["NL"]}, {"country": ["FR", "DE"]}, {"country": ["ZZ", "FR"]}]


def test_values_of_events_are_the_most_frequent_known(tmp_path: Path) -> None:
    def bought(moment: int, item: str | None, event: str = "buy", late: int = 0) -> Row:
        received = days(late) if late else None
        return Row({"cookie": "c"}, days(moment), event, received, {"item": item})

    rows = [bought(n, item) for n, item in enumerate(["tea", "cup", "cup", None, "ink"])]
    rows += [bought(5, "ink", "view"), bought(1, "zz", late=8), bought(2, "zz", late=8)]
    rows += [bought(3, "zz", late=8)]
    settings = Features.model_validate(
        {"categories": 2, "event_types": {"buy": {"families": ["last"]}}}
    )
    with world(tmp_path, rows) as bench:
        at = [observe(bench.engine, bench.log, settings, moment) for moment in (days(8), days(9))]
        plain = observe(bench.engine, bench.log, Features(), days(9))
    assert [found.values for found in at] == [
        {"buy": {"item": ["cup", "ink"]}}, {"buy": {"item": ["zz", "cup"]}},
    ]  # fmt: skip
    assert at[0].category_lists == {"buy.item": ["cup", "ink"]}
    assert plain.values == {}


def test_a_boolean_is_two_values_however_written(tmp_path: Path) -> None:
    rows = [told(n, vip=value) for n, value in enumerate(["True", "TRUE", "false", "true"])]
    with world(tmp_path, rows) as bench:
        found = observe(bench.engine, bench.log, Features(), days(9))
    assert found.attributes == {"vip": "boolean"}
    assert found.categories == {"vip": ["true", "false"]}


KINDS = {"number": "7.5", "date": "2024-01-31", "boolean": "True", "text": "007"}


def kinds_at(bench: Bench, as_of: int) -> tuple[dict[str, str], bool]:
    log = log_as_known(bench.engine, bench.log, as_of)
    return log.attribute_kinds, bool(log.events.schema()["attr_amount"].is_decimal())


def test_an_attribute_is_what_the_rows_known_say_it_is(tmp_path: Path) -> None:
    """The rows of one day decide as they would have that day, whatever text comes later."""
    rows = [replace(told(0, **KINDS), attributes={"amount": "1.5"})]
    odd = [replace(told(1, **dict.fromkeys(KINDS, "odd")), attributes={"amount": "odd"})]
    with world(tmp_path / "alone", rows) as bench:
        assert kinds_at(bench, days(1)) == ({name: name for name in KINDS}, True)
    with world(tmp_path / "both", rows + odd) as bench:
        assert kinds_at(bench, days(1)) == ({name: name for name in KINDS}, True)
        assert kinds_at(bench, days(1) + 1) == (dict.fromkeys(KINDS, "text"), False)
        as_numbers = log_as_known(bench.engine, bench.log, days(1)).events.attr_amount
        assert bench.engine.arrow(as_numbers.max().as_table())[0][0].as_py() == 1.5


def test_what_nobody_dated_is_no_feature_and_no_word_of_a_goal(tmp_path: Path) -> None:
    (tmp_path / "crm.csv").write_text("cookie,country,born\nc,FR,1990-01-01\n")
    crm = {"name": "crm", "kind": "records", "path": "crm.csv", "identities": {"cookie": "cookie"},
           "profile": {"country": "country", "born": "born"}, "constant": ["born"]}  # fmt: skip
    goal = {"name": "buys", "kind": "conversion", "outcome": "any(visit)", "outcome_window": "7d"}
    rows = [seen(days(0), cookie="c")]
    with world(tmp_path, rows, more=[crm], goals=[goal]) as bench:
        plan = plan_features(bench, days(1))
    assert plan.behaviour.attributes == {"born": "date"}
    assert [n for n in d.names(plan.definitions) if "country" in n] == []
    eligible = goal | {"eligible": 'country = "FR"'}
    with (
        world(tmp_path, rows, more=[crm], goals=[eligible]) as bench,
        pytest.raises(Exception, match="country"),
    ):
        plan_features(bench, days(1))


def test_windows_are_in_order_whatever_their_unit() -> None:
    counts = [x.window for x in catalogue(BEHAVIOUR, WINDOWS, ()) if isinstance(x, d.Count)]
    assert set(counts) == {Window.parse("1w"), Window.parse("30d")}
    assert all(a < b for a, b in pairwise(counts[:2]))
