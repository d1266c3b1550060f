"""The general opt-out: in no segment and in no file, whatever else was allowed."""

from __future__ import annotations

import pyarrow.parquet as pq

from features.time import parse_instant
from pipelines import runner
from pipelines.workspace import Workspace

PROJECT = """\
project: optouts
sources:
  - {name: web, kind: events, path: web.csv, event_time: at, event_type: "'visit'",
     identities: {customer: customer, cookie: cookie}}
  - {name: crm, kind: records, path: crm.csv, known_from: at, identities: {customer: customer},
     consent: {marketing: ads, all: anything}}
  - {name: banner, kind: records, path: banner.csv, known_from: at, identities: {cookie: cookie},
     consent: {all: anything}}
identity:
  namespaces:
    - {name: customer, type: person, unique: true}
    - {name: cookie, type: cookie}
segments:
  - {name: here, where: any(visit), export: [file, other]}
  - {name: not_there, where: any(visit) and not in_segment(there)}
  - {name: there, where: not any(visit)}
destinations:
  - {name: file, purpose: marketing, columns: {who: profile_id}}
  - {name: other, format: jsonl, purpose: research, columns: {who: profile_id}}
"""
# Ann refuses on a cookie of hers, Bob took his refusal back, Cid refuses from the third day on.
FILES = {
    "web.csv": "at,customer,cookie\n2024-01-01,ann,a1\n2024-01-02,bob,\n2024-01-02,cid,\n"
    "2024-01-04,,a2\n2024-01-05,ann,a2\n",
    "crm.csv": "at,customer,ads,anything\n2024-01-01,ann,yes,yes\n2024-01-01,bob,yes,no\n"
    "2024-01-02,bob,yes,yes\n2024-01-01,cid,yes,\n2024-01-03,cid,yes,no\n",
    "banner.csv": "at,cookie,anything\n2024-01-02,a1,no\n",
}


def members(workspace: Workspace) -> dict[str, list[str]]:
    store = workspace.store
    folder = store.folder("lists", store.require_current().tables["lists"])
    found: dict[str, list[str]] = {}
    for row in pq.read_table(folder / "memberships.parquet").to_pylist():
        found.setdefault(row["segment"], []).append(row["profile_id"])
    return found


def test_a_refusal_of_everything_counts_for_the_whole_person_as_known_at_as_of(tmp_path):
    for name, text in (FILES | {"likelier.yaml": PROJECT}).items():
        (tmp_path / name).write_text(text)
    workspace = Workspace.open(tmp_path)
    outcome = runner.run(workspace, as_of=parse_instant("2024-01-06"))
    assert members(workspace) == {"here": ["customer:bob"], "not_there": ["customer:bob"]}
    figures = outcome.manifest.figures["segments"]
    assert {name: found["opted_out"] for name, found in figures.items()} == {
        "here": 2, "not_there": 2, "there": 0,
    }  # fmt: skip
    lines = {path.suffix: path.read_text().split() for path in outcome.files}
    assert lines == {".csv": ["who", "customer:bob"], ".jsonl": ['{"who":"customer:bob"}']}

    # Before the third day nothing of Cid's refusal was known.
    runner.run(workspace, as_of=parse_instant("2024-01-03"))
    assert members(workspace)["here"] == ["customer:bob", "customer:cid"]
