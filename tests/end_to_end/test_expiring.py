"""Expiry in whole runs: what is idle is gone from every table, and who returns begins anew."""

from __future__ import annotations

import pyarrow.parquet as pq

from features.time import parse_instant
from pipelines import runner
from pipelines.checking import check_project
from pipelines.workspace import Workspace
from tests.end_to_end.traces import traces

PROJECT = """\
project: idle
sources:
  - {name: web, kind: events, path: web/*.csv, event_time: at, event_type: what, keep: 60d,
     identities: {customer: customer, cookie: cookie}}
identity:
  expire_anonymous: 14d
  namespaces:
    - {name: customer, type: person, unique: true}
    - {name: cookie, type: cookie}
features: {windows: [30d, 90d]}
segments:
  - {name: all_of_them, where: count(visit) >= 1, export: [file]}
destinations:
  - {name: file, purpose: ads, columns: {who: profile_id}}
"""
FIRST = """\
at,what,customer,cookie
2024-01-01,visit,ann,ck-ann
2024-03-20,visit,ann,ck-ann
2024-01-02,visit,bob,
2024-03-01,visit,,ck-idle
2024-03-05,visit,,ck-idle
2024-03-12,visit,,ck-here
2024-03-25,visit,cid,
"""
HEADER = "at,what,customer,cookie\n"


def members(workspace: Workspace) -> list[str]:
    store = workspace.store
    folder = store.folder("lists", store.require_current().tables["lists"])
    ids: list[str] = pq.read_table(folder / "memberships.parquet")["profile_id"].to_pylist()
    return ids


def test_what_has_expired_is_gone_and_a_second_run_has_nothing_to_do(tmp_path):
    (tmp_path / "web").mkdir()
    (tmp_path / "likelier.yaml").write_text(PROJECT)
    (tmp_path / "web" / "first.csv").write_text(FIRST)
    workspace = Workspace.open(tmp_path)
    outcome = runner.run(workspace)
    web = outcome.manifest.figures["sources"]["web"]
    assert web | {"rows": 7, "accepted": 3, "duplicates": 0, "erased": 0, "expired": 4} == web
    assert outcome.manifest.figures["warnings"] == [
        "features.windows: A window looks back 90 days, and sources.web keeps 60 days: it sees no "
        "further than that."
    ]
    assert members(workspace) == ["cookie:ck-here", "customer:ann", "customer:cid"]
    assert traces([workspace.store.root, tmp_path / "exports"], ["ck-idle", "bob"]) == []
    assert all(state == "done" for _, state, _ in runner.explain(workspace))
    assert runner.run(workspace).made == {}
    found = [f.where for f in check_project(tmp_path, lambda stage, text: None).findings]
    assert "features.windows" in found

    # The same rows in another file change nothing but the count.
    (tmp_path / "web" / "again.csv").write_text(HEADER + "\n".join(FIRST.split("\n")[:0:-1]))
    again = runner.run(workspace).manifest.figures["sources"]["web"]
    assert (again["accepted"], again["expired"]) == (3, 8)
    assert members(workspace) == ["cookie:ck-here", "customer:ann", "customer:cid"]

    # A visitor who returns begins anew; the one who stays away goes, and known people stay.
    (tmp_path / "web" / "next.csv").write_text(HEADER + "2024-04-01,visit,,ck-idle\n")
    runner.run(workspace)
    assert members(workspace) == ["cookie:ck-idle", "customer:ann", "customer:cid"]
    events = workspace.store.folder("united", workspace.store.require_current().tables["united"])
    times = pq.read_table(events / "events.parquet")["event_time"].to_pylist()
    assert times.count(parse_instant("2024-04-01")) == 1 and len(times) == 3

    # Looking back from another moment brings nobody back and removes nobody.
    runner.run(workspace, as_of=parse_instant("2024-03-21"))
    assert members(workspace) == ["customer:ann"]
    runner.run(workspace)
    assert members(workspace) == ["cookie:ck-idle", "customer:ann", "customer:cid"]
