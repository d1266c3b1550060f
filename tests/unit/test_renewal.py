"""Feature tables under other overrides: equal to the bit, and only who was touched is described."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.identity.overrides import TABLE as OVERRIDES
from features.store import Manifest
from pipelines.renewal import touched
from pipelines.stages import FEATURES, Bench, feature_table, ingest_all, plan_features, unify
from tests.worlds import Row, days, world

SPACES = [
    {"name": "login", "type": "person"},
    {"name": "email", "type": "email"},
    {"name": "cookie", "type": "cookie"},
]
GOAL = {"name": "buys", "kind": "conversion", "outcome": "any(purchase)", "outcome_window": "7d",
        "eligible": "any(visit in last 30d)"}  # fmt: skip
T = days(40)
TABLES = ("always", "never", "bypass", "aliases")
NOTHING = {"always": "a,b\n", "never": "a,b\n", "bypass": "identity\n",
           "aliases": "alias,identity\n"}  # fmt: skip


def rows() -> list[Row]:
    """Draw what 60 people did, two or three of whom share one e-mail address."""
    rng = random.Random(1)
    drawn = []
    for _ in range(400):
        number = rng.randrange(60)
        who = {"login": f"p{number}"} if rng.random() < 0.7 else {}
        who |= {"email": f"e{number // 3}@x.org"} if number < 6 else {}
        who |= {"cookie": f"c{number}"} if rng.random() < 0.5 or not who else {}
        amount = {"amount": str(rng.randrange(900) / 10)}
        said = {"age": str(rng.randrange(20, 80)), "country": rng.choice(["FR", "DE"])}
        drawn.append(Row(who, days(rng.random() * 39), rng.choice(["visit", "purchase"]), None,
                         amount, said))  # fmt: skip
    return drawn


@pytest.fixture
def shop(tmp_path: Path) -> Any:
    """A bench of a project with four empty tables of overrides."""
    for name, text in NOTHING.items():
        (tmp_path / f"{name}.csv").write_text(text)
    overrides = {name: f"{name}.csv" for name in TABLES}
    identity = {"namespaces": SPACES, "overrides": overrides}
    with world(tmp_path, rows(), identity=identity, goals=[GOAL]) as bench:
        yield bench


def table_at(shop: Bench, moment: int, **overrides: str) -> tuple[str, pa.Table, dict[str, Any]]:
    """Write tables of overrides, and features under them as a run would; return the version."""
    for name, text in (NOTHING | overrides).items():
        (shop.workspace.folder / f"{name}.csv").write_text(text)
    bench = Bench(shop.workspace, shop.engine)
    unify(bench, ingest_all(bench))
    plan = plan_features(bench, T)
    key = feature_table(bench, plan, moment, plan.goals)
    shop.overrides = bench.overrides
    table = pq.read_table(bench.store.folder(FEATURES, key) / "features.parquet")
    return key, table, bench.store.facts(FEATURES, key)


def publish(shop: Bench, key: str) -> None:
    tables = {FEATURES: key, OVERRIDES: shop.overrides.key}
    shop.store.publish(Manifest("published", T, tables))


@pytest.mark.parametrize(
    ("overrides", "most"),
    [
        ({"never": "a,b\nlogin:p1,login:p2\n"}, 3),
        ({"always": "a,b\nlogin:p10,login:p20\n"}, 2),
        ({"bypass": "identity\nemail:e1@x.org\n"}, 4),
        ({"aliases": "alias,identity\nlogin:p30,login:p31\n"}, 2),
        ({"aliases": "alias,identity\nlogin:p30,login:nemo\nlogin:p31,login:nemo\n"}, 2),
        ({"never": "a,b,known_from\nlogin:p1,login:p2,2024-03-01\n"}, 0),
    ],
)
@pytest.mark.parametrize("moment", [T, days(20)])
def test_only_who_is_touched_is_described_and_all_is_as_if_all_had_been(
    shop: Bench, overrides: dict[str, str], most: int, moment: int
) -> None:
    whole, rebuilt, facts = table_at(shop, moment, **overrides)
    assert facts["rendered"] > 40
    key, before, _ = table_at(shop, moment)
    publish(shop, key)
    folder = shop.store.folder(FEATURES, whole)
    folder.rename(folder.with_name("rebuilt"))

    again, renewed, facts = table_at(shop, moment, **overrides)
    assert again == whole
    assert facts["rendered"] <= most
    assert renewed.equals(rebuilt)
    assert moment < T or renewed.equals(before) == (most == 0)

    # And back again, from the renewed table.
    publish(shop, again)
    folder = shop.store.folder(FEATURES, key)
    folder.rename(folder.with_name("before"))
    _, back, facts = table_at(shop, moment)
    assert facts["rendered"] <= most
    assert back.equals(before)


def test_an_alias_in_place_of_a_link_touches_the_same_people(shop: Bench) -> None:
    """They are the same people with the same identities, of which one counts no longer."""
    key, joined, _ = table_at(shop, T, always="a,b\nlogin:p10,login:p20\n")
    publish(shop, key)
    _, spelt, facts = table_at(shop, T, aliases="alias,identity\nlogin:p20,login:p10\n")
    assert facts["rendered"] == 1
    keys = joined["profile_key"].to_pylist()
    assert spelt["profile_key"].to_pylist() == keys
    place = keys.index(shop.graph.identities.index("login:p10"))
    counts = [table["identity_login_count"][place].as_py() for table in (joined, spelt)]
    assert counts == [2.0, 1.0]


def test_other_rules_or_another_catalogue_make_everyone_anew(shop: Bench) -> None:
    key, _, _ = table_at(shop, T)
    publish(shop, key)
    settings = shop.workspace.project.identity.model_copy(update={"max_fan_out": 19})
    project = shop.workspace.project.model_copy(update={"identity": settings})
    shop.workspace.__dict__["project"] = project
    _, _, facts = table_at(shop, T, never="a,b\nlogin:p1,login:p2\n")
    assert facts["rendered"] > 40


def test_nobody_is_touched_by_what_is_said_again(shop: Bench) -> None:
    assert not len(touched(shop.graph, shop.graph, shop.graph.at(T)))
    key, _, _ = table_at(shop, T, never="a,b\nlogin:p1,login:p2\n")
    again, _, _ = table_at(shop, T, never="b,a,note\nlogin:p1,login:p2,said again\n")
    assert key == again
