"""The twelve measure templates on a small table, each value worked by hand.

Ann bought on 31 December, 1 January and twice on 1 March of a leap year; the amount of the last
purchase is not known. Cara bought once, Bob never. Everything is told at 11 March, 00:00 UTC.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from features.behavior.scene import People, scene_of
from features.profiles.measures import measured_rows
from features.profiles.templates import TEMPLATES
from features.time import parse_instant
from pipelines.stages import all_names
from tests.worlds import Row, world

AS_OF = parse_instant("2024-03-11")


def event(who: str, when: str, event_type: str, **attributes: Any) -> Row:
    return Row({"customer": who}, parse_instant(when), event_type, attributes=attributes)


ROWS = [
    event("ann", "2023-12-31T12:00Z", "purchase", amount=10.5),
    event("ann", "2024-01-01T12:00Z", "purchase", amount=20),
    event("ann", "2024-03-01T00:00Z", "purchase", amount=9.5),
    event("ann", "2024-03-01T18:00Z", "purchase"),
    event("ann", "2024-01-10T00:00Z", "earn", points=100, spent=0),
    event("ann", "2024-02-10T00:00Z", "earn", points=50.25, spent=20),
    event("ann", "2024-03-05T00:00Z", "redeem", points=30),
    Row({"customer": "ann"}, AS_OF - 1, "visit", profile={"member_since": "2024-01-01"}),
    event("bob", "2024-03-02T00:00Z", "visit"),
    event("cara", "2024-03-10T12:00Z", "purchase", amount=5),
    # At the cut-off itself: never seen.
    event("cara", "2024-03-11T00:00Z", "purchase", amount=1_000),
]
BOUGHT = {"event": "purchase", "amount": "amount"}
CASES: list[tuple[dict[str, Any], Any, Any, Any]] = [
    # measure, Ann, Bob, Cara
    # (10.5 + 20 + 9.5) / 3: the purchase without an amount does not count.
    ({"template": "average_transaction_value"} | BOUGHT, 40 / 3, None, 5.0),
    ({"template": "total_transaction_value"} | BOUGHT, Decimal(40), Decimal(0), Decimal(5)),
    # 31 December to 1 March: 1 + 31 + 29 + 1 days, 4 months, 2 years.
    ({"template": "average_daily_revenue"} | BOUGHT, 40 / 62, None, 5.0),
    ({"template": "average_monthly_revenue"} | BOUGHT, 10.0, None, 5.0),
    ({"template": "average_yearly_revenue"} | BOUGHT, 20.0, None, 5.0),
    ({"template": "transaction_count", "event": "purchase"}, 4, 0, 1),
    ({"template": "loyalty_points_earned", "event": "earn", "points": "points"},
     Decimal("150.25"), Decimal(0), Decimal(0)),
    ({"template": "loyalty_points_redeemed", "event": "redeem", "points": "points"},
     Decimal(30), Decimal(0), Decimal(0)),
    ({"template": "loyalty_points_balance", "event": "earn", "earned": "points",
      "redeemed": "points", "redeemed_event": "redeem"},
     Decimal("120.25"), Decimal(0), Decimal(0)),
    ({"template": "loyalty_points_balance", "event": "earn", "earned": "points",
      "redeemed": "spent"}, Decimal("130.25"), Decimal(0), Decimal(0)),
    # 31 December 12:00 to 1 March 18:00.
    ({"template": "active_lifespan", "event": "purchase"}, 61.25, None, 0.0),
    ({"template": "membership_duration", "event": "earn"}, 61.0, None, None),
    ({"template": "membership_duration", "since": "member_since"}, 70.0, None, None),
    ({"template": "time_since_last_purchase", "event": "purchase"}, 9.25, None, 0.5),
    # Of the last 60 days, from 11 January on.
    ({"template": "total_transaction_value", "in_last": "60d"} | BOUGHT,
     Decimal("9.5"), Decimal(0), Decimal(5)),
    ({"template": "average_daily_revenue", "in_last": "60d"} | BOUGHT, 9.5, None, 5.0),
    ({"template": "loyalty_points_earned", "event": "earn", "points": "points", "in_last": "60d"},
     Decimal("50.25"), Decimal(0), Decimal(0)),
]  # fmt: skip


@pytest.fixture(scope="module")
def columns(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[list[Any]]]:
    """The values of every case, for Ann, Bob and Cara."""
    named = [{"name": f"m{n}"} | case[0] for n, case in enumerate(CASES)]
    with world(tmp_path_factory.mktemp("shop"), ROWS, measures=named) as bench:
        people = People.everyone(bench.graph.at(AS_OF))
        assert [bench.graph.identities[key] for key in people.profile_key] == [
            "customer:ann", "customer:bob", "customer:cara"
        ]  # fmt: skip
        scene = scene_of(bench.engine, bench.log, people, undated=True)
        found = measured_rows(scene, list(all_names(bench).measures.values()))
        scene.close()
        yield [found[f"measure_m{n}"].to_pylist() for n in range(len(CASES))]


@pytest.mark.parametrize("number", range(len(CASES)))
def test_a_template_gives_the_value_worked_by_hand(columns: list[list[Any]], number: int) -> None:
    measure, *expected = CASES[number]
    assert columns[number] == expected, measure


def test_every_template_is_worked() -> None:
    assert {case[0]["template"] for case in CASES} == set(TEMPLATES)
    assert len(TEMPLATES) == 12
