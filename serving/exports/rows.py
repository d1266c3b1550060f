"""The rows of one export: everyone of a segment who may be sent to one destination.

Everyone else is counted under one reason, the first that holds: they opted out of the purpose, they
lack an identity the file needs, or they are held out. So those held out and those sent are drawn
from the same people, and comparing them is fair.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.settings import Destination, Segment
from serving.exports.columns import Field
from serving.exports.deliveries import DELIVERIES, file_name
from serving.exports.holdout import assign
from serving.segments.membership import opted_out

REASONS = ("opted_out", "no_identity", "held_out")


@dataclass(frozen=True)
class Published:
    """The tables of one run that exports read, each as the run wrote it."""

    memberships: pa.Table
    profiles: pa.Table
    scores: pa.Table
    factors: pa.Table
    consents_now: pa.Table
    identity_index: pa.Table
    contacts: pa.Table


@dataclass(frozen=True)
class Export:
    """What is sent, and why others are not.

    `rows` has the destination's columns, by ascending profile id. `left_out` counts every reason,
    zeros included. `statements` counts the members who allowed the purpose, refused it, or said
    nothing (who are sent). `deliveries` has one row a member.
    """

    segment: Segment
    destination: Destination
    as_of: int
    rows: pa.Table
    members: int
    left_out: Mapping[str, int]
    statements: Mapping[str, int]
    deliveries: pa.Table


def build(
    segment: Segment,
    destination: Destination,
    fields: Mapping[str, Field],
    run: Published,
    deliveries: pa.Table,
    as_of: int,
) -> Export:
    """Return the export of one segment to one destination.

    `fields` come from `columns.fields_of`, `deliveries` (of earlier runs) from
    `deliveries.carried`. Grain: one row a member sent.
    """
    members = run.memberships.filter(pc.equal(run.memberships["segment"], segment.name))
    people = members.select(["profile_id", "profile_key"]).sort_by("profile_id").combine_chunks()
    filler = _Filler(segment.name, people, run, as_of)
    columns = {name: filler.column(field) for name, field in fields.items()}
    refused, statements = _consent(filler.key, destination.purpose, run.consents_now)
    lacking = [pc.is_null(columns[n]) for n, field in fields.items() if field.kind == "identity"]
    no_identity = reduce(pc.or_, lacking, pa.array(np.zeros(len(people), dtype=bool)))
    ids = people["profile_id"].combine_chunks()
    assigned = assign(segment, ids, deliveries, as_of)
    reason = pc.case_when(pc.make_struct(refused, no_identity, assigned.held), *REASONS)
    return Export(
        segment=segment,
        destination=destination,
        as_of=as_of,
        rows=pa.table(columns).filter(pc.is_null(reason)),
        members=len(people),
        left_out={each: _count(pc.equal(reason, each)) for each in REASONS},
        statements=statements,
        deliveries=_logged(segment, destination, ids, reason, assigned.first_assigned, as_of),
    )


def _logged(
    segment: Segment,
    destination: Destination,
    ids: pa.Array,
    reason: pa.Array,
    first_assigned: pa.Array,
    as_of: int,
) -> pa.Table:
    held_out, sent = pc.equal(reason, "held_out"), pc.is_null(reason)
    left_out = pc.invert(pc.or_(sent, pc.fill_null(held_out, False)))
    status = pc.case_when(pc.make_struct(sent, held_out), "sent", "held_out", "left_out")
    columns = {
        "segment": pa.repeat(segment.name, len(ids)),
        "destination": pa.repeat(destination.name, len(ids)),
        "profile_id": ids,
        "status": status,
        "reason": pc.if_else(left_out, reason, None),
        "as_of": pa.repeat(pa.scalar(as_of, pa.int64()), len(ids)),
        "first_assigned": pc.if_else(left_out, None, first_assigned),
        "file": pa.repeat(file_name(segment.name, destination, as_of), len(ids)),
    }
    return pa.table(columns, schema=DELIVERIES)


def _consent(
    keys: pa.Array, purpose: str, consents: pa.Table
) -> tuple[pa.BooleanArray, dict[str, int]]:
    """Return who refused the purpose or everything, and how many members said what of it."""
    everything = pc.is_in(keys, opted_out(consents))
    stated = consents.filter(pc.equal(consents["purpose"], purpose))
    place = pc.index_in(keys, value_set=stated["profile_key"].combine_chunks())
    allowed = stated["allowed"].combine_chunks().take(place)
    refused = pc.fill_null(pc.invert(allowed), False)
    counts = {"allowed": _count(allowed), "refused": _count(refused)}
    return pc.or_(refused, everything), counts | {"unstated": len(keys) - sum(counts.values())}


def _count(flags: pa.Array) -> int:
    return int(pc.sum(flags).as_py() or 0)


class _Filler:
    """Fills columns for the people of one export: a value each, in their order."""

    def __init__(self, segment: str, people: pa.Table, run: Published, as_of: int) -> None:
        self.segment, self.people, self.run, self.as_of = segment, people, run, as_of
        self.key = people["profile_key"].combine_chunks()
        profile_keys = run.profiles["profile_key"].combine_chunks()
        self.profile = pc.index_in(self.key, value_set=profile_keys)

    def column(self, field: Field) -> pa.ChunkedArray | pa.Array:
        """Return the values of one field; null where the person has none."""
        match field.kind:
            case "profile_id":
                return self.people["profile_id"]
            case "identity":
                return self._identity(field)
            case "profile":
                return self._attribute(field.name)
            case "measure":
                return (
                    self.run.profiles[f"measure_{field.name}"].combine_chunks().take(self.profile)
                )
            case "score":
                return self._score(field)
            case "factor":
                return self._factor(field)
            case "segment":
                return pa.repeat(self.segment, len(self.people))
            case "as_of":
                moment = pa.scalar(self.as_of, pa.timestamp("us", "UTC"))
                return pa.repeat(moment, len(self.people))

    def _attribute(self, name: str) -> pa.Array:
        column = self.run.profiles[f"profile_{name}"].combine_chunks().take(self.profile)
        if pa.types.is_int64(column.type):  # a date, kept as microseconds
            return column.cast(pa.timestamp("us")).cast(pa.date32(), safe=False)
        return column

    def _score(self, field: Field) -> pa.Array:
        scores = self.run.scores.filter(pc.equal(self.run.scores["goal"], field.name))
        place = self._place_in(scores)
        if field.part == "status":
            # A member is a profile, so somebody with history: only eligibility is in question.
            return pc.if_else(pc.is_valid(place), "scored", "not_eligible")
        return scores[field.part].combine_chunks().take(place)

    def _factor(self, field: Field) -> pa.Array:
        factors = self.run.factors
        wanted = pc.and_(
            pc.equal(factors["goal"], field.name), pc.equal(factors["rank"], field.rank)
        )
        ranked = factors.filter(wanted)
        return ranked[field.part].combine_chunks().take(self._place_in(ranked))

    def _place_in(self, table: pa.Table) -> pa.Array:
        return pc.index_in(self.key, value_set=table["profile_key"].combine_chunks())

    def _identity(self, field: Field) -> pa.Array:
        """Return each person's first identity of a namespace, of those that have a value."""
        listed = self.run.profiles["identities"].combine_chunks().take(self.profile)
        owner, text = pc.list_parent_indices(listed), pc.list_flatten(listed)
        mine = pc.starts_with(text, f"{field.name}:")
        owner, text = owner.filter(mine), text.filter(mine)
        value = self._raw(text) if field.pii else pc.utf8_slice_codeunits(text, len(field.name) + 1)
        table = pa.table({"owner": owner, "text": text, "value": value})
        table = table.filter(pc.is_valid(table["value"]))
        table = table.sort_by([("owner", "ascending"), ("text", "ascending")])
        people = pa.array(np.arange(len(self.people)), table["owner"].type)
        # index_in finds the first of equal owners: the least text, hence the least key.
        place = pc.index_in(people, value_set=table["owner"].combine_chunks())
        return table["value"].combine_chunks().take(place)

    def _raw(self, identities: pa.Array) -> pa.Array:
        """Return what the source wrote for identities that are kept as a hash."""
        index, contacts = self.run.identity_index, self.run.contacts
        place = pc.index_in(identities, value_set=index["identity"].combine_chunks())
        keys = index["identity_key"].combine_chunks().take(place)
        found = pc.index_in(keys, value_set=contacts["identity_key"].combine_chunks())
        return contacts["raw"].combine_chunks().take(found)
