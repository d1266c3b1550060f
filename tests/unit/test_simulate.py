"""The simulated shop: what its files promise, and that its truth is the truth of its files."""

from __future__ import annotations

import csv
import gzip
import hashlib
import itertools
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features.errors import TimeError
from features.project_file import load
from pipelines.simulate import SimulatedShop, SimulateError, simulate
from pipelines.simulate.happenings import TYPES
from pipelines.simulate.planted import PLANTED
from pipelines.simulate.world import Causes

PEOPLE = 2_000
JUNK = ("undefined", "null")
START, END = pd.Timestamp("2025-11-02", tz="UTC"), pd.Timestamp("2026-06-30", tz="UTC")
ALWAYS = {"id", "ts", "received_at", "type", "cookie"}
ATTRIBUTES = {
    "page_view": {"channel", "device"},
    "product_view": {"category", "price"},
    "search": {"term"},
    "add_to_cart": {"category", "price"},
    "purchase": {"amount", "items", "category"},
    "support_ticket": {"topic"},
}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> SimulatedShop:
    return simulate(tmp_path_factory.mktemp("shop"), people=PEOPLE)


@pytest.fixture(scope="module")
def lines(shop: SimulatedShop) -> list[dict[str, object]]:
    paths = sorted((shop.directory / "data" / "events").glob("*.jsonl.gz"))
    texts = [gzip.decompress(path.read_bytes()).decode() for path in paths]
    return [json.loads(line) for text in texts for line in text.splitlines()]


@pytest.fixture(scope="module")
def events(shop: SimulatedShop, lines: list[dict[str, object]]) -> pd.DataFrame:
    """Every event with the session and the person it really was."""
    frame = pd.DataFrame(lines)
    for column in ("ts", "received_at"):
        frame[column] = pd.to_datetime(frame[column], format="ISO8601")
    frame["named"] = frame["customer"].where(~frame["customer"].isin(JUNK))
    return frame.merge(truth(shop, "events"), on="id", validate="one_to_one")


@pytest.fixture(scope="module")
def crm(shop: SimulatedShop) -> pd.DataFrame:
    frame = pd.read_csv(shop.directory / "data" / "crm" / "customers.csv")
    frame["updated_at"] = pd.to_datetime(frame["updated_at"], format="ISO8601")
    return frame


def truth(shop: SimulatedShop, table: str) -> pd.DataFrame:
    return pd.read_parquet(shop.directory / "truth" / f"{table}.parquet")


def fingerprints(shop: SimulatedShop) -> dict[str, str]:
    return {
        str(path.relative_to(shop.directory)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in shop.files
    }


# --- the same shop again -------------------------------------------------------------------------


def test_same_arguments_give_the_same_bytes(tmp_path: Path) -> None:
    first, again = (simulate(tmp_path / name, people=150, days=100) for name in ("a", "b"))
    assert fingerprints(first) == fingerprints(again)
    written = {path for path in first.directory.rglob("*") if path.is_file()}
    assert written == set(first.files)


def test_another_seed_gives_another_shop(tmp_path: Path) -> None:
    shops = [simulate(tmp_path / str(s), people=150, days=100, seed=s) for s in (7, 8)]
    one, other = (fingerprints(shop) for shop in shops)
    differing = {path for path in one if one[path] != other.get(path)}
    unchanged = {"likelier.yaml", "truth/causes.json", "truth/README.md"}
    assert differing == set(one) - unchanged


def test_simulating_again_into_a_shop_leaves_no_file_of_the_old_one(tmp_path: Path) -> None:
    simulate(tmp_path, people=50, days=200)
    shop = simulate(tmp_path, people=50, days=90)
    written = {path for path in tmp_path.rglob("*") if path.is_file()}
    assert written == set(shop.files)


def test_a_folder_holding_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "likelier.yaml").write_text("project: mine\n")
    with pytest.raises(SimulateError, match="something else than a simulated shop"):
        simulate(tmp_path, people=50)
    assert (tmp_path / "likelier.yaml").read_text() == "project: mine\n"


@pytest.mark.parametrize(("people", "days"), [(9, 240), (50, 89), (50, 40_000)])
def test_a_size_that_makes_no_shop_is_refused(tmp_path: Path, people: int, days: int) -> None:
    with pytest.raises(SimulateError, match=f"{people} people over {days} days make no shop"):
        simulate(tmp_path, people=people, days=days)


def test_an_end_that_is_no_date_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TimeError, match="'soon' is not a date"):
        simulate(tmp_path, end="soon")


def test_the_smallest_shop_is_whole(tmp_path: Path) -> None:
    shop = simulate(tmp_path, people=10, days=90)
    assert (shop.people, len(truth(shop, "people"))) == (10, 10)


def test_progress_rises_to_one_in_every_stage(tmp_path: Path) -> None:
    heard: dict[str, list[float]] = {}
    simulate(
        tmp_path,
        people=20,
        days=90,
        progress=lambda s, share: heard.setdefault(s, []).append(share),
    )
    assert list(heard) == ["live", "unroll", "write", "truth"]
    assert all(shares == sorted(shares) and shares[-1] == 1.0 for shares in heard.values())


# --- the event files -----------------------------------------------------------------------------


def test_counts_are_those_of_the_files(
    shop: SimulatedShop, events: pd.DataFrame, crm: pd.DataFrame
) -> None:
    assert shop.events == len(events) == events["id"].nunique()
    assert 0.85 * 50 * PEOPLE <= shop.events <= 1.15 * 50 * PEOPLE
    assert shop.purchases == (events["type"] == "purchase").sum()
    assert shop.cookies == events["cookie"].nunique() == len(truth(shop, "cookies"))
    assert shop.sessions == events["session"].nunique() == len(truth(shop, "sessions"))
    assert shop.customers == events["named"].nunique() == crm["customer"].nunique()
    assert shop.crm_rows == len(crm)


def test_every_line_has_the_keys_of_its_type_and_no_others(
    lines: list[dict[str, object]],
) -> None:
    assert set(ATTRIBUTES) == set(TYPES)
    for line in lines:
        assert set(line) - {"customer"} == ALWAYS | ATTRIBUTES[str(line["type"])]
        assert None not in line.values()


def test_every_event_lies_within_the_span_and_in_the_file_of_its_month(
    shop: SimulatedShop, events: pd.DataFrame
) -> None:
    assert shop.start == START.value // 1_000
    assert shop.end == END.value // 1_000
    assert events["ts"].min() >= START
    assert events["ts"].max() < END
    for path in (shop.directory / "data" / "events").iterdir():
        month = path.name.removeprefix("events-").removesuffix(".jsonl.gz")
        lines = gzip.decompress(path.read_bytes()).splitlines()
        times = [json.loads(line)["ts"] for line in lines]
        assert times == sorted(times)
        assert {time[:7] for time in times} == {month}


def test_rows_arrive_after_they_happen_and_few_arrive_hours_late(events: pd.DataFrame) -> None:
    delay = events["received_at"] - events["ts"]
    assert delay.min() >= pd.Timedelta(0)
    assert events["received_at"].max() < END
    assert 0.003 <= (delay > pd.Timedelta(hours=1)).mean() <= 0.007
    assert delay.quantile(0.99) < pd.Timedelta(seconds=30)


def test_money_is_whole_cents_and_a_cart_purchase_costs_its_cart(events: pd.DataFrame) -> None:
    money = pd.concat([events["price"], events["amount"]]).dropna()
    assert ((money * 100).round() / 100 == money).all()
    assert money.min() >= 1.0
    carts = events[events["type"] == "add_to_cart"].groupby("session")["price"].sum()
    bought = events[events["type"] == "purchase"].set_index("session")["amount"]
    both = carts.index.intersection(bought.index)
    assert len(both) > 100
    np.testing.assert_allclose(bought[both], carts[both])


def test_sessions_follow_the_hours_of_the_day_and_end_that_day(events: pd.DataFrame) -> None:
    hours = events["ts"].dt.hour.value_counts(normalize=True)
    assert hours[range(18, 23)].sum() > 5 * hours[range(0, 6)].sum()
    days = events["ts"].dt.floor("D").groupby(events["session"])
    assert (days.min() == days.max()).all()


# --- who is who ----------------------------------------------------------------------------------


def test_anonymous_rows_have_no_customer_key(
    shop: SimulatedShop, lines: list[dict[str, object]], events: pd.DataFrame
) -> None:
    registered = truth(shop, "people").dropna(subset="customer").set_index("person")["customer"]
    before = events["ts"] < events["person"].map(
        truth(shop, "people").set_index("person")["registered_at"]
    )
    assert before.sum() > 1_000
    assert events.loc[before, "named"].isna().all()
    anonymous = ~events["person"].isin(registered.index)
    assert events.loc[anonymous, "named"].isna().all()
    keyless = sum("customer" not in line for line in lines)
    assert keyless == events["customer"].isna().sum()


def test_customer_ids_are_those_of_the_person_from_registration_on(
    shop: SimulatedShop, events: pd.DataFrame
) -> None:
    people = truth(shop, "people").set_index("person")
    named = events.dropna(subset="named")
    assert (named["person"].map(people["customer"]) == named["named"]).all()
    first = named.groupby("person")["ts"].min() - people["registered_at"].dropna()
    assert len(first) == shop.customers
    assert (first == pd.Timedelta(0)).all()


def test_shares_of_anonymous_people_devices_and_junk(
    shop: SimulatedShop, events: pd.DataFrame
) -> None:
    people, cookies = truth(shop, "people"), truth(shop, "cookies")
    known = people["customer"].notna()
    assert 0.35 <= 1 - known.mean() <= 0.45
    assert 0.25 <= people.loc[known, "two_devices"].mean() <= 0.35
    assert 0.0003 <= events["customer"].isin(JUNK).mean() <= 0.002
    assert 1 <= (cookies["people"] > 1).sum() <= 0.02 * PEOPLE
    assert cookies["people"].max() <= 5


def test_a_cookie_is_used_by_its_owner_or_by_those_who_borrow_it(
    shop: SimulatedShop, events: pd.DataFrame
) -> None:
    people = truth(shop, "people").set_index("person")
    owner = events["cookie"].map(truth(shop, "cookies").set_index("cookie")["owner"])
    borrowed = owner != events["person"]
    assert borrowed.any()
    hosts = events.loc[borrowed, "person"].map(people["borrows_device_of"])
    assert (hosts == owner[borrowed]).all()
    used = events.groupby("person")["cookie"].agg(set)
    assert used.equals(people["cookies"].map(set))


# --- the CRM -------------------------------------------------------------------------------------


def test_crm_versions_are_in_order_and_follow_registration(
    shop: SimulatedShop, crm: pd.DataFrame
) -> None:
    assert crm["updated_at"].is_monotonic_increasing
    assert not crm.duplicated(["customer", "updated_at"]).any()
    assert not crm.isna().any().any()
    assert crm["updated_at"].max() < END
    people = truth(shop, "people").set_index("customer")
    lag = crm.groupby("customer")["updated_at"].min() - people["registered_at"].dropna()
    assert lag.max() <= pd.Timedelta(minutes=10)
    assert lag.min() > pd.Timedelta(0)


def test_crm_versions_change_what_may_change_and_keep_the_rest(crm: pd.DataFrame) -> None:
    values = crm.groupby("customer").nunique()
    assert (values["birth_date"] == 1).all()
    assert (values["email"] == 1).all()
    assert crm["email"].nunique() == crm["customer"].nunique()
    for changing in ("country", "loyalty_tier", "marketing_opt_in"):
        assert (values[changing] > 1).sum() > 5
    columns = ["email", "country", "loyalty_tier", "birth_date", "marketing_opt_in"]
    wants = crm.groupby("customer")["marketing_opt_in"].agg(list)
    assert all(answers == sorted(answers, reverse=True) for answers in wants)
    assert (crm.groupby("customer")[columns].nunique() <= 4).all().all()


def test_last_crm_versions_tell_the_true_tier_and_fifteen_in_a_hundred_opt_out(
    shop: SimulatedShop, crm: pd.DataFrame
) -> None:
    last = crm.groupby("customer").last()
    tier = truth(shop, "people").dropna(subset="customer").set_index("customer")["tier"]
    assert last["loyalty_tier"].to_dict() == tier.to_dict()
    assert 0.12 <= 1 - last["marketing_opt_in"].mean() <= 0.18


def test_tiers_change_only_at_reviews(crm: pd.DataFrame) -> None:
    crm = crm.sort_values(["customer", "updated_at"])
    before = crm.groupby("customer")["loyalty_tier"].shift()
    changed = crm[before.notna() & (before != crm["loyalty_tier"])]
    since = changed["updated_at"] - (START + pd.Timedelta(hours=3))
    assert (since.dt.total_seconds() % (30 * 86_400) == 0).all()
    assert (crm[before.isna()]["loyalty_tier"] == "basic").all()


# --- the truth -----------------------------------------------------------------------------------


def test_nobody_acts_before_arriving_or_after_death(
    shop: SimulatedShop, events: pd.DataFrame
) -> None:
    people = truth(shop, "people").set_index("person")
    span = events.groupby("person")["ts"].agg(["min", "max"])
    assert len(span) == PEOPLE
    assert (span["min"].dt.floor("D") == people["arrives"]).all()
    dead = people["death_time"].dropna()
    assert len(dead) > 200
    assert (span["max"].reindex(dead.index) < dead).all()


def test_truth_of_sessions_is_what_the_events_show(
    shop: SimulatedShop, events: pd.DataFrame
) -> None:
    sessions = truth(shop, "sessions").set_index("session")
    by_session = events.groupby("session")
    assert (sessions["person"] == by_session["person"].agg(["min", "max"]).T).all().all()
    assert (by_session["cookie"].first() == sessions["cookie"]).all()
    for name, column in (("purchase", "purchase"), ("support_ticket", "ticket")):
        shown = (events["type"] == name).groupby(events["session"]).sum()
        assert (shown == sessions[column].astype(int)).all()
    assert not sessions.duplicated(["person", "day"]).any()


def test_purchases_and_deaths_are_as_many_as_their_chances_say(shop: SimulatedShop) -> None:
    sessions, people = truth(shop, "sessions"), truth(shop, "people")
    chance = sessions["purchase_chance"]
    noise = np.sqrt((chance * (1 - chance)).sum())
    assert abs(sessions["purchase"].sum() - chance.sum()) < 4 * noise
    # A counting process less its compensator is a martingale of variance at most the compensator.
    deaths, risk = people["death_time"].notna().sum(), people["death_risk"].sum()
    assert abs(deaths - risk) < 4 * np.sqrt(risk)


def test_the_true_probability_at_the_snapshot_is_calibrated(
    shop: SimulatedShop, events: pd.DataFrame
) -> None:
    snapshot = truth(shop, "snapshot").set_index("person")
    as_of = END - pd.Timedelta(days=60)
    assert shop.snapshot == as_of.value // 1_000
    assert (snapshot["as_of"] == as_of).all()
    assert set(snapshot.index) == set(events.loc[events["ts"] < as_of, "person"])
    for days in (14, 30):
        chance = snapshot[f"purchase_probability_{days}d"]
        inside = events["ts"].between(as_of, as_of + pd.Timedelta(days=days), inclusive="left")
        bought = set(events.loc[inside & (events["type"] == "purchase"), "person"])
        assert set(snapshot.index[snapshot[f"purchased_{days}d"]]) == bought & set(snapshot.index)
        assert (chance[~snapshot["alive"]] == 0).all()
        noise = np.sqrt((chance * (1 - chance)).sum())
        assert abs(snapshot[f"purchased_{days}d"].sum() - chance.sum()) < 4 * noise


def test_snapshot_names_only_customers_registered_by_then(shop: SimulatedShop) -> None:
    people = truth(shop, "people").set_index("person")
    by_then = people["registered_at"] < END - pd.Timedelta(days=60)
    snapshot = truth(shop, "snapshot").set_index("person")
    expected = people["customer"].where(by_then).reindex(snapshot.index)
    assert expected.dropna().to_dict() == snapshot["customer"].dropna().to_dict()


def test_every_cause_is_written_down(shop: SimulatedShop) -> None:
    written = json.loads((shop.directory / "truth" / "causes.json").read_text())
    page = (shop.directory / "truth" / "README.md").read_text()
    assert written == json.loads(json.dumps(Causes().__dict__))
    for name in written:
        assert f"| `{name}` |" in page


# --- the causes ----------------------------------------------------------------------------------


@pytest.mark.parametrize("days_before_end", [30, 60, 90])
def test_base_rates_are_those_of_a_real_shop(events: pd.DataFrame, days_before_end: int) -> None:
    """Straight from the rows: profile = the customer last known on the cookie at as_of, else it."""
    as_of = END - pd.Timedelta(days=days_before_end)
    past = events[(events["ts"] < as_of) & (events["received_at"] < as_of)]
    owner = past.dropna(subset="named").groupby("cookie")["named"].last()
    profile = events["named"].fillna(events["cookie"].map(owner)).fillna(events["cookie"])
    age = (as_of - events["ts"]).dt.total_seconds() / 86_400
    known = events["received_at"] < as_of

    def seen(kind: str, newest: float, oldest: float, rows: pd.Series) -> set[str]:
        chosen = rows & (events["type"] == kind) & (age > newest) & (age <= oldest)
        return set(profile[chosen])

    everything = pd.Series(True, index=events.index)
    visitors, buyers = seen("page_view", 0, 30, known), seen("purchase", 0, 90, known)
    converted = visitors & seen("purchase", -14, 0, everything)
    stayed = buyers & seen("purchase", -30, 0, everything)
    assert 0.05 <= len(converted) / len(visitors) <= 0.15
    assert 0.30 <= 1 - len(stayed) / len(buyers) <= 0.65  # 0.60 and the noise of some 350 people
    anonymous = {name for name in visitors if name.startswith("ck_")}
    assert 0.1 <= len(anonymous) / len(visitors) <= 0.5


# --- the project file ----------------------------------------------------------------------------


def test_the_project_file_is_a_valid_project_naming_columns_that_exist(
    shop: SimulatedShop, lines: list[dict[str, object]]
) -> None:
    project = load(shop.directory)
    assert [goal.name for goal in project.goals] == ["churn", "conversion"]
    web, crm = project.source("web"), project.source("crm")
    mapped = {web.event_time, web.received_at, web.event_id, web.event_type}
    mapped |= set().union(*web.identities.values()) | set(web.attributes.values())
    assert mapped == set().union(*lines)
    with (shop.directory / str(crm.path)).open(newline="") as file:
        header = next(csv.reader(file))
    columns = {
        *itertools.chain(*crm.identities.values()),
        *crm.profile.values(),
        *crm.consent.values(),
    }
    assert columns | {crm.known_from} == set(header)
    assert len(list(shop.directory.glob(web.path))) == 8
    used = {name for segment in project.segments for name in segment.export}
    assert used == {destination.name for destination in project.destinations}


def test_other_causes_can_be_planted(tmp_path: Path) -> None:
    planted = simulate(tmp_path / "planted", people=60, days=90, causes=PLANTED)
    usual = simulate(tmp_path / "usual", people=60, days=90)
    sizes = json.loads((planted.directory / "truth" / "causes.json").read_text())
    assert (sizes["purchase_carts"], sizes["purchase_inclination"]) == (3.0, 0.0)
    assert planted.purchases != usual.purchases
