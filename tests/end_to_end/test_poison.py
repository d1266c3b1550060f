"""Rows received at or after as_of change nothing in a whole run, to the bit."""

from __future__ import annotations

import pandas as pd
import pytest

from features.time import parse_instant
from pipelines.learning import dataset_of, lessons
from pipelines.stages import Bench, ingest_all, plan_features, unify
from pipelines.workspace import Workspace
from tests.end_to_end.shops import (
    feature_tables,
    ordered,
    rows_of,
    run,
    small_shop,
    table,
    write_rows,
)

AS_OF = "2026-05-31T00:00:00Z"
"""30 days before the end of the shop."""


def forget_the_future(folder) -> None:
    """Take away every row that was received at or after AS_OF."""
    lost = 0
    for file in sorted((folder / "data" / "events").glob("*.gz")):
        rows = rows_of(file)
        known = [row for row in rows if row["received_at"] < AS_OF]
        lost += len(rows) - len(known)
        if known:
            write_rows(file, known)
        else:
            file.unlink()
    crm = folder / "data" / "crm" / "customers.csv"
    rows = pd.read_csv(crm, dtype=str)
    known = rows[rows["updated_at"] < AS_OF]
    assert lost > 1000
    assert 0 < len(known) < len(rows)
    known.to_csv(crm, index=False)


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """The shop as it is, and a copy that has no rows received later; both run at AS_OF."""
    knows = small_shop(tmp_path_factory.mktemp("poison") / "knows", people=700)
    lacks = small_shop(tmp_path_factory.mktemp("poison") / "lacks", people=700)
    forget_the_future(lacks)
    for folder in (knows, lacks):
        said = run(folder, "--as-of", AS_OF)
        assert said["as_of"] == AS_OF
    return knows, lacks


def same(left: pd.DataFrame, right: pd.DataFrame) -> None:
    assert len(left)
    pd.testing.assert_frame_equal(ordered(left), ordered(right), check_exact=True)


def nameless(frame: pd.DataFrame) -> pd.DataFrame:
    """Leave out the key of a profile: it is numbered anew in every version of the tables."""
    return frame.drop(columns="profile_key", errors="ignore")


def test_profiles_do_not_know_the_future(both):
    knows, lacks = (nameless(table(folder, "profiles", "profiles")) for folder in both)
    same(knows, lacks)


def test_features_do_not_know_the_future(both):
    knows, lacks = (
        {tuple(frame["as_of"].unique()): frame for frame in feature_tables(folder).values()}
        for folder in both
    )
    assert sorted(knows) == sorted(lacks)
    assert (parse_instant(AS_OF),) in knows
    for moment, frame in knows.items():
        same(frame, lacks[moment])


@pytest.mark.parametrize("goal", ["churn", "conversion"])
def test_datasets_do_not_know_the_future(both, goal):
    knows, lacks = (dataset(folder, goal) for folder in both)
    assert knows["label"].nunique() == 2
    # In the same order: a model is the same to the bit only when its rows are.
    pd.testing.assert_frame_equal(knows, lacks, check_exact=True)


def dataset(folder, goal) -> pd.DataFrame:
    workspace = Workspace.open(folder)
    with workspace.engine() as engine:
        bench = Bench(workspace, engine)
        unify(bench, ingest_all(bench))
        plan = plan_features(bench, parse_instant(AS_OF))
        (lesson,) = [each for each in lessons(bench, plan) if each.goal.name == goal]
        found = dataset_of(bench, plan, lesson)
    assert bench.made == {}
    frame = pd.DataFrame(found.matrix, columns=list(found.names))
    return frame.assign(label=found.label, as_of=found.as_of, person=found.person)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("scores", "scores"),
        ("scores", "factors"),
        ("lists", "memberships"),
        ("lists", "deliveries"),
    ],
)
def test_scores_and_lists_do_not_know_the_future(both, name, file):
    knows, lacks = (nameless(table(folder, name, file)) for folder in both)
    same(knows, lacks)
