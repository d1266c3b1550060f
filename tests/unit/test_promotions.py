"""The promotion log: lines are only added, and what a kill cut off is no line."""

from __future__ import annotations

import json

from features.store import Store
from features.time import parse_instant
from pipelines.promotions import LOG, Promotion, before_last, last_champion, promotions, write_down


def change(before: str | None, after: str, goal: str = "churn") -> Promotion:
    return Promotion(goal, before, after, "run", "it is better", {"low": 0.1})


def test_an_empty_log_names_nobody(tmp_path):
    store = Store(tmp_path / "none")
    assert promotions(store) == []
    assert (last_champion(store, "churn"), before_last(store, "churn")) == (None, None)


def test_lines_are_added_in_order_and_dated(tmp_path):
    store = Store(tmp_path)
    write_down(store, change(None, "a"))
    first = (tmp_path / LOG).read_bytes()
    write_down(store, change("a", "b"))
    write_down(store, change(None, "x", goal="buys"))
    assert (tmp_path / LOG).read_bytes().startswith(first)
    assert [(each.goal, each.before, each.after) for each in promotions(store)] == [
        ("churn", None, "a"), ("churn", "a", "b"), ("buys", None, "x"),
    ]  # fmt: skip
    assert (last_champion(store, "churn"), before_last(store, "churn")) == ("b", "a")
    assert before_last(store, "buys") is None
    times = [parse_instant(each.at) for each in promotions(store)]
    assert times == sorted(times)
    assert list(promotions(store)[0].body) == [
        "at", "goal", "before", "after", "by", "why", "figures",
    ]  # fmt: skip


def test_one_step_back_from_a_rollback_is_where_it_came_from(tmp_path):
    store = Store(tmp_path)
    for before, after in ((None, "a"), ("a", "b"), ("b", "a")):
        write_down(store, change(before, after))
    assert (last_champion(store, "churn"), before_last(store, "churn")) == ("a", "b")


def test_a_line_cut_off_by_a_kill_is_left_out_and_harms_no_other(tmp_path):
    store = Store(tmp_path)
    write_down(store, change(None, "a"))
    whole = (tmp_path / LOG).read_bytes()
    for cut in (1, 20, len(whole) - 2):
        (tmp_path / LOG).write_bytes(whole + whole[:cut])
        assert [each.after for each in promotions(store)] == ["a"]
        write_down(store, change("a", "b"))
        assert [each.after for each in promotions(store)] == ["a", "b"]
        assert json.loads((tmp_path / LOG).read_bytes().splitlines()[-1])["after"] == "b"
