"""Measures where people meet them: profiles, one person, the online store, files and checks."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipelines.building import PROFILES
from pipelines.checking import check_project
from pipelines.person import describe
from pipelines.printing import page, print_person
from pipelines.runner import run
from pipelines.workspace import Workspace
from serving.online.lmdb import LmdbStore
from tests.worlds import Row, days, project, write

BOUGHT = [
    Row({"customer": "ann"}, days(1), "purchase", attributes={"amount": 10.5, "shop": "Rome"}),
    Row({"customer": "ann"}, days(3), "purchase", attributes={"amount": 20, "shop": "Oslo"}),
    Row({"customer": "bob"}, days(4), "visit"),
]
MEASURES = [
    {"name": "spend", "label": "Total spend", "value": "sum(purchase.amount)"},
    {"name": "average_order", "template": "average_transaction_value", "event": "purchase",
     "amount": "amount"},
    {"name": "latest_shop", "value": "last(purchase.shop)"},
]  # fmt: skip
COLUMNS = {
    "who": "identity.customer", "spend": "measure.spend", "mean": "measure.average_order",
    "shop": "measure.latest_shop",
}  # fmt: skip
Change = dict[str, Any]


@pytest.fixture
def shop(tmp_path: Path) -> Callable[..., Workspace]:
    """Return what writes the project with changes, and opens it."""

    def opened(**changes: Any) -> Workspace:
        settings = project(BOUGHT, **{
            "measures": MEASURES,
            "segments": [
                {"name": "spenders", "where": "spend >= 0 and not spend > 99", "export": ["crm"]}
            ],
            "destinations": [
                {"name": "crm", "format": "jsonl", "purpose": "ads", "columns": COLUMNS}
            ],
        } | changes)  # fmt: skip
        write(tmp_path / "log.jsonl", BOUGHT, settings)
        (tmp_path / "likelier.yaml").write_text(json.dumps(settings))
        return Workspace.open(tmp_path)

    return opened


def test_a_run_measures_everyone_and_says_so_everywhere(
    shop: Callable[..., Workspace], capsys: pytest.CaptureFixture[str]
) -> None:
    workspace = shop()
    manifest = run(workspace).manifest
    assert manifest is not None
    folder = workspace.store.folder(PROFILES, manifest.tables[PROFILES])
    profiles = pq.read_table(folder / "profiles.parquet").to_pylist()
    measured = {row["profile_id"]: (row["measure_spend"], row["measure_average_order"])
                for row in profiles}  # fmt: skip
    assert measured == {"customer:ann": (Decimal("30.5"), 15.25), "customer:bob": (0, None)}

    ann = describe(workspace, "customer:ann")
    assert ann["measures"] == [
        {"name": "spend", "label": "Total spend", "value": 30.5},
        {"name": "average_order", "label": "average order", "value": 15.25},
        {"name": "latest_shop", "label": "latest shop", "value": "Oslo"},
    ]
    print_person(describe(workspace, "customer:bob"))
    page.file.flush()
    assert "Total spend: 0\n  average order: not defined\n" in capsys.readouterr().out

    online = LmdbStore(workspace.store.folder("online", manifest.tables["online"]))
    record = online.profile("customer:ann")
    assert record is not None
    assert record.measures == {"spend": 30.5, "average_order": 15.25, "latest_shop": "Oslo"}
    online.close()

    (file,) = (workspace.folder / "exports").glob("*.jsonl")
    assert [json.loads(line) for line in file.read_text().splitlines()] == [
        {"who": "ann", "spend": 30.5, "mean": 15.25, "shop": "Oslo"},
        {"who": "bob", "spend": 0, "mean": None, "shop": None},
    ]


def test_what_a_run_makes_depends_on_what_measures_are_made_of(
    shop: Callable[..., Workspace],
) -> None:
    first = run(shop())
    assert run(shop()).made == {}
    renamed = [MEASURES[0] | {"label": "Spend"}, *MEASURES[1:]]
    assert run(shop(measures=renamed)).made == {}
    changed = [MEASURES[0] | {"value": "100 + sum(purchase.amount)"}, *MEASURES[1:]]
    again = run(shop(measures=changed))
    assert again.made == {"segment": 2, "export": 1}
    assert first.manifest and again.manifest
    assert [each.manifest.figures["segments"]["spenders"]["members"]  # type: ignore[union-attr]
            for each in (first, again)] == [2, 0]  # fmt: skip


def test_check_tells_of_every_measure_that_cannot_be_read(shop: Callable[..., Workspace]) -> None:
    wrong = [
        {"name": "visit", "value": "count(visit)"},
        {"name": "spent", "value": "sum(purchase.amont)"},
        {"name": "shops", "value": "sum(purchase.shop)"},
        *MEASURES,
    ]
    workspace = shop(measures=wrong)
    found = check_project(workspace.folder, lambda stage, text: None)
    assert [(each.where, each.code) for each in found.errors] == [
        ("measures.visit", "measure_name_taken"),
        ("measures.spent", "unknown_name"),
        ("measures.shops", "type_mismatch"),
    ]
    assert "Did you mean 'amount'?" in found.errors[1].hint
    unknown = shop(measures=MEASURES[1:])
    refused = check_project(unknown.folder, lambda stage, text: None).errors
    assert [(each.where, each.code) for each in refused] == [("destinations", "unknown_field")]
    assert "measure.spend" in refused[0].what


def test_a_project_without_measures_has_none(shop: Callable[..., Workspace]) -> None:
    workspace = shop(measures=[], segments=[], destinations=[])
    run(workspace)
    assert describe(workspace, "customer:ann")["measures"] == []
