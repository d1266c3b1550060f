"""The ledger names nobody, survives kills, and knows who was erased and when."""

from __future__ import annotations

import hashlib
import json
import stat

import pyarrow as pa
import pytest

from features import erasures as ledger
from features.engine import Engine, keyed_sha256
from features.erasures import ErasureKeyMissing, Erasures, spellings

ANN = "customer:ann"


def test_a_hash_is_hmac_sha256():
    # Test case 2 of RFC 4231.
    expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    assert Erasures(b"Jefe").hash("what do ya want for nothing?") == expected


def test_the_engine_makes_the_same_hashes(tmp_path):
    texts = ["customer:ann", "", "email:é", "cookie:" + "x" * 3_000]
    erasures = Erasures(bytes(range(32)))
    with Engine(threads=1, temporary=tmp_path) as engine:
        rows = engine.hold(engine.table(pa.table({"text": texts})))
        found = engine.select(rows, {"text": "text", "hash": keyed_sha256("text", erasures.key)})
        listed = engine.arrow(found).to_pylist()
    assert {row["text"]: row["hash"] for row in listed} == {t: erasures.hash(t) for t in texts}


def test_who_was_erased_is_found_again_and_nobody_else(tmp_path):
    assert Erasures.read(tmp_path).place(ANN) == 0
    ledger.record(tmp_path, 5, [ANN, "cookie:1"], {"events": 3}, [("churn", "v1")])
    found = Erasures.read(tmp_path)
    assert (found.place(ANN), found.place("cookie:1"), found.place("customer:bob")) == (1, 1, 0)
    (one,) = found.records
    assert one.at == 5
    assert (one.counts, one.models) == ({"events": 3}, (("churn", "v1"),))


def test_the_last_of_several_erasures_counts(tmp_path):
    for moment in (5, 9):
        ledger.record(tmp_path, moment, [ANN], {}, [])
    found = Erasures.read(tmp_path)
    assert (len(found), found.place(ANN)) == (2, 2)
    assert found.table.to_pylist() == [{"hash": found.hash(ANN), "erased_at": 9}]


def test_the_ledger_holds_no_identity_and_its_key_is_for_its_owner_alone(tmp_path):
    ledger.record(tmp_path, 5, [ANN], {}, [])
    files = {path.name: path for path in (tmp_path / "erasures").iterdir()}
    assert sorted(files) == ["key", "ledger.jsonl"]
    assert "ann" not in files["ledger.jsonl"].read_text()
    assert stat.S_IMODE(files["key"].stat().st_mode) == 0o600
    assert len(files["key"].read_bytes()) == 32


def test_without_its_key_a_ledger_is_refused_and_no_other_key_is_made(tmp_path):
    ledger.record(tmp_path, 5, [ANN], {}, [])
    (tmp_path / "erasures" / "key").unlink()
    with pytest.raises(ErasureKeyMissing, match="nobody can say who was erased"):
        Erasures.read(tmp_path)
    with pytest.raises(ErasureKeyMissing, match="nobody can say who was erased"):
        ledger.record(tmp_path, 6, ["customer:bob"], {}, [])


def test_an_erasure_is_open_until_its_receipt_is_written(tmp_path):
    one = ledger.record(tmp_path, 5, [ANN], {}, [])
    assert ledger.open_erasures(tmp_path, Erasures.read(tmp_path)).records == (one,)
    ledger.close(tmp_path, one.id, {"counts": {}})
    assert not len(ledger.open_erasures(tmp_path, Erasures.read(tmp_path)))
    assert json.loads((tmp_path / "erasures" / "receipts" / f"{one.id}.json").read_bytes())


def test_a_draft_of_a_killed_writer_is_no_erasure(tmp_path):
    ledger.record(tmp_path, 5, [ANN], {}, [])
    path = tmp_path / "erasures" / ".ledger.jsonl.draft"
    path.write_text(json.dumps({"id": "x"})[:5])
    assert len(Erasures.read(tmp_path)) == 1
    ledger.record(tmp_path, 6, ["customer:bob"], {}, [])
    assert len(Erasures.read(tmp_path)) == 2


def test_a_change_of_pii_brings_nobody_back():
    hashed = "customer:" + hashlib.sha256(b"ann").hexdigest()
    assert spellings("customer:ann") == {"customer:ann", hashed}
    assert spellings(hashed, {"ann"}) >= {hashed, "customer:ann"}
