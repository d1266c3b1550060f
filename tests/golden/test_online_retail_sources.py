"""The UCI Online Retail invoices: every line is read, none is refused, none is lost."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq

from features.engine import Engine
from features.project_file import load
from features.sources.files import discover
from features.sources.ingest import ingest_file, part_key
from features.store import Store
from features.time import format_instant

EXAMPLE = Path(__file__).parents[2] / "examples" / "online_retail"


def test_every_invoice_line_is_accepted(data_dir, tmp_path, monkeypatch):
    monkeypatch.setenv("DATA", str(data_dir))
    project, store = load(EXAMPLE), Store(tmp_path)
    (file,) = discover(project.source("invoices"), EXAMPLE)
    key = part_key(project, file)
    with Engine(temporary=tmp_path / "engine") as engine:
        ingest_file(engine, store, project, file, key)
    facts = store.facts("parts", key)
    # 541,909 instances: the dataset's page at the UCI repository (doi 10.24432/C5BW33).
    assert (facts["rows"], facts["accepted"], facts["quarantined"]) == (541_909, 541_909, {})
    rows = pq.read_table(store.folder("parts", key) / "accepted.parquet")
    # "Transactions between 01/12/2010 and 09/12/2011": the same page.
    span = pc.min_max(rows["event_time"]).as_py()
    assert format_instant(span["min"])[:10] == "2010-12-01"
    assert format_instant(span["max"])[:10] == "2011-12-09"
    # Counted in the file by csv.DictReader: lines of invoices starting with C, lines without a
    # customer, and the sum of Quantity * UnitPrice as decimals.
    assert facts["events"]["return"]["amount"] == 9_288
    assert rows["id_customer"].null_count == 135_080
    assert pc.sum(rows["attr_amount"]).as_py() == Decimal("9747747.934")
