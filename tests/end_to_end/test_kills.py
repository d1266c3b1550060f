"""`kill -9` at any moment: readers see the previous run whole, and the next run ends the work."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import time
from itertools import pairwise

import pytest

from pipelines.stages import STAGES
from tests.end_to_end.shops import (
    COMMAND,
    add_july,
    assert_same,
    copy_of,
    current,
    environment,
    everything,
    exported,
    run,
)

RANDOM_KILLS = 10


def kill_a_run(folder, stage: str = "", seconds: float = 0.0) -> str:
    """Start a run, and kill it `seconds` after it reports `stage`, or any work when empty.

    Returns the last line it reported, or nothing when it ended before it could be killed.
    """
    with subprocess.Popen(
        [*COMMAND, "-p", str(folder), "run"], env=environment(), cwd="/", text=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True,
    ) as process:  # fmt: skip
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith(stage) and line.strip():
                time.sleep(seconds)
                process.send_signal(signal.SIGKILL)
                said = [line, *process.stderr.readlines()]
                process.wait()
                return said[-1] if process.returncode == -signal.SIGKILL else ""
    assert process.returncode == 0
    return ""


class Reader:
    """Somebody who reads while runs are killed."""

    def __init__(self, folder) -> None:
        self.folder, self.run, self.files = folder, current(folder), exported(folder)
        self.tables = everything(folder) if self.run else {}

    def sees_the_previous_run(self) -> None:
        found = current(self.folder)
        assert found == self.run
        if found is not None:
            assert_same(everything(self.folder), self.tables)
        assert exported(self.folder) == self.files

    def sees_one_run_whole(self) -> bool:
        """Look again, whichever run is published; say whether it is still the previous one."""
        found = current(self.folder)
        if found == self.run:
            self.sees_the_previous_run()
            return True
        everything(self.folder)
        exported(self.folder)
        return False


def assert_ends_like(folder, undisturbed) -> None:
    """Run to the end: every table must be what a run nobody disturbed has published."""
    run(folder)
    here, there = current(folder), current(undisturbed)
    assert here is not None and there is not None
    assert (here.run_id, here.as_of, here.tables, here.models) == (
        there.run_id, there.as_of, there.tables, there.models,
    )  # fmt: skip
    assert figures(here) == figures(there)
    assert_same(everything(folder), everything(undisturbed))
    assert exported(folder) == exported(undisturbed)
    drafts = [path for path in (folder / ".likelier" / "tables").rglob(".*") if path.is_dir()]
    assert drafts == []
    assert run(folder)["made"] == {}


def figures(manifest):
    """Return the figures of a run without MLflow's own ids, which are drawn at random."""
    found = json.loads(json.dumps(manifest.figures))
    for goal in found["goals"].values():
        del goal["registered"]
    return found


def test_a_run_killed_twice_ends_as_if_nothing_had_happened(a_copy, july):
    undisturbed, _ = july
    add_july(a_copy)
    reader = Reader(a_copy)
    for stage in ("features", "train"):
        assert kill_a_run(a_copy, stage)
        reader.sees_the_previous_run()
    assert_ends_like(a_copy, undisturbed)


@pytest.mark.slow
def test_a_run_killed_in_every_stage_ends_as_if_nothing_had_happened(a_copy, july):
    undisturbed, _ = july
    add_july(a_copy)
    reader = Reader(a_copy)
    for stage in STAGES:
        assert kill_a_run(a_copy, stage).startswith(stage)
        reader.sees_the_previous_run()
    assert_ends_like(a_copy, undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("first", [True, False], ids=["first run", "next run"])
def test_a_run_killed_at_random_ends_as_if_nothing_had_happened(shop, july, tmp_path, first):
    folder = copy_of(shop, tmp_path / "shop")
    undisturbed = shop
    if first:
        for path in (".likelier", "exports"):
            (folder / path).rename(tmp_path / path.strip("."))
    else:
        undisturbed, _ = july
        add_july(folder)
    reader, chance = Reader(folder), random.Random(7)
    kills = 0
    for _ in range(RANDOM_KILLS):
        if not kill_a_run(folder, seconds=chance.uniform(0, 1.5)):
            break
        kills += 1
        if not reader.sees_one_run_whole():
            break
    assert kills >= 4
    assert_ends_like(folder, undisturbed)


@pytest.mark.slow
def test_kills_around_the_swap_leave_one_run_whole(a_copy, july):
    """The last stage again and again, killed a little later each time, until a run ends."""
    undisturbed, _ = july
    add_july(a_copy)
    reader = Reader(a_copy)
    run(a_copy, "--only", "segment")
    seen = []
    for step in range(20):
        ended = not kill_a_run(a_copy, "export", 0.05 * step)
        seen.append(reader.sees_one_run_whole())
        if ended or not seen[-1]:
            break
    assert seen[0]
    # Once the new run is seen, the old one is not seen again.
    assert all(before or not after for before, after in pairwise(seen))
    assert_ends_like(a_copy, undisturbed)
