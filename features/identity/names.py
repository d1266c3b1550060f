"""The texts of identities by key: read when first asked for, and no Python object each."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray


class Names(Sequence[str]):
    """The identities of one version of the united tables: position is key."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._count: int = pq.read_metadata(path).num_rows

    @cached_property
    def texts(self) -> pa.Array:
        """All texts, in order of keys."""
        column = pq.read_table(self._path, columns=["identity"])["identity"]
        return column.cast(pa.large_string()).combine_chunks()

    def take(self, keys: NDArray[np.int64]) -> pa.Array:
        """Return the texts of many keys."""
        return self.texts.take(pa.array(keys, pa.int64())).cast(pa.string())

    def keys_of(self, texts: Collection[str]) -> dict[str, int]:
        """Return the key of each text that is an identity here."""
        if not texts:
            return {}
        named = pa.array(sorted(texts), pa.large_string())
        place = pc.index_in(self.texts, value_set=named)
        keys = np.flatnonzero(pc.is_valid(place).to_numpy(zero_copy_only=False))
        found = named.take(place.drop_null()).to_pylist()
        return dict(zip(found, keys.tolist(), strict=True))

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, key: int) -> str: ...
    @overload
    def __getitem__(self, key: slice) -> list[str]: ...
    def __getitem__(self, key: int | slice) -> str | list[str]:
        if isinstance(key, slice):
            found: list[str] = self.texts[key].to_pylist()
            return found
        return str(self.texts[int(key)].as_py())

    def __iter__(self) -> Iterator[str]:
        return iter(self.texts.to_pylist())

    def __contains__(self, text: object) -> bool:
        return isinstance(text, str) and int(pc.index(self.texts, text).as_py()) >= 0

    def index(self, text: str, start: int = 0, stop: int | None = None) -> int:
        """Return the key of an identity; raises `ValueError` where there is none."""
        key = int(pc.index(self.texts, text, start, stop).as_py())
        if key < 0:
            raise ValueError(f"{text!r} is no identity here.")
        return key
