"""Laws of lists that follow people: nobody is lost or counted twice, whatever becomes of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from features.settings import Destination, Segment
from serving.exports.columns import Field
from serving.exports.deliveries import carried
from serving.exports.rows import Published
from serving.exports.rows import build as build_export
from serving.segments.diff import build

IDS = [f"cookie:{letter}" for letter in "abcdefgh"]
PROFILES = pa.table({"profile_id": IDS, "profile_key": list(range(len(IDS)))})
SEGMENTS = ("lapsing", "new")
CHANGES = pa.schema({"old": pa.string(), "new": pa.string(), "kind": pa.string()})


@dataclass(frozen=True)
class Build:
    """What happens in one run: ids that move, and who is in each segment afterwards."""

    successor: dict[str, str]
    now: dict[str, set[int]]

    @property
    def changes(self) -> pa.Table:
        rows = [{"old": o, "new": n, "kind": "merged"} for o, n in self.successor.items()]
        return pa.Table.from_pylist(rows, schema=CHANGES)

    @property
    def keys(self) -> dict[str, np.ndarray[tuple[int], np.dtype[np.int64]]]:
        return {n: np.array(sorted(keys), dtype=np.int64) for n, keys in self.now.items()}


people = st.sets(st.integers(0, len(IDS) - 1))
builds = st.builds(
    Build,
    st.dictionaries(st.sampled_from(IDS), st.sampled_from(IDS), max_size=5),
    st.fixed_dictionaries({name: people for name in SEGMENTS}),
)


@given(st.lists(builds, min_size=1, max_size=5))
def test_entered_and_stayed_are_now_and_left_stayed_and_absorbed_are_before(
    history: list[Build],
) -> None:
    before: pa.Table | None = None
    for as_of, run in enumerate(history):
        table, counts = build(run.keys, PROFILES, before, run.changes, as_of)
        listed = [(row["segment"], row["profile_key"]) for row in table.to_pylist()]
        assert listed == sorted(listed)  # ids and keys ascend together here
        for name, figures in counts.items():
            were = [] if before is None else before["segment"].to_pylist()
            assert figures.members == len(run.now[name]) == [s for s, _ in listed].count(name)
            assert figures.entered + figures.stayed == figures.members
            assert figures.left + figures.stayed + figures.absorbed == were.count(name)
            assert min(vars(figures).values()) >= 0
        before = table


@given(st.lists(builds, min_size=1, max_size=5))
def test_since_is_what_following_each_person_by_hand_gives(history: list[Build]) -> None:
    before: pa.Table | None = None
    followed: dict[tuple[str, str], int] = {}
    for as_of, run in enumerate(history):
        before, _ = build(run.keys, PROFILES, before, run.changes, as_of)
        reached: dict[tuple[str, str], int] = {}
        for (name, profile), since in followed.items():
            today = (name, run.successor.get(profile, profile))
            reached[today] = min(since, reached.get(today, since))
        members = {(name, IDS[key]) for name, keys in run.now.items() for key in keys}
        followed = {member: reached.get(member, as_of) for member in members}
        rows = before.to_pylist()
        assert {(r["segment"], r["profile_id"]): r["since"] for r in rows} == followed


# --- exports ------------------------------------------------------------------------------------

DESTINATION = Destination(
    name="crm", purpose="marketing", columns={"who": "profile_id", "email": "identity.email"}
)
FIELDS = {"who": Field("profile_id"), "email": Field("identity", "email")}


def published(
    run: Build, memberships: pa.Table, refused: set[int], reachable: set[int]
) -> Published:
    identities = [
        [name, *([f"email:{name[-1]}@x"] if key in reachable else [])]
        for key, name in enumerate(IDS)
    ]
    none = pa.table({"goal": pa.array([], pa.string()), "profile_key": pa.array([], pa.int64())})
    return Published(
        memberships=memberships,
        profiles=PROFILES.append_column("identities", pa.array(identities)),
        scores=none,
        factors=none,
        consents_now=pa.table(
            {
                "profile_key": pa.array(sorted(refused), pa.int64()),
                "purpose": pa.array(["marketing"] * len(refused), pa.string()),
                "allowed": pa.array([False] * len(refused), pa.bool_()),
            }
        ),
        identity_index=pa.table({"identity": IDS, "identity_key": list(range(len(IDS)))}),
        contacts=pa.table({"identity_key": pa.array([], pa.int64()), "raw": pa.array([], "str")}),
    )


@settings(max_examples=60)
@given(st.lists(st.tuples(builds, people, people, st.sampled_from([0.0, 0.5, 0.9])), max_size=4))
def test_every_member_is_sent_or_has_one_reason_and_is_held_out_for_good(
    history: list[tuple[Build, set[int], set[int], float]],
) -> None:
    memberships: pa.Table | None = None
    log: pa.Table | None = None
    held: set[str] = set()
    sent: set[str] = set()
    for as_of, (run, refused, reachable, share) in enumerate(history):
        memberships, _ = build(run.keys, PROFILES, memberships, run.changes, as_of)
        log = carried(log, run.changes)
        held = {run.successor.get(who, who) for who in held}
        sent = {run.successor.get(who, who) for who in sent} - held
        segment = Segment(name="lapsing", where="any(x)", holdout=share)
        tables = published(run, memberships, refused, reachable)
        export = build_export(segment, DESTINATION, FIELDS, tables, log, as_of)
        written = export.rows["who"].to_pylist()
        rows = export.deliveries.to_pylist()
        assert export.members == len(run.now["lapsing"]) == len(rows)
        assert len(written) == export.members - sum(export.left_out.values())
        assert sum(export.statements.values()) == export.members
        assert written == [row["profile_id"] for row in rows if row["status"] == "sent"]
        held_now = {row["profile_id"] for row in rows if row["status"] == "held_out"}
        assert not held & set(written)
        assert not sent & held_now
        assert share or held_now <= held
        held, sent = held | held_now, sent | set(written)
        log = pa.concat_tables([log, export.deliveries])
