"""A run does what is due, and no more; what it publishes adds up."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from features.store import Store
from tests.end_to_end.shops import (
    assert_same,
    everything,
    exported,
    exports_by_file,
    feature_tables,
    likelier,
    run,
    store_of,
    table,
)
from training.bundle import Bundle


def test_a_second_run_on_unchanged_input_does_nothing_and_says_so(a_copy):
    pointer = a_copy / ".likelier" / "CURRENT"
    before, tables, files = pointer.stat().st_mtime_ns, everything(a_copy), exported(a_copy)

    ended = likelier("-p", a_copy, "run")

    assert ended.code == 0
    assert "Nothing to do" in ended.out
    assert ended.err.strip() == ""
    assert run(a_copy)["made"] == {}
    assert pointer.stat().st_mtime_ns == before
    assert_same(everything(a_copy), tables)
    assert exported(a_copy) == files


def test_one_more_file_is_read_alone_and_redoes_what_depends_on_it(shop, july):
    folder, said = july
    made = said["made"]
    assert made["ingest"] == 1
    assert set(made) == {"ingest", "unify", "features", "train", "score", "segment", "export"}
    assert said["as_of"].startswith("2026-07-")
    assert said["sources"]["web"]["rows"] > len(table(shop, "united", "events"))
    # Who was a member and is no more has left; nobody is lost on the way.
    for name, count in said["segments"].items():
        here = table(folder, "lists", "memberships")
        assert count["members"] == (here["segment"] == name).sum()
        assert count["members"] == count["entered"] + count["stayed"]


def test_a_lost_export_is_delivered_again_without_other_work(a_copy):
    files = exported(a_copy)
    lost = next(name for name in files if name.endswith(".csv"))
    (a_copy / "exports" / lost).unlink()
    assert run(a_copy)["made"] == {}
    assert exported(a_copy) == files


def test_an_export_that_somebody_changed_is_put_right(a_copy):
    files = exported(a_copy)
    changed = next(name for name in files if name.endswith(".csv"))
    (a_copy / "exports" / changed).write_text("customer\nsomebody else\n")
    assert run(a_copy)["made"] == {}
    assert exported(a_copy) == files


def test_another_segment_definition_neither_reads_nor_trains(a_copy):
    project = a_copy / "likelier.yaml"
    before = project.read_text()
    high, anyone = 'where: conversion.bucket = "high"\n', "where: conversion.score >= 0\n"
    project.write_text(before.replace(high, anyone))
    assert project.read_text() != before

    said = run(a_copy)

    assert set(said["made"]) == {"segment", "export"}
    scored = table(a_copy, "scores", "scores")
    assert said["segments"]["ready_to_buy"]["members"] == (scored["goal"] == "conversion").sum()


def test_from_a_stage_does_it_anew_with_the_same_result(a_copy):
    before = table(a_copy, "scores", "scores")
    said = run(a_copy, "--from", "score")
    assert "score" in said["made"]
    assert not {"ingest", "unify", "features", "train"} & set(said["made"])
    pd.testing.assert_frame_equal(table(a_copy, "scores", "scores"), before, check_exact=True)


def test_only_a_stage_publishes_nothing(a_copy):
    pointer = (a_copy / ".likelier" / "CURRENT").read_bytes()
    said = run(a_copy, "--only", "features", "--as-of", "2026-06-01")
    assert set(said["made"]) == {"features"}
    assert "run_id" not in said
    assert (a_copy / ".likelier" / "CURRENT").read_bytes() == pointer


# Scores ------------------------------------------------------------------------------------------


def population_of(folder, goal, bundle, manifest):
    """Return the vectors behind the scores of a goal, read from the features table of the run."""
    (found,) = [
        frame
        for frame in feature_tables(folder).values()
        if f"eligible_{goal}" in frame and (frame["as_of"] == manifest.as_of).all() and len(frame)
    ]
    rows = found[found[f"eligible_{goal}"]]
    return rows["profile_id"].tolist(), np.ascontiguousarray(
        rows[list(bundle.names)].to_numpy(float)
    )


@pytest.mark.parametrize("goal", ["churn", "conversion"])
def test_base_and_listed_and_rest_make_the_margin_of_everyone(shop, goal):
    store: Store = store_of(shop)
    manifest = store.require_current()
    bundle = Bundle.load(store.root / "models" / goal / manifest.models[goal])
    scores = table(shop, "scores", "scores").query("goal == @goal").set_index("profile_id")
    factors = table(shop, "scores", "factors").query("goal == @goal")
    listed = factors.groupby("profile_id")["contribution"].sum().reindex(scores.index)
    assert len(scores) > 100
    assert listed.notna().all()
    total = scores["base"] + listed + scores["rest"]
    np.testing.assert_allclose(total, scores["margin"], rtol=0, atol=1e-9)

    # The bundle says the same, from the vectors of the features table.
    names, matrix = population_of(shop, goal, bundle, manifest)
    assert sorted(names) == sorted(scores.index)
    scores = scores.loc[names]
    assert (bundle.trees.margin(matrix) == scores["margin"].to_numpy()).all()
    contributions = bundle.trees.contributions(matrix)
    assert (contributions[:, -1] == scores["base"].to_numpy()).all()
    rest = contributions[:, :-1].sum(axis=1) - listed.loc[names].to_numpy()
    np.testing.assert_allclose(rest, scores["rest"], rtol=0, atol=1e-9)


def test_reasons_are_ranked_and_their_shares_are_of_the_whole(shop):
    factors = table(shop, "scores", "factors")
    for _, reasons in factors.groupby(["goal", "profile_id"]):
        assert reasons["rank"].tolist() == list(range(1, len(reasons) + 1))
        assert reasons["contribution"].abs().is_monotonic_decreasing
        assert reasons["importance_share"].sum() <= 1 + 1e-9
    raises = factors["contribution"] > 0
    assert (factors["direction"] == np.where(raises, "raises", "lowers")).all()


# Consent -----------------------------------------------------------------------------------------


def refusing(shop) -> set[str]:
    """Return customers whose latest row says no to marketing, from the file alone."""
    rows = pd.read_csv(shop / "data" / "crm" / "customers.csv")
    rows["updated_at"] = pd.to_datetime(rows["updated_at"], format="ISO8601")
    latest = rows.sort_values("updated_at").groupby("customer").last()
    return set(latest.index[~latest["marketing_opt_in"].astype(bool)])


def test_nobody_who_opted_out_is_in_a_marketing_file(shop):
    out = refusing(shop)
    assert len(out) > 20
    members = table(shop, "lists", "memberships")
    people = table(shop, "profiles", "profiles").set_index("profile_id")["identities"]
    customers = {
        who: {i.partition(":")[2] for i in some if i.startswith("customer:")}
        for who, some in people.items()
    }
    left_out_of_marketing = 0
    for name, facts in exports_by_file(shop).items():
        left = facts["left_out"]
        assert facts["rows"] == facts["members"] - sum(left.values())
        here = members.loc[members["segment"] == facts["segment"], "profile_id"]
        assert facts["members"] == len(here)
        if facts["destination"] != "crm_file":
            continue
        written = pd.read_csv(shop / "exports" / name, dtype=str)
        assert len(written) == facts["rows"]
        assert not set(written["customer"]) & out
        # Independently: who has said no, and who of the others has no customer id to be named by.
        opted_out = [who for who in here if customers[who] & out]
        nameless = [who for who in here if not customers[who]]
        assert left.get("opted_out", 0) == len(opted_out)
        assert left.get("no_identity", 0) == len(nameless)
        left_out_of_marketing += len(opted_out)
    assert left_out_of_marketing > 0
