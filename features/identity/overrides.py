"""Overrides: what people have found out about identities, as small tables beside the data.

`always` (a pair that is one person), `never` (a pair that is two people), `bypass` (an identity
that makes no links) and `aliases` (an alias is another spelling of an identity). Identities are
written `namespace:value`; personal ones raw, or hashed as the tables keep them. They are normalised
as those of rows are.

A row with `known_from` counts from then on, as a row of data does. One without it is a correction:
it holds at all times, the past that models learn from included. Aliases are always that.

A row that cannot be used is counted by a code and changes nothing: `malformed_row` (it does not fit
the header, or a value is no text), `unknown_namespace` (or no colon), `no_value` (it is empty or
junk), one of `namespaces.REASONS` (a value that is no identity in rows either), `bad_known_from`,
`self_pair` (both sides are one identity, aliases followed), `no_links` (`always` with a namespace
that never links), `never_and_always` (the pair is in `never` too, which holds), `other_namespace`
(an alias of an identity of another kind), `alias_of_two` (all rows of that alias are refused),
`alias_cycle` (every row of the cycle is), `erased` (it names somebody who was erased: what was
found out of them before is gone with them).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from features import time
from features.errors import TimeError
from features.identity.namespaces import judge
from features.identity.override_files import Line, Values, read
from features.settings import NEVER_LINK, Identity, Namespace
from features.store import Manifest, Store, key_of

TABLE = "overrides"
VERSION = 1
NAMES = ("always", "never", "bypass", "aliases")

Pair = tuple[str, str]


@dataclass(frozen=True)
class Judged:
    """What became of the rows of one table: rows = applied + duplicates + refused, by code.

    An example is the first row of a code, with its value where that is not personal.
    """

    rows: int
    applied: int
    duplicates: int
    refused: Mapping[str, int]
    examples: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Overrides:
    """The rows that can be used, with identities as the tables have them.

    `always` and `never`: pairs in order of text, with aliases followed, and `bypass`: identities;
    each with the moment it is known from (`EARLIEST`: at all times). `aliases`: alias to the
    identity that it spells, chains followed. `judged` says what became of every row, by table.
    """

    always: Mapping[Pair, int] = field(default_factory=dict)
    never: Mapping[Pair, int] = field(default_factory=dict)
    bypass: Mapping[str, int] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)
    judged: Mapping[str, Judged] = field(default_factory=dict)

    @property
    def version(self) -> str:
        """A name for what these overrides say, whoever wrote it how; empty where they say nothing.

        Everything that depends on who is who is made anew when it changes.
        """
        said = [sorted(getattr(self, name).items()) for name in NAMES]
        return key_of(TABLE, VERSION, said) if any(said) else ""

    @property
    def key(self) -> str:
        """The version of the stored tables: what they say, and what became of every row."""
        return key_of(TABLE, self.version, {n: asdict(each) for n, each in self.judged.items()})

    def identities(self) -> set[str]:
        """Return every identity that is named."""
        pairs = {identity for pair in (*self.always, *self.never) for identity in pair}
        return pairs | {*self.bypass, *self.aliases, *self.aliases.values()}

    def spellings(self, identity: str) -> tuple[str, ...]:
        """Return every spelling of an identity: the one that leads, then its aliases by text."""
        leading = self.aliases.get(identity, identity)
        return (leading, *self._aliases_of.get(leading, ()))

    def other_spellings(self, identities: Iterable[str]) -> tuple[str, ...]:
        """Return all other spellings of identities, whether or not any row has them."""
        if not self.aliases:
            return ()
        return tuple(text for each in identities for text in self.spellings(each) if text != each)

    @cached_property
    def _aliases_of(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for alias, identity in sorted(self.aliases.items()):
            found.setdefault(identity, []).append(alias)
        return found

    def not_seen(self, seen: Collection[str]) -> dict[str, int]:
        """Return, by table, the rows that wait: no row of data has one of their identities."""

        def there(identity: str) -> bool:
            return any(spelling in seen for spelling in self.spellings(identity))

        def waiting(pairs: Mapping[Pair, int]) -> int:
            return sum(not (there(a) and there(b)) for a, b in pairs)

        return {
            "always": waiting(self.always),
            "never": waiting(self.never),
            "bypass": sum(not there(identity) for identity in self.bypass),
            "aliases": sum(alias not in seen for alias in self.aliases),
        }

    def write(self, store: Store) -> None:
        """Write the tables into the store as version `key`, unless they stand there."""
        if store.has(TABLE, self.key):
            return
        with store.writing(TABLE, self.key) as (folder, facts):
            for name in NAMES:
                table = pa.Table.from_pylist(list(self._rows(name)), schema=_SCHEMAS[name])
                pq.write_table(table, folder / f"{name}.parquet", compression="zstd")
            facts["version"] = self.version
            facts["judged"] = {name: asdict(each) for name, each in self.judged.items()}

    def _rows(self, name: str) -> Iterator[dict[str, Any]]:
        for said, value in sorted(getattr(self, name).items()):
            values = (*said, value) if isinstance(said, tuple) else (said, value)
            yield dict(zip(_SCHEMAS[name].names, values, strict=True))


def load(store: Store, key: str) -> Overrides:
    """Return the overrides that were applied in a run, by the version of their tables."""
    folder = store.folder(TABLE, key)
    tables = {name: pq.read_table(folder / f"{name}.parquet").to_pylist() for name in NAMES}
    judged = store.facts(TABLE, key)["judged"]
    return Overrides(
        always={(row["a"], row["b"]): row["known_from"] for row in tables["always"]},
        never={(row["a"], row["b"]): row["known_from"] for row in tables["never"]},
        bypass={row["identity"]: row["known_from"] for row in tables["bypass"]},
        aliases={row["alias"]: row["identity"] for row in tables["aliases"]},
        judged={name: Judged(**each) for name, each in judged.items()},
    )


def applied(store: Store, manifest: Manifest) -> Overrides:
    """Return the overrides that the published run applied."""
    key = manifest.tables.get(TABLE)
    return load(store, key) if key else Overrides()


def _schema(**columns: str) -> pa.Schema:
    return pa.schema([(name, pa.type_for_alias(kind)) for name, kind in columns.items()])


_SCHEMAS = {
    "always": _schema(a="string", b="string", known_from="int64"),
    "never": _schema(a="string", b="string", known_from="int64"),
    "bypass": _schema(identity="string", known_from="int64"),
    "aliases": _schema(alias="string", identity="string"),
}


# Reading -----------------------------------------------------------------------------------------


def read_overrides(
    identity: Identity,
    folder: Path,
    time_zone: str,
    erased: Callable[[str], object] = lambda identity: False,
) -> Overrides:
    """Read and judge the tables that the settings name, relative to `folder`.

    Naive times are those of `time_zone`; `erased` says who was erased. Raises `BadOverrides` for a
    file that cannot be used at all; a row that cannot is counted in `judged`.
    """
    reader = _Reader(identity, folder, time_zone, erased)
    aliases = reader.aliases()
    never = reader.pairs("never", aliases, {})
    always = reader.pairs("always", aliases, never)
    bypass = reader.bypass(aliases)
    stated = [name for name in NAMES if getattr(identity.overrides, name)]
    return Overrides(always, never, bypass, aliases, {n: reader.judged[n] for n in stated})


class _Refused(Exception):
    """A row that changes nothing: its code, and the text at fault."""

    def __init__(self, code: str, text: str = "") -> None:
        super().__init__(code)
        self.code, self.text = code, text


class _Reader:
    """Reads the tables one after the other and keeps count of what becomes of their rows."""

    def __init__(
        self, identity: Identity, folder: Path, time_zone: str, erased: Callable[[str], object]
    ) -> None:
        self.identity, self.folder, self.time_zone = identity, folder, time_zone
        self.erased = erased
        self.spaces = {namespace.name: namespace for namespace in identity.namespaces}
        self.judged: dict[str, Judged] = {}

    def pairs(
        self, name: str, aliases: Mapping[str, str], never: Mapping[Pair, int]
    ) -> dict[Pair, int]:
        """Return the pairs of `always` or `never`, each with the moment it is known from."""

        def pair(values: Values) -> tuple[Pair, int]:
            a, b = sorted(self._leading(values, column, aliases) for column in ("a", "b"))
            if a == b:
                raise _Refused("self_pair", values["a"])
            if name == "always":
                self._refuse_unlinkable(values)
            if (a, b) in never:
                raise _Refused("never_and_always", values["a"])
            return (a, b), self._known_from(values)

        return self._earliest(name, ("a", "b"), pair)

    def bypass(self, aliases: Mapping[str, str]) -> dict[str, int]:
        """Return the identities that make no links, with the moment that is known from."""
        return self._earliest(
            "bypass",
            ("identity",),
            lambda values: (self._leading(values, "identity", aliases), self._known_from(values)),
        )

    def aliases(self) -> dict[str, str]:
        """Return alias to the identity it spells, chains followed."""

        def alias(values: Values) -> Pair:
            alias, identity = self._identity(values, "alias"), self._identity(values, "identity")
            if alias == identity:
                raise _Refused("self_pair", values["alias"])
            if alias.partition(":")[0] != identity.partition(":")[0]:
                raise _Refused("other_namespace", values["alias"])
            return alias, identity

        count, rows = self._judge("aliases", ("alias", "identity"), ("note",), alias)
        targets: dict[str, set[str]] = {}
        for _, (said, identity) in rows:
            targets.setdefault(said, set()).add(identity)
        single = {said: min(found) for said, found in targets.items() if len(found) == 1}
        cycles = _in_cycles(single)
        for line, (said, _) in rows:
            if code := _wrong_alias(said, single, cycles):
                count.refuse(line.number, code, self._shown((line.values or {})["alias"]))
        kept = {said: identity for said, identity in single.items() if said not in cycles}
        self.judged["aliases"] = count.judged(len(kept))
        return _followed(kept)

    def _earliest(
        self,
        name: str,
        columns: tuple[str, ...],
        one: Callable[[Values], tuple[Any, int]],
    ) -> dict[Any, int]:
        count, rows = self._judge(name, columns, ("known_from", "note"), one)
        found: dict[Any, int] = {}
        for _, (said, known_from) in rows:
            found[said] = min(known_from, found.get(said, known_from))
        self.judged[name] = count.judged(len(found))
        return found

    def _judge(
        self,
        name: str,
        required: tuple[str, ...],
        optional: tuple[str, ...],
        one: Callable[[Values], Any],
    ) -> tuple[_Count, list[tuple[Line, Any]]]:
        """Return what each usable row of a table says, and the count of all its rows."""
        path = getattr(self.identity.overrides, name)
        lines = read(name, path, self.folder, required, optional) if path else []
        count, said = _Count(len(lines)), []
        for line in lines:
            try:
                if line.values is None:
                    raise _Refused("malformed_row")
                said.append((line, one(line.values)))
            except _Refused as refused:
                count.refuse(line.number, refused.code, self._shown(refused.text))
        return count, said

    def _leading(self, values: Values, column: str, aliases: Mapping[str, str]) -> str:
        identity = self._identity(values, column)
        return aliases.get(identity, identity)

    def _identity(self, values: Values, column: str) -> str:
        """Return the identity that stands in a column, as the tables of data have it."""
        text = values.get(column, "")
        if not text.strip():
            raise _Refused("no_value")
        namespace, value = self._space(text), text.partition(":")[2]
        if namespace is None:
            raise _Refused("unknown_namespace")
        found = judge(self.identity, namespace, value)
        if found.identity is None:
            raise _Refused(found.reason or "no_value", text)
        if self.erased(found.identity):
            raise _Refused("erased")
        return found.identity

    def _space(self, text: str) -> Namespace | None:
        name, colon, _ = text.partition(":")
        return self.spaces.get(name.strip()) if colon else None

    def _refuse_unlinkable(self, values: Values) -> None:
        for column in ("a", "b"):
            namespace = self._space(values[column])
            if namespace and namespace.type in NEVER_LINK:
                raise _Refused("no_links", values[column])

    def _known_from(self, values: Values) -> int:
        text = values.get("known_from", "").strip()
        if not text:
            return time.EARLIEST
        try:
            moment = time.parse_instant(text, self.time_zone)
        except (TimeError, OverflowError) as error:
            raise _Refused("bad_known_from") from error
        if not time.within(moment, time.EARLIEST, time.LATEST):
            raise _Refused("bad_known_from")
        return moment

    def _shown(self, text: str) -> str | None:
        """Return as much of an identity as may be shown: nothing that could be personal."""
        namespace = self._space(text)
        if namespace is None:
            return None
        return f"{namespace.name}:…" if namespace.pii else text[:100]


class _Count:
    """Counts the rows of one table."""

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.refused: dict[str, int] = {}
        self.examples: dict[str, dict[str, Any]] = {}

    def refuse(self, number: int, code: str, shown: str | None) -> None:
        """Count a refused row; the first of a code is its example."""
        self.refused[code] = self.refused.get(code, 0) + 1
        first = self.examples.get(code)
        if first is None or number < first["row"]:
            self.examples[code] = {"row": number, "value": shown}

    def judged(self, applied: int) -> Judged:
        """Return the counts, given how many different rows are applied."""
        duplicates = self.rows - applied - sum(self.refused.values())
        return Judged(self.rows, applied, duplicates, self.refused, self.examples)


def _wrong_alias(alias: str, single: Mapping[str, str], cycles: Collection[str]) -> str:
    if alias not in single:
        return "alias_of_two"
    return "alias_cycle" if alias in cycles else ""


def _in_cycles(targets: Mapping[str, str]) -> set[str]:
    """Return the aliases that lead back to themselves."""
    done: set[str] = set()
    cycles: set[str] = set()
    for start in targets:
        path: dict[str, None] = {}
        here = start
        while here in targets and here not in done and here not in path:
            path[here] = None
            here = targets[here]
        if here in path:
            walked = list(path)
            cycles |= set(walked[walked.index(here) :])
        done |= path.keys()
    return cycles


def _followed(targets: Mapping[str, str]) -> dict[str, str]:
    """Return where each alias leads in the end; there is no cycle."""
    found: dict[str, str] = {}
    for alias in targets:
        path, here = [], alias
        while here in targets and here not in found:
            path.append(here)
            here = targets[here]
        found |= dict.fromkeys(path, found.get(here, here))
    return found
