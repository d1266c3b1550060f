"""A generation as rows of tables, whatever store they are put into.

Tables: `identities` (identity -> profile_id), `profiles` (profile_id -> JSON), `histories`
(profile_id -> packed), `parts` (identity that is not all of its person -> packed), `components`
(its first identity -> JSON), `reached` (identity -> the first of its component) and `vectors:GOAL`
(profile_id -> float64, little endian).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, astuple, fields
from itertools import islice
from typing import Any, TypeVar

import numpy as np
import orjson

from features.behavior.history import History
from features.behavior.packed import unpack
from features.errors import did_you_mean
from features.identity.live import Component
from serving.online import Floats, OnlineStoreError, ProfileRecord

FORMAT = 4
PEOPLE = ("identities", "profiles", "histories", "parts", "components", "reached")
ROWS_A_COMMIT = 20_000

Row = tuple[str, bytes]
Item = TypeVar("Item")


def rows_of(
    goals: Iterable[str],
    profiles: Iterable[ProfileRecord],
    vectors: Iterable[tuple[str, str, Floats]],
    histories: Iterable[tuple[str, bytes]],
    parts: Iterable[tuple[str, bytes]],
    components: Iterable[Component],
) -> Iterator[tuple[str, list[Row]]]:
    """Yield tables with rows to put into them, `ROWS_A_COMMIT` or a few more at once.

    Raises `OnlineStoreError` when vectors of one goal differ in length, or are of another goal.
    """
    for chunk in _chunks(profiles):
        yield "profiles", [(each.profile_id, orjson.dumps(asdict(each))) for each in chunk]
        yield "identities", [row for each in chunk for row in _pointers(each)]
    for table, packed in (("histories", histories), ("parts", parts)):
        yield from ((table, some) for some in _chunks(packed))
    for reached in _chunks(components):
        yield "components", [(each.identities[0], _component_bytes(each)) for each in reached]
        yield "reached", [row for each in reached for row in _reached(each)]
    widths: dict[str, int] = {}
    for rows in _chunks(vectors):
        for goal, found in _by_goal(rows, list(goals), widths).items():
            yield vectors_of(goal), found


def vectors_of(goal: str) -> str:
    """Return the name of the table of a goal's vectors."""
    return f"vectors:{goal}"


def meta_bytes(meta: Mapping[str, Any]) -> bytes:
    """Return the facts of a generation as they are kept."""
    return orjson.dumps({"format": FORMAT, **meta})


def meta_of(raw: bytes | None) -> dict[str, Any]:
    """Return the facts of a generation; raise `ValueError` when they are of another format."""
    meta: dict[str, Any] = orjson.loads(raw or b"{}")
    if meta.pop("format", None) != FORMAT:
        raise ValueError(f"it is not of format {FORMAT}")
    return meta


class Rows:
    """What the tables of one generation say, wherever a store keeps them."""

    def profile_id_of(self, identity: str) -> str | None:
        """Return the profile that holds an identity (`namespace:value`), or None."""
        found = self._get("identities", identity)
        return found.decode() if found is not None else None

    def profile(self, profile_id: str) -> ProfileRecord | None:
        """Return a profile, or None when there is none of that id."""
        found = self._get("profiles", profile_id)
        if found is None:
            return None
        said = orjson.loads(found)
        said |= {key: tuple(said[key]) for key in ("identities", "aliases", "segments")}
        return ProfileRecord(**said)

    def vector(self, profile_id: str, goal: str) -> Floats | None:
        """Return the features (n,) of a person eligible for `goal`, NaN = null; None otherwise."""
        found = self._get(vectors_of(goal), profile_id)
        return floats_of(found) if found is not None else None

    def history(self, profile_id: str) -> History | None:
        """Return what live features of a person are made of; None where it is not kept."""
        found = self._get("histories", profile_id)
        return unpack(found) if found is not None else None

    def part(self, identity: str) -> History | None:
        """Return what a history has of one identity; None where it is all of its person."""
        found = self._get("parts", identity)
        return unpack(found) if found is not None else None

    def component(self, identity: str) -> Component | None:
        """Return whom links reach from an identity; None where they reach nobody."""
        first = self._get("reached", identity)
        found = self._get("components", first.decode()) if first is not None else None
        if found is None:
            return None
        # JSON knows no tuples.
        values = zip(fields(Component), map(_as_tuple, orjson.loads(found)), strict=True)
        return Component(**{each.name: value for each, value in values})

    def _get(self, table: str, key: str) -> bytes | None:
        """Return the row of a table under a key, or None."""
        raise NotImplementedError


def _as_tuple(value: Any) -> Any:
    return tuple(map(_as_tuple, value)) if isinstance(value, list) else value


def _component_bytes(component: Component) -> bytes:
    return orjson.dumps(astuple(component))


def _reached(component: Component) -> Iterator[Row]:
    first = component.identities[0].encode()
    aliases = (text for text, _ in component.aliases)
    return ((identity, first) for identity in (*component.identities, *aliases))


def floats_of(raw: bytes) -> Floats:
    """Return a vector as it was put in."""
    return np.frombuffer(raw, "<f8").astype(np.float64)


def came_twice(table: str, count: int) -> OnlineStoreError:
    """Return the error of rows whose keys were there already."""
    return OnlineStoreError(
        f"{count} keys come twice in {table} of the online store.",
        hint="Each identity belongs to one profile, and each profile is there once.",
        table=table,
    )


def unreadable(place: object, why: str) -> OnlineStoreError:
    """Return the error of a generation that cannot be read."""
    return OnlineStoreError(
        f"The online store in {place} cannot be read: {why}.",
        hint="Publish a new one with `likelier run`.",
    )


def _pointers(record: ProfileRecord) -> Iterator[Row]:
    value = record.profile_id.encode()
    return ((identity, value) for identity in (*record.identities, *record.aliases))


def _by_goal(
    rows: list[tuple[str, str, Floats]], goals: list[str], widths: dict[str, int]
) -> dict[str, list[Row]]:
    """Sort vectors by goal; `widths` remembers how long each goal's vectors are."""
    found: dict[str, list[Row]] = {}
    for goal, profile_id, values in rows:
        if goal not in goals:
            raise OnlineStoreError(
                f"There are vectors of {goal!r}, which meta.goals lacks.",
                hint=did_you_mean(goal, goals),
            )
        if values.shape != (widths.setdefault(goal, values.size),):
            raise OnlineStoreError(
                f"A vector of {goal} has the shape {values.shape}, expected ({widths[goal]},).",
                hint="Give every person of a goal the columns of its bundle.",
            )
        found.setdefault(goal, []).append(
            (profile_id, np.ascontiguousarray(values, "<f8").tobytes())
        )
    return found


def _chunks(rows: Iterable[Item]) -> Iterator[list[Item]]:
    source = iter(rows)
    while chunk := list(islice(source, ROWS_A_COMMIT)):
        yield chunk
