"""The journal among the sources of a run: which files are read, and how far everything is known."""

from __future__ import annotations

import time as clock
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from features import time
from features.settings import JOURNAL, Project, Source
from features.sources.files import SourceFile, digest, discover
from pipelines.workspace import Workspace
from serving.journal.files import files_in, seal


def files_of(workspace: Workspace, source: Source, dry: bool = False) -> list[SourceFile]:
    """Return the files of a source. Those of the journal are sealed first, unless `dry`.

    Sealed, they stay as they are: what comes in while they are read is for the next run.
    """
    if source.name != JOURNAL:
        return discover(source, workspace.folder)
    paths = files_in(workspace.journal) if dry else seal(workspace.journal)
    return [SourceFile(source, path, "jsonl", digest(path)) for path in paths]


def offsets_of(paths: Collection[Path]) -> dict[str, int]:
    """Return how much of each file of the journal was read, in bytes: all of it."""
    return {path.name: path.stat().st_size for path in paths}


def watermark(project: Project, facts: Mapping[str, Any], used: set[str], stated: set[str]) -> int:
    """Return the least, over the sources that goals draw on, of the newest time known.

    `facts` are those of the united tables, `used` the event types that goals name (empty: all),
    `stated` the attributes that they name.

    The journal holds nothing back: no events is what a quiet shop sends. It carries on for a source
    of which every type that counts comes in live too, if that began before the source ended: that
    is known as far as the newer of the two. A sender's clock may be ahead, but nothing is known
    that is still to come.
    """
    events = {source: set(types) for source, types in facts["events"].items()}
    sent = events.get(JOURNAL, set())
    reach = _reach(facts)
    newest = []
    for source in (each for each in project.sources if each.name != JOURNAL):
        moment, types = facts["newest"][source.name], events[source.name]
        asked = types & used if used else types
        if stated & set(source.profile):
            newest.append(moment)
        elif asked:
            live = asked <= sent and time.carries_on(facts["live_since"], moment)
            newest.append(max(moment, reach) if live else moment)
    return int(min(newest, default=reach))


def waiting(facts: Mapping[str, Any], as_of: int) -> str:
    """Say which live events the default as_of leaves to a later run; empty where it leaves none.

    `facts` are those of the united tables.
    """
    reach = _reach(facts)
    if time.known_before(reach, as_of):
        return ""
    return (
        f"live events are known until {time.format_instant(reach)}, but as_of is "
        f"{time.format_instant(as_of)}, until when all sources are: see docs/events.md"
    )


def _reach(facts: Mapping[str, Any]) -> int:
    """Return the newest time known from the journal; 0 without one."""
    return min(int(facts["newest"].get(JOURNAL, 0)), clock.time_ns() // 1_000)
