"""Taking erased people out of the journal, also while a service appends to it."""

from __future__ import annotations

import fcntl
from dataclasses import replace
from pathlib import Path

from features import time
from features.erasures import Erasures
from features.store import write_whole
from serving.journal.event import LiveEvent, event_of, line_of
from serving.journal.files import SEALED


def without_erased(event: LiveEvent, erasures: Erasures) -> LiveEvent | None:
    """Return an event without the identities that were erased after it happened.

    None where it is an erased person's own, by its primary identity.
    """
    gone = [identity for identity in event.identities if _erased(event, identity, erasures)]
    if not gone:
        return event
    if event.identities[0] in gone:
        return None
    spaces = {identity.partition(":")[0] for identity in gone}
    return replace(
        event,
        identities=tuple(each for each in event.identities if each not in gone),
        raw={name: value for name, value in event.raw.items() if name not in spaces},
    )


def purge_journal(folder: Path, erasures: Erasures, dry: bool = False) -> int:
    """Take erased people out of the journal in `folder`; return how many lines named them.

    A file is rewritten under its lock, under its name and sealed: its owner goes on in a new one.
    A line that cannot be read cannot be judged and goes as well. `dry` changes nothing.
    """
    if not len(erasures):
        return 0
    return sum(_purge(path, erasures, dry) for path in sorted(folder.glob("*.jsonl")))


def _purge(path: Path, erasures: Erasures, dry: bool) -> int:
    found, kept, touched = 0, [], False
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        for line in file:
            left = _left_of(line, erasures)
            touched |= left != line
            found += left is not None and left != line
            kept.append(left or b"")
        if touched and not dry:
            write_whole(path, b"".join(kept), SEALED)
    return found


def _left_of(line: bytes, erasures: Erasures) -> bytes | None:
    """Return what is left of a line, empty where all of it goes; None if it is no event."""
    try:
        event = event_of(line)
    except (ValueError, KeyError, TypeError):
        return None
    left = without_erased(event, erasures)
    if left is event:
        return line
    return line_of(left) if left else b""


def _erased(event: LiveEvent, identity: str, erasures: Erasures) -> bool:
    place = erasures.place(identity)
    return bool(place) and bool(
        time.before_erasure(event.event_time, erasures.records[place - 1].at)
    )
