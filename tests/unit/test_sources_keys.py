"""Keys of identities and pairs of rows: in order, each once, at a size worked in parts."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.engine import ROW_GROUP, Engine
from features.settings import Namespace
from features.sources.keys import Keys, links

SPACES = [Namespace(name="customer", type="person"), Namespace(name="email", type="email"),
          Namespace(name="cookie", type="cookie")]  # fmt: skip
COUNT = ROW_GROUP + 7


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with Engine(threads=2, temporary=tmp_path_factory.mktemp("engine")) as engine:
        yield engine


def test_the_position_of_an_identity_in_the_index_is_its_key(engine, tmp_path):
    mixed = np.random.default_rng(3).permutation(COUNT)
    columns = {f"id_{space.name}": [f"{space.name}:{value:09}" for value in mixed.tolist()]
               for space in SPACES}  # fmt: skip
    times = {name: np.zeros(COUNT, dtype=np.int64) for name in ("event_time", "known_at")}
    rows = engine.hold(engine.table(pa.table(columns | times)))
    keys = Keys(engine, SPACES, [rows])
    keys.write(tmp_path / "index.parquet")
    keyed = engine.arrow(keys.keyed(rows).select("key_customer", "key_email", "key_cookie"))
    index = pq.read_table(tmp_path / "index.parquet")
    assert index["identity_key"].to_pylist() == list(range(3 * COUNT))
    texts = index["identity"].to_pylist()
    assert texts == [text for space in SPACES for text in sorted(columns[f"id_{space.name}"])]
    for place, space in enumerate(SPACES):
        assert set(keyed[f"key_{space.name}"].to_pylist()) == set(
            range(place * COUNT, (place + 1) * COUNT)
        )


def test_a_sighting_stands_once_in_links_however_many_rows_and_columns_have_it(engine):
    rows = pa.table({
        "key_customer": [0, 0, 0, 1, None], "key_email": [5, 5, 5, 5, 5],
        "key_email.2": [5, 6, None, 5, 6],
        "event_time": [1, 1, 2, 1, 1], "known_at": [3, 3, 3, 3, 4],
    })  # fmt: skip
    found = engine.arrow(links([engine.table(rows)], SPACES)).to_pylist()
    assert [tuple(row[name] for name in ("a", "b", "event_time", "known_at")) for row in found] == [
        (0, 5, 1, 3), (0, 5, 2, 3), (0, 6, 1, 3), (1, 5, 1, 3), (5, 6, 1, 3), (5, 6, 1, 4),
    ]  # fmt: skip
