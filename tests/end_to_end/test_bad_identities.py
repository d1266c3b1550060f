"""One file with everything that can stand where an identity should: counted, never a crash."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.end_to_end.shops import likelier
from tests.end_to_end.test_bad_input import lines

PROJECT = """\
project: odd
time_zone: UTC
sources:
  - name: web
    kind: events
    path: web.jsonl
    event_time: at
    received_at: at
    event_type: what
    identities: {customer: [who, merged_into], email: [mail, work], phone: phone, cookie: cookie}
identity:
  namespaces:
    - {name: customer, type: person, unique: true, junk: [house]}
    - {name: email, type: email, pii: true}
    - {name: phone, type: phone, pii: true, region: GB}
    - {name: cookie, type: cookie}
features: {windows: [30d]}
segments:
  - {name: everybody, where: any(purchase)}
"""
HASHED = hashlib.sha256(b"ann@mail.example").hexdigest()
ODD: list[dict[str, Any]] = [
    # One person, however written.
    {"mail": "Ann@Mail.example", "phone": "020 8366 1177"},
    {"mail": HASHED.upper(), "phone": "+442083661177"},
    {"work": " ann@mail.example", "cookie": "c1"},
    {"who": 17850.0, "mail": "ann@mail.example"},
    {"who": "17850", "merged_into": 17850},
    # Nobody, beside somebody.
    {"who": "undefined", "cookie": "c2"},
    {"who": "House", "cookie": "c2"},
    {"who": {"id": 1}, "cookie": "c2"},
    {"who": [1], "cookie": "c2"},
    {"who": True, "cookie": "c2"},
    {"who": 1234567890123456789.0, "cookie": "c2"},
    {"who": "1.23E+11", "cookie": "c2"},
    {"who": "c\x003", "cookie": "c2"},
    {"who": "c\u200b3", "cookie": "c2"},
    {"who": "x" * 10_000, "cookie": "c2"},
    {"who": "", "cookie": "c2"},
    {"mail": "ann at home", "cookie": "c2"},
    {"mail": "noreply@shop.org", "cookie": "c2"},
    {"mail": "joe@example.com", "cookie": "c2"},
    {"mail": hashlib.sha256(b"").hexdigest(), "cookie": "c2"},
    {"phone": "0", "cookie": "c2"},
    {"phone": "5555555", "cookie": "c2"},
    {"phone": "ask", "cookie": "c2"},
    # Looks like c\x003 and c\u200b3, and is not they.
    {"who": "c3"},
    # Nobody at all.
    {"cookie": "00000000-0000-0000-0000-000000000000"},
    {"mail": "ann at home"},
    {"who": "\u202ec4"},
    {"who": "x" * 10_000},
    {"who": None},
    # Two people at once.
    {"who": "p1", "merged_into": "p2", "cookie": "c5"},
]
CODES = {"conflicting_identity": 1, "identity_too_long": 1, "no_identity": 4}
JUNK = {
    "cookie": {"zeros": 1},
    "customer": {"house": 1, "true": 1, "undefined": 1},
    "email": {"*@example.com": 1, "hash of a listed value": 1, "noreply@*": 1},
    "phone": {"one digit repeated": 1, "zeros": 1},
}
UNUSABLE = {
    "customer": {
        "control_characters": 3, "identity_too_long": 2, "inexact_number": 2, "not_one_value": 2,
    },
    "email": {"not_an_email": 2},
    "phone": {"not_a_phone": 1},
}  # fmt: skip


@pytest.fixture(scope="module")
def odd(tmp_path_factory) -> Path:
    folder: Path = tmp_path_factory.mktemp("odd")
    (folder / "likelier.yaml").write_text(PROJECT)
    moments = [line.split(",") for line in lines()]
    good = [{"at": at, "what": what, "who": who} for at, what, who, _ in moments]
    rows = good + [{"at": "2025-01-02T00:00:00Z", "what": "purchase"} | row for row in ODD]
    (folder / "web.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_check_counts_what_is_nobody_by_reason(odd):
    ended = likelier("-p", odd, "check", "--json")
    assert (ended.code, ended.json["errors"]) == (0, 0), ended.err
    said = {(f["where"], f["code"]): f["what"] for f in ended.json["findings"] if f["code"]}
    for code, count in CODES.items():
        assert f"{count} of 990 rows are quarantined: {code}" in said.get(("sources.web", code), "")
    for code, counts in (("junk", JUNK), ("unusable", UNUSABLE)):
        for namespace, found in counts.items():
            what = said[f"sources.web.identities.{namespace}", code]
            assert what.startswith(f"{sum(found.values())} values identify nobody: ")
            assert all(f"{count} {why}" in what for why, count in found.items())


def test_run_publishes_the_rest_and_adds_up(odd):
    ended = likelier("-p", odd, "run", "--json")
    assert ended.code == 0, ended.err
    web = ended.json["sources"]["web"]
    assert web["rows"] == 990 == web["accepted"] + web["duplicates"] + sum(CODES.values())
    assert (web["quarantined"], web["junk"], web["unusable"]) == (CODES, JUNK, UNUSABLE)
    # Nobody was merged by what is nobody: p0 to p79, ann with c1 and 17850, c2, and c3.
    assert ended.json["profiles"]["profiles"] == 83
    profile = likelier("-p", odd, "profile", "email:ANN@mail.example", "--json").json
    phone = hashlib.sha256(b"+442083661177").hexdigest()
    assert sorted(profile["identities"]) == [
        "cookie:c1", "customer:17850", f"email:{HASHED}", f"phone:{phone}"
    ]  # fmt: skip
    assert likelier("-p", odd, "profile", "customer:undefined", "--json").code == 1


def test_no_file_but_contacts_and_the_input_shows_an_address(odd):
    texts = {}
    for path in odd.rglob("*.parquet"):
        texts[path.name] = texts.get(path.name, "") + str(pq.read_table(path).to_pylist())
    with_raw = {name for name, text in texts.items() if "mail.example" in text.lower()}
    assert with_raw == {"contacts.parquet"}
