"""What moves each bucket, on numbers small enough to check by eye, and against a slow twin."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.behavior.definitions import CategoryIs, Count, DaysSince
from features.time import Window
from training.bucket_charts import bucket_charts, colours_of, value_charts
from training.bucket_factors import BucketSums, bucket_insights, insights, said_values
from training.factors import gather, reasons_of

FEATURES = (
    Count("purchase", Window.parse("7d")).feature,
    DaysSince("purchase").feature,
    Count("purchase", Window.parse("30d")).feature,
    CategoryIs("country", "France", 1).feature,
    CategoryIs("country", None, 0).feature,
)
BUCKET = np.array(["high", "high", "low", "high"])
#              7d   since   30d   France other
MATRIX = np.array(
    [
        [2.0, 3.0, 9.0, 1.0, 0.0],
        [1.0, 5.0, 4.0, 0.0, 1.0],
        [0.0, np.nan, 0.0, 0.0, 0.0],
        [0.0, 40.0, 1.0, 1.0, 0.0],
    ]
)
#              7d   since   30d   France other  base
CONTRIBUTIONS = np.array(
    [
        [1.0, 2.0, 1.0, 0.0, 0.0, -1.0],
        [0.5, 1.0, 2.5, 0.0, 0.0, -1.0],
        [-1.0, -3.0, 0.0, 0.0, 0.0, -1.0],
        [0.0, -3.0, 0.0, 0.5, 0.5, -1.0],
    ]
)


def found():
    return bucket_insights(CONTRIBUTIONS, MATRIX, FEATURES, BUCKET)


def test_the_strongest_reasons_of_a_bucket_come_first():
    low, medium, high = found()
    assert [each["bucket"] for each in (low, medium, high)] == ["low", "medium", "high"]
    assert (low["people"], medium["people"], high["people"]) == (1, 0, 3)
    assert medium["factors"] == []
    # Shares of the three: purchases 2/4, 3/4, 0; days since 2/4, 1/4, 3/4; country 0, 0, 1/4.
    listed = [(each["rank"], each["code"], each["importance_share"]) for each in high["factors"]]
    assert listed == [
        (1, "days_since_purchase", 0.5),
        (2, "purchase_count", pytest.approx(1.25 / 3)),
        (3, "profile_country", pytest.approx(0.25 / 3)),
    ]


def test_coverage_and_direction_are_of_the_buckets_people():
    high = {each["code"]: each for each in found()[2]["factors"]}
    days, country = high["days_since_purchase"], high["profile_country"]
    assert (days["coverage"], days["raises"]) == (1.0, pytest.approx(2 / 3))
    assert (days["contribution"], days["direction"]) == (0.0, "lowers")
    assert (country["coverage"], country["direction"]) == (pytest.approx(1 / 3), "raises")


def test_windows_are_shown_by_the_one_that_weighs_most_over_everyone():
    # 2.5 of the seven days against 3.5 of the thirty; in every bucket alike.
    (few,) = (each for each in found()[0]["factors"] if each["code"] == "purchase_count")
    assert few["feature"] == "purchase_count_30d"
    assert few["feature_label"] == "Number of purchase events in the last 30 days"
    assert few["values"]["everyone"]["quantiles"]["50%"] == 1.0
    assert few["values"]["high"]["quantiles"] == {
        "5%": 1.0, "25%": 1.0, "50%": 4.0, "75%": 9.0, "95%": 9.0,
    }  # fmt: skip


def test_a_bucket_in_which_nobody_ever_did_it_has_no_quantiles():
    days = next(each for each in found()[0]["factors"] if each["code"] == "days_since_purchase")
    assert days["values"]["low"] == {"shares": {"never": 1.0}}
    assert days["values"]["everyone"]["shares"] == {"never": 0.25}
    assert "medium" not in days["values"]


def test_an_attribute_has_the_shares_of_its_values():
    country = found()[2]["factors"][2]
    assert (country["feature"], country["feature_label"]) == (None, "Country")
    everyone = country["values"]["everyone"]["shares"]
    assert everyone == {"Country is France": 0.5, "Country is other": 0.25, "unknown": 0.25}


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"quantiles": {"25%": 0, "50%": 0, "75%": 0}, "shares": {"never": 0.0}}, "0"),
        ({"quantiles": {"25%": 4, "50%": 12.25, "75%": 1031.4}}, "12.2 (4 to 1,031)"),
        ({"quantiles": {"25%": 1, "50%": 2, "75%": 3}, "shares": {"never": 0.08}},
         "2 (1 to 3), never 8%"),
        ({"shares": {"never": 1.0}}, "never 100%"),
        ({"shares": {"France": 0.2, "Spain": 0.7, "unknown": 0.1}},
         "Spain 70%, France 20%, unknown 10%"),
    ],
)  # fmt: skip
def test_a_distribution_is_said_in_a_line(values, said):
    assert said_values(values) == said


def test_good_news_is_green_whichever_end_it_is_at():
    assert colours_of("conversion")["high"] == colours_of("churn")["low"]
    assert colours_of("conversion")["low"] == colours_of("churn")["high"]


def test_there_is_a_chart_a_bucket_and_one_a_reason():
    assert list(bucket_charts(found(), "churn")) == ["reasons_low", "reasons_high"]
    charts = value_charts(found())
    assert list(charts) == [
        "values_days_since_purchase", "values_profile_country", "values_purchase_count",
    ]  # fmt: skip
    box = {trace.name: trace for trace in charts["values_days_since_purchase"].data}
    assert set(box) == {"low<br>never 100%", "high", "everyone<br>never 25%"}
    assert box["high"].median == (5.0,)
    assert [bar.name for bar in charts["values_profile_country"].data][-1] == "unknown"


# The slow twin -----------------------------------------------------------------------------------


def slowly(contributions, bucket, wanted):
    """Return (mean share, coverage) by reason code of one bucket, person by person."""
    shares, covered = {}, {}
    mine = [row for row, name in zip(contributions, bucket, strict=True) if name == wanted]
    for row in mine:
        sums = {r.code: abs(sum(row[c] for c in r.columns)) for r in reasons_of(FEATURES)}
        total = sum(sums.values())
        order = sorted(sums, key=lambda code: (-sums[code], code))
        for code, size in sums.items():
            shares[code] = shares.get(code, 0) + (size / total if total else 0) / len(mine)
            top = size > 0 and code in order[:3]
            covered[code] = covered.get(code, 0) + top / len(mine)
    return shares, covered


@given(st.integers(0, 999), st.integers(1, 40), st.integers(1, 40))
def test_chunks_add_up_to_what_a_loop_over_people_finds(seed, people, chunk):
    rng = np.random.default_rng(seed)
    contributions = rng.integers(-3, 4, (people, 6)) / 4
    matrix = rng.integers(0, 3, (people, 5)).astype(np.float64)
    bucket = rng.choice(["low", "medium", "high"], people)
    sums = BucketSums(FEATURES)
    for start in range(0, people, chunk):
        part = slice(start, start + chunk)
        sums.add(gather(contributions[part], matrix[part], FEATURES), bucket[part])
    factors, values = sums.tables(matrix, bucket)
    counts = {name: int((bucket == name).sum()) for name in ("low", "medium", "high")}
    for each in insights(factors, values, counts):
        shares, covered = slowly(contributions, bucket, each["bucket"])
        listed = {line["code"]: line for line in each["factors"]}
        assert set(listed) == {code for code, share in shares.items() if share > 0}
        for code, line in listed.items():
            assert line["importance_share"] == pytest.approx(shares[code])
            assert line["coverage"] == pytest.approx(covered[code])
        ranked = [line["importance_share"] for line in each["factors"]]
        assert ranked == sorted(ranked, reverse=True)


def test_tables_of_nobody_keep_their_types():
    factors, values = BucketSums(FEATURES).tables(MATRIX[:0], BUCKET[:0])
    assert (factors.num_rows, factors.schema.field("coverage").type) == (0, pa.float64())
    assert (values.num_rows, values.schema.field("value").type) == (0, pa.float64())
