"""Bad data, through the real command line: a code, a place and a hint, and nothing is published.

What the columns of a project's files hold, and what those of a wide table hold.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.sources.errors import MOST_VALUES
from pipelines.cli import main
from tests.end_to_end.test_bad_input import HEADER, PROJECT, holds, lines, says

AMOUNT = "try_cast(amount as double)"
CRM = """\
  - name: crm
    kind: records
    path: data/crm.csv
    known_from: since
    identities: {customer: who}
    profile: {city: city}
identity:"""


def crm(rows: int, value: Callable[[int], str], **more: str) -> Callable[[Path], None]:
    """Add records of as many people, with what `value` says of their city."""

    def change(folder: Path) -> None:
        says("identity:", CRM)(folder)
        for old, new in more.items():
            says(old, new)(folder)
        told = "".join(f"p{row},2025-01-01,{value(row)}\n" for row in range(rows))
        (folder / "data" / "crm.csv").write_text("who,since,city\n" + told)

    return change


def parquet(folder: Path) -> None:
    """Put Parquet with an infinite amount beside the file there is."""
    says("path: data/web.csv", "path: data/*")(folder)
    says(AMOUNT, "try_cast(amount as double) / 1")(folder)
    rows = {"at": ["2025-01-02"], "what": ["purchase"], "who": ["p1"], "amount": [float("-inf")]}
    pq.write_table(pa.table(rows), folder / "data" / "more.parquet")


def each_its_own(row: int) -> str:
    return f"street {row}"


PROJECTS = {
    "one class": (says("not any(purchase)", "count(purchase) >= 1000"), "one_class",
                  ["goals.churn", "none has"]),
    "no such event": (says("not any(purchase)", "not any(order)"), "unknown_name",
                      ["goals.churn", "order", "purchase"]),
    "no such event in eligible": (says("eligible: any(purchase", "eligible: any(purchases"),
                                  "unknown_name", ["goals.churn", "purchases", "purchase"]),
    "window longer than history": (says("outcome_window: 30d", "outcome_window: 300d"),
                                   "not_enough_history", ["goals.churn", "600 needed"]),
    "attribute without a value": (says(AMOUNT, "try_cast(what as double)"), "empty_column",
                                  ["sources.web.attributes.amount", "no value in any of 960"]),
    "profile without a value": (crm(3, lambda row: ""), "empty_column",
                                ["sources.crm.profile.city", "3 rows"]),
    "infinite by division": (says(AMOUNT, "amount / (amount - amount)"), "infinite_values",
                             ["sources.web.attributes.amount", "960 values", "nullif"]),
    "infinite in Parquet": (parquet, "infinite_values",
                            ["sources.web.attributes.amount", "1 values", "row 1 of more.parquet"]),
    "infinite as text": (crm(3, lambda row: ["1", "2.5", "Infinity"][row]), "infinite_values",
                         ["sources.crm.profile.city", "1 values"]),
    "duplicate columns": (holds(f"at,what,who,amount,who\n{''.join(lines())}"),
                          "duplicate_columns", ["web.csv", "'who'"]),
    "columns that differ by case": (holds(f"at,what,who,amount,Who\n{''.join(lines())}"),
                                    "duplicate_columns", ["web.csv", "'Who'"]),
    "a category of too many values": (crm(MOST_VALUES + 1, each_its_own), "too_many_values",
                                      ["'city'", "10,001", "without: [city]"]),
    "event types of too many values": (
        holds(HEADER + "".join(f"2025-01-01,did {n},p1,1\n" for n in range(MOST_VALUES + 1))),
        "too_many_values", ["sources.web.event_type", "10,001 event types"]),
}  # fmt: skip
"""Name to: what is changed, the code, and what message and hint must name."""


Said = Callable[..., tuple[int, Any]]


@pytest.fixture
def likelier(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Said:
    """Run the command line in this process; return how it ended and what it printed as JSON."""

    def command(*arguments: object) -> tuple[int, Any]:
        monkeypatch.setattr("sys.argv", ["likelier", *map(str, arguments), "--json"])
        with warnings.catch_warnings(), pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0), json.loads(capsys.readouterr().out)

    return command


def shop(folder: Path) -> Path:
    (folder / "data").mkdir(parents=True)
    (folder / "likelier.yaml").write_text(PROJECT)
    (folder / "data" / "web.csv").write_text(HEADER + "".join(lines()))
    return folder


@pytest.mark.parametrize("name", PROJECTS)
def test_run_and_check_refuse_the_same_with_code_and_hint(
    name: str, tmp_path: Path, likelier: Said
) -> None:
    change, code, named = PROJECTS[name]
    folder = shop(tmp_path / "mini")
    change(folder)
    check, report = likelier("-p", folder, "check")
    run, told = likelier("-p", folder, "run")
    assert (check, run) == (1, 1)
    errors = [each for each in report["findings"] if each["state"] == "error"]
    assert [each["code"] for each in errors] == [code]
    error = told["error"]
    assert error["code"] == code
    for found in (error["message"], error["hint"]), (errors[0]["what"], errors[0]["hint"]):
        assert all(found)
    for word in named:
        assert word in error["message"] + error["hint"]
        assert word in " ".join([errors[0]["where"], errors[0]["what"], errors[0]["hint"]])
    assert not (folder / ".likelier" / "CURRENT").exists()


def test_an_attribute_may_be_kept_out_of_features(tmp_path: Path, likelier: Said) -> None:
    folder = shop(tmp_path / "mini")
    crm(MOST_VALUES + 1, each_its_own, **{"windows: [30d]": "windows: [30d], without: [city]"})(
        folder
    )
    ended, report = likelier("-p", folder, "check")
    assert (ended, report["errors"]) == (0, 0)


# Wide tables -------------------------------------------------------------------------------------


def table(rows: int = 200, header: str = "", **columns: Callable[[int], object]) -> str:
    """Return a CSV table of `left`, every third of them, and `age`, with columns in their place."""
    made: dict[str, Callable[[int], object]] = {
        "left": lambda row: "yes" if row % 3 == 0 else "no",
        "age": lambda row: 20 + row % 40,
        **columns,
    }
    told = (",".join(str(value(row)) for value in made.values()) for row in range(rows))
    return "\n".join([header or ",".join(made), *told]) + "\n"


TABLES = {
    "one class": (table(left=lambda row: "no"), "constant_label", ["'left'", "'no'"]),
    "a label without a value": (table(left=lambda row: ""), "empty_column", ["'left'", "--label"]),
    "too few of one class": (table(left=lambda row: "yes" if row < 3 else "no"),
                             "too_few_examples", ["3 people with", "197 without", "500"]),
    "no such label": (table().replace("left", "gone"), "bad_table", ["'left'"]),
    "a column without a value": (table(city=lambda row: "", job=lambda row: ""), "empty_column",
                                 ["'city', 'job'", "--without city --without job"]),
    "infinite values": (table(fee=lambda row: "-inf" if row % 50 == 7 else row),
                        "infinite_values", ["'fee'", "4 of 200", "--without fee"]),
    "numbers that are too large": (table(fee=lambda row: "1e999" if row == 7 else row),
                                   "infinite_values", ["'fee'", "1 of 200"]),
    "duplicate columns": (table(header="left,age,fee,fee", a=str, b=str), "duplicate_columns",
                          ["table.csv", "'fee'"]),
    "a category of too many values": (
        table(MOST_VALUES + 1, city=lambda row: f"street {row}"), "too_many_values",
        ["10,001", "'city'", "--id city", "--without city"]),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_refused_with_code_and_hint(name: str, tmp_path: Path, likelier: Said) -> None:
    text, code, named = TABLES[name]
    refuses(likelier, tmp_path, text, code, named)


def test_a_category_of_a_million_values(tmp_path: Path, likelier: Said) -> None:
    text = table(1_000_000, city=lambda row: f"street {row}")
    refuses(likelier, tmp_path, text, "too_many_values", ["1,000,000", "'city'"])


def refuses(likelier: Said, folder: Path, text: str, code: str, named: list[str]) -> None:
    (folder / "table.csv").write_text(text)
    ended, told = likelier("-p", folder, "train", folder / "table.csv", "--label", "left")
    error = told["error"]
    assert (ended, error["code"]) == (1, code)
    assert error["hint"]
    for word in named:
        assert word in error["message"] + error["hint"]
    assert not (folder / ".likelier" / "models").exists()
