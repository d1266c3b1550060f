"""Who was erased: keyed hashes of their identities, and when. Nothing here names anybody.

`erasures/ledger.jsonl` in the store has one line an erasure, only ever added. An identity stands in
it as its HMAC-SHA256 under the key in `erasures/key` (random, readable by its owner alone), so
whoever holds the ledger without the key cannot even try addresses. An erasure is open until its
receipt is written: whatever a killed command left undone, the next one does.

From its erasure on, an identity is nobody in every row dated before it. Rows dated later count: the
person may come back by acting anew, and does not come back when old files are read again.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa

from features.errors import StoreError
from features.store import write_whole

LEDGER, KEY, RECEIPTS = "ledger.jsonl", "key", "receipts"
KEY_BYTES = 32


class ErasureKeyMissing(StoreError):
    """A store that has an erasure ledger but no key to read it with."""

    code = "erasure_key_missing"


@dataclass(frozen=True)
class Erasure:
    """One erasure as the ledger has it: `at` in microseconds, `hashes` of the person's identities.

    `counts` says what there was of the person, by table; `models` are the bundles (goal, version)
    that were trained while they were known.
    """

    id: str
    at: int
    hashes: tuple[str, ...]
    counts: Mapping[str, int] = field(default_factory=dict)
    models: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Erasures:
    """All erasures of a store, in order, and the key that their hashes were made with."""

    key: bytes = b""
    records: tuple[Erasure, ...] = ()

    @classmethod
    def read(cls, root: Path) -> Erasures:
        """Return the erasures of the store at `root`; raise `ErasureKeyMissing` without a key."""
        try:
            lines = (root / "erasures" / LEDGER).read_text().splitlines()
        except FileNotFoundError:
            return cls()
        return cls(_read_key(root), tuple(_record(json.loads(line)) for line in lines))

    def __len__(self) -> int:
        return len(self.records)

    def hash(self, identity: str) -> str:
        """Return the keyed hash of an identity (`namespace:value`)."""
        return hmac.digest(self.key, identity.encode(), "sha256").hex()

    def place(self, identity: str) -> int:
        """Return the number, from 1, of the last erasure of an identity; 0 for never."""
        return self._places.get(self.hash(identity), 0) if self.records else 0

    @property
    def table(self) -> pa.Table:
        """The ledger as a table: hash, erased_at (of the last erasure); a row a hash."""
        found = {key: self.records[place - 1].at for key, place in self._places.items()}
        columns = {"hash": list(found), "erased_at": list(found.values())}
        return pa.table(columns, pa.schema([("hash", pa.string()), ("erased_at", pa.int64())]))

    @cached_property
    def _places(self) -> dict[str, int]:
        return {key: n for n, record in enumerate(self.records, 1) for key in record.hashes}


def spellings(identity: str, written: Iterable[str] = ()) -> set[str]:
    """Return the texts an identity may have, whether its namespace is personal data or not.

    `written` are the normalised values of a hashed identity, where they are known. So a change of
    `pii` in the project file brings nobody back.
    """
    namespace, _, value = identity.partition(":")
    hashed = f"{namespace}:{hashlib.sha256(value.encode()).hexdigest()}"
    return {identity, hashed} | {f"{namespace}:{text}" for text in written}


def record(
    root: Path, at: int, identities: Iterable[str], counts: Mapping[str, int],
    models: Iterable[tuple[str, str]],
) -> Erasure:  # fmt: skip
    """Add an erasure to the ledger of the store at `root`; it is on disk when this returns."""
    made = root / "erasures" / KEY
    if not made.exists() and not (root / "erasures" / LEDGER).exists():
        _make_key(made)
    before = Erasures.read(root).records
    keyed = Erasures(_read_key(root))
    hashes = tuple(sorted({keyed.hash(identity) for identity in identities}))
    added = Erasure(secrets.token_hex(8), at, hashes, dict(counts), tuple(models))
    lines = [json.dumps(asdict(each), sort_keys=True) + "\n" for each in (*before, added)]
    write_whole(root / "erasures" / LEDGER, "".join(lines).encode())
    return added


def ledger_state(root: Path) -> tuple[int, int]:
    """Return what changes whenever the ledger of the store at `root` does."""
    try:
        found = (root / "erasures" / LEDGER).stat()
    except FileNotFoundError:
        return (0, 0)
    return found.st_mtime_ns, found.st_size


def close(root: Path, erasure: str, receipt: Mapping[str, Any]) -> None:
    """Write the receipt of an erasure of which nothing is left to do."""
    write_whole(_receipt(root, erasure), json.dumps(receipt, indent=1, sort_keys=True).encode())


def open_erasures(root: Path, erasures: Erasures) -> Erasures:
    """Return only the erasures that have no receipt yet: whatever names their people is to go."""
    left = (each for each in erasures.records if not _receipt(root, each.id).exists())
    return Erasures(erasures.key, tuple(left))


def _receipt(root: Path, erasure: str) -> Path:
    return root / "erasures" / RECEIPTS / f"{erasure}.json"


def _record(raw: dict[str, Any]) -> Erasure:
    models = tuple((goal, version) for goal, version in raw["models"])
    return Erasure(raw["id"], raw["at"], tuple(raw["hashes"]), raw["counts"], models)


def _read_key(root: Path) -> bytes:
    try:
        return (root / "erasures" / KEY).read_bytes()
    except FileNotFoundError as error:
        raise ErasureKeyMissing(
            "The store has an erasure ledger, but its key is gone: nobody can say who was erased.",
            hint="Put erasures/key back from a backup. Without it, erased people would come back.",
        ) from error


def _make_key(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{KEY}.draft")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as handle:
        handle.write(secrets.token_bytes(KEY_BYTES))
        handle.flush()
        os.fsync(handle.fileno())
    # The ledger, written next into the same folder, brings this name to disk as well.
    draft.replace(path)
