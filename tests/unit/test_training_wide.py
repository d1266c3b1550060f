"""A wide table: what its columns become, who has the outcome, and what is refused."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.engine import Engine
from features.sources.errors import NoFiles
from features.time import parse_instant
from training.booster import BoosterParams
from training.bundle import Bundle
from training.errors import ColumnsDiffer, TooFewExamples
from training.tables import read_table
from training.wide import BadTable, Question, Wide, learn, logistic, matrix_for, train_wide

PEOPLE = """\
personId,Plan,MonthlyFee,since,paperless,left
00001,basic,10.5,2024-01-01,True,Yes
00002,pro,,2024-01-31,False,No
00003,basic, 30 ,,True,No
00004,,1e2,2023-01-31,False,
00005,pro,-4,2024-01-31,,Yes
"""
ASKED = Question("left", person="personId")
PARAMS = BoosterParams(learning_rate=0.1, max_rounds=60, early_stopping_rounds=10, num_threads=1)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with Engine(threads=1, temporary=tmp_path_factory.mktemp("engine")) as engine:
        yield engine


def learnt(engine: Engine, path: Path, text: str = PEOPLE, asked: Question = ASKED) -> Wide:
    path.write_text(text)
    return learn(engine, read_table(engine, path), asked)


def test_columns_become_numbers_days_and_categories(engine, tmp_path):
    wide = learnt(engine, tmp_path / "people.csv")
    said = {f.label: column for f, column in zip(
        wide.dataset.features, wide.dataset.matrix.T.tolist(), strict=True)}  # fmt: skip
    assert list(said) == [
        "Plan is basic", "Plan is pro", "Plan is other", "Monthly fee", "Days since since",
        "Paperless is False", "Paperless is True",
    ]  # fmt: skip
    # The fourth row has no label and is left out; unknown is 0 in every column of a category.
    assert said["Plan is basic"] == [1, 0, 1, 0]
    assert said["Plan is pro"] == [0, 1, 0, 1]
    assert said["Paperless is True"] == [1, 0, 1, 0]
    assert said["Paperless is False"] == [0, 1, 0, 0]
    assert str(said["Monthly fee"]) == "[10.5, nan, 30.0, -4.0]"
    assert str(said["Days since since"]) == "[30.0, 0.0, nan, 0.0]"
    assert wide.dataset.label.tolist() == [1, 0, 0, 1]
    assert wide.as_of == parse_instant("2024-01-31")
    assert wide.notes == ("1 rows have no 'left' and were left out.",)


def test_columns_of_one_attribute_are_one_reason(engine, tmp_path):
    wide = learnt(engine, tmp_path / "people.csv")
    reasons = [feature.reason_label for feature in wide.dataset.features]
    assert reasons[:4] == ["Plan", "Plan", "Plan", "Monthly fee"]


def test_the_rarer_values_are_other(engine, tmp_path):
    rows = [f"{chr(97 + i)},{int(i > 6)}" for i in range(12) for _ in range(20 - i)]
    wide = learnt(engine, tmp_path / "t.csv", "\n".join(["kind,y", *rows]), Question("y"))
    names = [feature.label for feature in wide.dataset.features]
    assert names == [*(f"Kind is {chr(97 + i)}" for i in range(10)), "Kind is other"]
    assert wide.dataset.matrix[:, 10].sum() == 10 + 9
    assert (wide.dataset.matrix.sum(axis=1) == 1).all()


def test_columns_that_say_nothing_are_left_out_and_named(engine, tmp_path):
    rows = [f"n{i},0{i:03d},same,{i if i else 'none'},{i % 2}" for i in range(40)]
    text = "\n".join(["name,code,one,size,y", *rows])
    wide = learnt(engine, tmp_path / "t.csv", text, Question("y"))
    assert [feature.label for feature in wide.dataset.features] == ["Size"]
    assert wide.notes == (
        "1 cells of size are no number and count as unknown.",
        "Left out: name (nearly every value is another), code (nearly every value is another), "
        "one (the same in every row).",
    )


@pytest.mark.parametrize("name", ["t.csv.gz", "t.tsv", "t.jsonl", "t.parquet"])
def test_every_format_says_the_same(engine, tmp_path, name):
    rows = [{"plan": "a b", "fee": 1.5, "y": True}, {"plan": None, "fee": 2.0, "y": False}]
    path = tmp_path / name
    if name == "t.parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif name == "t.jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows) + "{broken\n")
    else:
        cells = [["plan", "fee", "y"], ["a b", "1.5", "true"], ["", "2.0", "false"]]
        text = "\n".join(("\t" if name == "t.tsv" else ",").join(row) for row in cells)
        path.write_bytes(gzip.compress(text.encode()) if name.endswith("gz") else text.encode())
    wide = learn(engine, read_table(engine, path), Question("y"))
    assert [feature.label for feature in wide.dataset.features] == [
        "Plan is a b", "Plan is other", "Fee",
    ]  # fmt: skip
    assert wide.dataset.matrix.tolist() == [[1, 0, 1.5], [0, 0, 2.0]]
    assert wide.dataset.label.tolist() == [1, 0]
    lost = ("1 rows of t.jsonl could not be read and were left out.",)
    assert wide.notes == (lost if name == "t.jsonl" else ())


def test_rows_of_one_person_share_a_number(engine, tmp_path):
    text = "who,x,y\nann,1,1\nbob,2,0\nann,3,0\n,4,1\n,5,1\n"
    wide = learnt(engine, tmp_path / "t.csv", text, Question("y", person="who"))
    person = wide.dataset.person
    assert person[0] == person[2]
    assert len(set(person.tolist())) == 4


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        (Question("Left"), "no column 'Left'.*Did you mean 'left'"),
        (Question("left", without=("fee",)), "no column 'fee'"),
        (Question("left", positive="Gone"), "No row has 'Gone' in 'left'.*'No', 'Yes'"),
        (Question("MonthlyFee"), "'MonthlyFee' has 4 values.*--positive"),
        (Question("left", without=("Plan", "MonthlyFee", "since", "paperless", "personId")),
         "no column to learn from"),
    ],
)  # fmt: skip
def test_a_question_that_does_not_fit_is_refused(engine, tmp_path, asked, error):
    with pytest.raises(BadTable, match=error):
        learnt(engine, tmp_path / "people.csv", asked=asked)


def test_a_wrong_delimiter_is_suspected(engine, tmp_path):
    with pytest.raises(BadTable, match="is --delimiter right"):
        learnt(engine, tmp_path / "t.csv", "x;y\n1;0\n2;1\n", Question("y"))


@pytest.mark.parametrize(("name", "error"), [("t.xlsx", "no known format"), ("", "no table")])
def test_what_is_no_table_is_refused(engine, tmp_path, name, error):
    (tmp_path / "t.xlsx").write_text("")
    with pytest.raises(NoFiles, match=error):
        read_table(engine, tmp_path / (name or "absent.csv"))


# Training ----------------------------------------------------------------------------------------


def shop(rows: int = 600) -> str:
    """Return a table whose outcome follows two columns; plan is what a logistic line can use."""
    rng = np.random.default_rng(5)
    visits, plan = rng.poisson(4, rows), rng.choice(["basic", "pro"], rows)
    chance = 1 / (1 + np.exp(3 - visits + 4 * (plan == "pro")))
    bought = rng.random(rows) < chance
    lines = zip(visits, plan, bought, strict=True)
    return "\n".join(["visits,plan,bought", *(f"{v},{p},{int(b)}" for v, p, b in lines)])


def test_a_trained_table_scores_another_with_its_columns(engine, tmp_path):
    wide = learnt(engine, tmp_path / "shop.csv", shop(), Question("bought"))
    trained = train_wide(wide, "shop", PARAMS, fewest_people=50)
    assert (trained.bundle.basis, trained.bundle.outcome_window) == ("table", "")
    assert trained.roles.protocol == "person_hash"
    assert trained.evaluation.auc > 0.75
    assert trained.bundle.trained_on["reference"] == 600
    assert "the best single column is 'Visits'" in trained.summary[-1]
    trained.bundle.save(tmp_path / "bundle")
    bundle = Bundle.load(tmp_path / "bundle")
    (tmp_path / "new.csv").write_text("plan,visits,more\nbasic,9,1\npro,0,1\nnever seen,,1\n")
    matrix = matrix_for(engine, read_table(engine, tmp_path / "new.csv"), bundle)
    names = [feature.label for feature in bundle.features]
    assert names == ["Visits", "Plan is basic", "Plan is pro", "Plan is other"]
    assert str(matrix.tolist()) == "[[9.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], " \
        "[nan, 0.0, 0.0, 1.0]]"  # fmt: skip
    scored = bundle.score(matrix)
    assert scored.probability[0] > 0.8 > 0.2 > scored.probability[1]


def test_a_table_without_the_columns_is_not_scored(engine, tmp_path):
    wide = learnt(engine, tmp_path / "shop.csv", shop(), Question("bought"))
    bundle = train_wide(wide, "shop", PARAMS, fewest_people=50).bundle
    (tmp_path / "new.csv").write_text("plan\nbasic\n")
    with pytest.raises(ColumnsDiffer, match=r"lacks the columns \['visits'\]"):
        matrix_for(engine, read_table(engine, tmp_path / "new.csv"), bundle)


def test_too_few_people_are_not_learnt_from(engine, tmp_path):
    with pytest.raises(TooFewExamples, match="50 of each are needed"):
        train_wide(learnt(engine, tmp_path / "people.csv"), "people", PARAMS, fewest_people=50)


def test_the_best_single_column_serves_when_nothing_beats_it(engine, tmp_path):
    rng = np.random.default_rng(6)
    x = rng.integers(0, 20, 500)
    bought = rng.random(500) < (20 - x) / 20
    lines = [f"{a},{int(b)}" for a, b in zip(x, bought, strict=True)]
    wide = learnt(engine, tmp_path / "t.csv", "\n".join(["x,y", *lines]), Question("y"))
    trained = train_wide(wide, "t", PARAMS, fewest_people=50)
    assert trained.bundle.serves == "baseline"
    assert any("does not beat the best single column alone" in each for each in trained.warnings)
    steps = np.diff(trained.bundle.score(np.arange(20.0)[:, None]).probability)
    assert (steps <= 0).all()


def test_a_logistic_line_fills_what_is_unknown_with_the_median():
    matrix = np.array([[0.0], [1.0], [1.0], [2.0], [np.nan]])
    label = np.array([0, 0, 1, 1, 1], np.int8)
    odds = logistic(matrix, label, np.array([[1.0], [np.nan], [3.0]]))
    assert odds[0] == odds[1] < odds[2]
