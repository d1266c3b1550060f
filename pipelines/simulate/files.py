"""Events written as gzipped JSON lines, one file a month, keys absent where they do not apply.

Lines are joined column by column in pyarrow, which is some ten times faster than encoding a
dictionary an event; every text that enters a line is one of ours and needs no escaping.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.simulate.happenings import (
    CART,
    NONE,
    PAGE,
    PURCHASE,
    TERMS,
    TYPES,
    VIEW,
    Events,
)
from pipelines.simulate.identities import Seen
from pipelines.simulate.life import Sessions
from pipelines.simulate.world import CATEGORIES, CHANNELS, DEVICES, TOPICS, Ints, Texts

JUNK = ("", "undefined", "null")
CHUNK = 100_000
COMPRESSION = 3


def event_ids(events: Events) -> Any:
    """Return the id of every event: `e` and nine digits."""
    return pa.array(np.char.add("e", np.char.zfill(np.arange(len(events)).astype(str), 9)))


def instants(micros: Ints) -> Texts:
    """Write microseconds as ISO 8601 in UTC with milliseconds."""
    text = np.datetime_as_string((micros // 1_000).astype("datetime64[ms]"))
    return np.char.add(text, "Z")


def write_events(
    folder: Path, events: Events, sessions: Sessions, seen: Seen,
    cookies: Texts, customers: Texts, progress: Callable[[float], None],
) -> list[Path]:  # fmt: skip
    """Write `events-YYYY-MM.jsonl.gz` into `folder`, one file a month; return the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    ids = event_ids(events)
    paths = []
    for month, first, last in _months(events.ts):
        path = folder / f"events-{month}.jsonl.gz"
        with (
            path.open("wb") as raw,
            gzip.GzipFile("", "wb", compresslevel=COMPRESSION, fileobj=raw, mtime=0) as file,
        ):
            for begin in range(first, last, CHUNK):
                part = np.arange(begin, min(begin + CHUNK, last))
                lines = _lines(events, sessions, seen, cookies, customers, ids, part)
                file.write("".join(lines.to_pylist()).encode())
        paths.append(path)
        progress(last / len(events))
    return paths


def _months(ts: Ints) -> Iterator[tuple[str, int, int]]:
    months = ts.astype("datetime64[us]").astype("datetime64[M]")
    names, first = np.unique(months, return_index=True)
    edges = [*first.tolist(), len(ts)]
    for number, name in enumerate(names):
        yield str(name), edges[number], edges[number + 1]


def _lines(
    events: Events, sessions: Sessions, seen: Seen,
    cookies: Texts, customers: Texts, ids: Any, part: Ints,
) -> Any:  # fmt: skip
    session, kind = events.session[part], events.kind[part]
    person = sessions.person[session]
    page, offer = kind == PAGE, np.isin(kind, (VIEW, CART))
    bought, cents = kind == PURCHASE, events.cents[part]
    junk = events.junk[part]
    customer = np.where(junk > 0, np.array(JUNK)[junk], customers[person])
    columns = [
        _joined('{"id":"', ids.take(part), '"'),
        _text("ts", instants(events.ts[part])),
        _text("received_at", instants(events.received_at[part])),
        _text("type", np.array(TYPES)[kind]),
        _text("cookie", cookies[seen.cookie[session]]),
        _text("customer", customer, events.logged_in[part] | (junk > 0)),
        _text("channel", np.array(CHANNELS)[sessions.channel[session]], page),
        _text("device", np.array(DEVICES)[sessions.mobile[session].astype(int)], page),
        _choice("category", CATEGORIES, events.category[part]),
        _number("price", _money(cents), offer),
        _number("amount", _money(cents), bought),
        _number("items", events.items[part].astype(str), bought),
        _choice("term", TERMS, events.term[part]),
        _choice("topic", TOPICS, events.topic[part]),
        pa.array(np.full(len(part), "}\n")),
    ]
    return pc.binary_join_element_wise(*columns, "", null_handling="skip")


def _joined(*parts: Any) -> Any:
    return pc.binary_join_element_wise(*parts, "")


def _text(key: str, values: Any, present: Any = True) -> Any:
    absent = np.broadcast_to(~np.asarray(present, dtype=bool), len(values))
    return _joined(f',"{key}":"', pa.array(values, mask=absent), '"')


def _number(key: str, values: Any, present: Any) -> Any:
    return _joined(f',"{key}":', pa.array(values, mask=~present))


def _choice(key: str, choices: tuple[str, ...], number: Ints) -> Any:
    return _text(key, np.array(choices)[np.maximum(number, 0)], number != NONE)


def _money(cents: Ints) -> Texts:
    """Write cents as a decimal number: 1250 is 12.50."""
    known = np.maximum(cents, 0)
    fraction = np.array([f".{rest:02d}" for rest in range(100)])[known % 100]
    return np.char.add((known // 100).astype(str), fraction)
