"""The rows of an export: five people, what is said of each, and why some are left out."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from features.settings import Destination, Segment
from features.time import MICROS_PER_DAY
from serving.exports.columns import Field
from serving.exports.deliveries import DELIVERIES, file_name
from serving.exports.rows import Export, Published, build
from serving.segments.diff import MEMBERSHIPS

AS_OF = 1_317_427_200_000_000  # 2011-10-01T00:00:00Z
LAPSING = Segment(name="lapsing", where="any(x)")

ANN, BEN, CAT, DAN, EVE = "customer:1", "customer:2", "cookie:c", "customer:4", "cookie:e"
KEYS = {ANN: 20, BEN: 21, DAN: 23, CAT: 30, EVE: 31}
NOBODY_YET = DELIVERIES.empty_table()


def memberships(*people: str, segment: str = "lapsing") -> pa.Table:
    rows = [
        {"segment": segment, "profile_id": p, "profile_key": KEYS[p], "since": 0, "as_of": AS_OF}
        for p in people
    ]
    return pa.Table.from_pylist(rows, schema=MEMBERSHIPS)


def published(members: pa.Table, refused: dict[str, bool] | None = None) -> Published:
    stated = refused or {}
    return Published(
        memberships=members,
        profiles=pa.table(
            {
                "profile_id": [ANN, BEN, DAN, CAT, EVE],
                "profile_key": [20, 21, 23, 30, 31],
                "identities": [
                    ["cookie:z", "customer:1", "email:h2", "email:h1"],
                    ["cookie:b:2", "cookie:b:1", "customer:2", "email:h3"],
                    ["customer:4", "email:gone", "email:h4"],
                    ["cookie:c"],
                    ["cookie:e"],
                ],
                "profile_country": ["France", 'Say "hi", Peter', None, "日本", "Spain"],
                "profile_spent": pa.array(["12.5000", "100.0000", "0.0001", None, "-3.0000"]).cast(
                    pa.decimal128(18, 4)
                ),
                "profile_born": [0, -MICROS_PER_DAY, None, 19_000 * MICROS_PER_DAY, 0],
                "profile_vip": [True, False, None, None, True],
            }
        ),
        scores=pa.table(
            {
                "goal": ["churn", "churn", "conversion"],
                "profile_key": [30, 20, 21],
                "score": [75.5, 1 / 3, 9.0],
                "probability": [0.1, 1e-05, 0.9],
                "percentile": pa.array([90, 1, 50], pa.int32()),
                "bucket": ["high", "low", "low"],
            }
        ),
        factors=pa.table(
            {
                "goal": ["churn", "churn", "churn", "conversion"],
                "profile_key": [20, 20, 30, 20],
                "rank": pa.array([1, 2, 1, 1], pa.int8()),
                "code": ["days_since_purchase", "country", "country", "other"],
                "label": ["Days since the last purchase", "Country", "Country", "Other"],
                "value": [3.0, None, None, 1.0],
                "direction": ["lowers", "raises", "raises", "raises"],
            }
        ),
        consents_now=pa.table(
            {
                "profile_key": pa.array([KEYS[p] for p in stated], pa.int64()),
                "purpose": pa.array(["marketing"] * len(stated), pa.string()),
                "allowed": pa.array(list(stated.values()), pa.bool_()),
            }
        ),
        identity_index=pa.table(
            {
                "identity_key": [10, 11, 12, 13, 14],
                "identity": ["email:h1", "email:h2", "email:h3", "email:h4", "email:gone"],
            }
        ),
        contacts=pa.table(
            {
                "identity_key": [10, 11, 12, 13],
                "raw": ["Ann@x.org", "ann2@x.org", "ben@x.org", "dan@x.org"],
            }
        ),
    )


def export(
    fields: dict[str, Field],
    *people: str,
    refused: dict[str, bool] | None = None,
    deliveries: pa.Table = NOBODY_YET,
    segment: Segment = LAPSING,
) -> Export:
    destination = Destination(
        name="crm", purpose="marketing", columns={name: str(f) for name, f in fields.items()}
    )
    run = published(memberships(*people), refused)
    return build(segment, destination, fields, run, deliveries, AS_OF)


WHO = Field("profile_id")
EMAIL = Field("identity", "email", pii=True)


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        (WHO, {ANN: ANN, BEN: BEN, CAT: CAT}),
        (Field("segment"), {ANN: "lapsing", BEN: "lapsing", CAT: "lapsing"}),
        (Field("as_of"), dict.fromkeys([ANN, BEN, CAT], datetime(2011, 10, 1, tzinfo=UTC))),
        (Field("identity", "cookie"), {ANN: "z", BEN: "b:1", CAT: "c"}),
        (EMAIL, {ANN: "Ann@x.org", BEN: "ben@x.org"}),
        (Field("profile", "country"), {ANN: "France", BEN: 'Say "hi", Peter', CAT: "日本"}),
        (
            Field("profile", "spent"),
            {ANN: Decimal("12.5000"), BEN: Decimal("100.0000"), CAT: None},
        ),
        (
            Field("profile", "born"),
            {ANN: date(1970, 1, 1), BEN: date(1969, 12, 31), CAT: date(2022, 1, 8)},
        ),
        (Field("profile", "vip"), {ANN: True, BEN: False, CAT: None}),
        (Field("score", "churn", "score"), {ANN: 1 / 3, BEN: None, CAT: 75.5}),
        (Field("score", "churn", "probability"), {ANN: 1e-05, BEN: None, CAT: 0.1}),
        (Field("score", "churn", "percentile"), {ANN: 1, BEN: None, CAT: 90}),
        (Field("score", "churn", "bucket"), {ANN: "low", BEN: None, CAT: "high"}),
        (
            Field("score", "churn", "status"),
            {ANN: "scored", BEN: "not_eligible", CAT: "scored"},
        ),
        (
            Field("factor", "churn", "label", 1),
            {ANN: "Days since the last purchase", BEN: None, CAT: "Country"},
        ),
        (Field("factor", "churn", "code", 2), {ANN: "country", BEN: None, CAT: None}),
        (Field("factor", "churn", "value", 1), {ANN: 3.0, BEN: None, CAT: None}),
        (Field("factor", "churn", "direction", 1), {ANN: "lowers", BEN: None, CAT: "raises"}),
        (Field("factor", "churn", "label", 10), {ANN: None, BEN: None, CAT: None}),
    ],
)
def test_a_field_is_filled_for_everyone(field: Field, expected: dict[str, Any]) -> None:
    rows = export({"who": WHO, "value": field}, CAT, BEN, ANN).rows.to_pylist()
    assert {row["who"]: row["value"] for row in rows} == expected


def test_rows_come_by_profile_id_whatever_the_order_of_members() -> None:
    assert export({"who": WHO}, BEN, CAT, ANN).rows["who"].to_pylist() == [CAT, ANN, BEN]


def test_an_identity_without_a_contact_gives_way_to_the_next() -> None:
    assert export({"email": EMAIL}, DAN).rows.to_pylist() == [{"email": "dan@x.org"}]


def test_members_of_other_segments_are_not_exported() -> None:
    both = pa.concat_tables([memberships(ANN), memberships(BEN, segment="vip")])
    destination = Destination(name="crm", purpose="marketing", columns={"who": "profile_id"})
    found = build(LAPSING, destination, {"who": WHO}, published(both), NOBODY_YET, AS_OF)
    assert (found.members, found.rows["who"].to_pylist()) == (1, [ANN])


def test_those_who_opted_out_are_left_out_and_those_who_said_nothing_are_not() -> None:
    found = export({"who": WHO}, ANN, BEN, CAT, refused={ANN: False, BEN: True})
    assert found.rows["who"].to_pylist() == [CAT, BEN]
    assert found.left_out == {"opted_out": 1, "no_identity": 0, "held_out": 0}
    assert found.statements == {"allowed": 1, "refused": 1, "unstated": 1}


def test_whoever_refuses_everything_is_not_sent_whatever_the_purpose():
    members = memberships(ANN, BEN)
    run = published(members)
    said = pa.table(
        {"profile_key": [KEYS[ANN], KEYS[ANN]], "purpose": ["all", "marketing"],
         "allowed": [False, True]}
    )  # fmt: skip
    destination = Destination(name="crm", purpose="marketing", columns={"who": "profile_id"})
    found = build(
        LAPSING, destination, {"who": WHO}, replace(run, consents_now=said), NOBODY_YET, AS_OF
    )
    assert found.rows["who"].to_pylist() == [BEN]
    assert found.left_out["opted_out"] == 1


def test_a_refusal_of_another_purpose_does_not_count() -> None:
    run = published(memberships(ANN), {ANN: False})
    destination = Destination(name="crm", purpose="research", columns={"who": "profile_id"})
    found = build(LAPSING, destination, {"who": WHO}, run, NOBODY_YET, AS_OF)
    assert found.rows["who"].to_pylist() == [ANN]
    assert found.statements == {"allowed": 0, "refused": 0, "unstated": 1}


def test_those_without_an_identity_the_file_needs_are_left_out() -> None:
    found = export({"email": EMAIL, "cookie": Field("identity", "cookie")}, ANN, BEN, CAT, DAN)
    assert found.rows.to_pylist() == [
        {"email": "Ann@x.org", "cookie": "z"},
        {"email": "ben@x.org", "cookie": "b:1"},
    ]
    assert found.left_out == {"opted_out": 0, "no_identity": 2, "held_out": 0}


def test_an_unknown_attribute_leaves_nobody_out() -> None:
    assert export({"country": Field("profile", "country")}, DAN).rows.to_pylist() == [
        {"country": None}
    ]


def test_everyone_left_out_has_one_reason_the_first_that_holds() -> None:
    log = pa.Table.from_pylist(
        [
            {"segment": "lapsing", "destination": "ads", "profile_id": who, "status": "held_out",
             "as_of": 7, "first_assigned": 7, "file": "f"}
            for who in (ANN, BEN, CAT, EVE)
        ],
        schema=DELIVERIES,
    )  # fmt: skip
    found = export(
        {"email": EMAIL}, ANN, BEN, CAT, DAN, EVE,
        refused={ANN: False, CAT: False}, deliveries=log,
    )  # fmt: skip
    assert found.left_out == {"opted_out": 2, "no_identity": 1, "held_out": 1}
    listed = [
        (row["profile_id"], row["status"], row["reason"], row["first_assigned"])
        for row in found.deliveries.to_pylist()
    ]
    assert listed == [
        (CAT, "left_out", "opted_out", None),
        (EVE, "left_out", "no_identity", None),
        (ANN, "left_out", "opted_out", None),
        (BEN, "held_out", None, 7),
        (DAN, "sent", None, AS_OF),
    ]
    assert found.deliveries.schema == DELIVERIES
    assert set(found.deliveries["file"].to_pylist()) == {"lapsing-20111001T000000Z.csv"}


def test_an_empty_segment_makes_an_empty_table_with_its_columns() -> None:
    fields = {
        "who": WHO, "email": EMAIL, "country": Field("profile", "country"),
        "score": Field("score", "churn", "score"), "why": Field("factor", "churn", "label", 1),
        "at": Field("as_of"),
    }  # fmt: skip
    found = export(fields)
    assert (found.rows.column_names, found.rows.num_rows) == (list(fields), 0)
    assert (found.members, found.left_out) == (0, dict.fromkeys(found.left_out, 0))
    assert found.deliveries.num_rows == 0


def test_a_file_is_named_by_the_second_of_its_as_of() -> None:
    jsonl = Destination(name="a", purpose="p", format="jsonl", columns={"who": "profile_id"})
    assert file_name("vip", jsonl, AS_OF + 1_999_999) == "vip-20111001T000001Z.jsonl"
