"""The commands around a run: init, check, explain, profile, simulate, demo."""

from __future__ import annotations

import pytest

from tests.end_to_end.shops import add_july, likelier, small_shop, table


def test_init_writes_a_project_whose_check_names_the_missing_file(tmp_path):
    folder = tmp_path / "new"
    assert likelier("init", folder).code == 0

    ended = likelier("-p", folder, "check")
    assert ended.code == 1
    assert "sources.web" in ended.out
    assert "data/events/*.jsonl" in ended.out
    assert "1 error" in ended.out
    assert "Traceback" not in ended.err

    again = likelier("init", folder, "--help")
    assert again.code == 0
    again = likelier("init", folder)
    assert again.code == 1
    assert "project_exists" in again.err


def test_check_of_a_good_project_tells_what_every_column_is(a_copy):
    ended = likelier("-p", a_copy, "check", "--json")
    assert ended.code == 0, ended.out
    assert ended.json["errors"] == 0
    columns = {(c["source"], c["name"]): c for c in ended.json["columns"]}
    assert columns["web", "amount"]["kind"] == "number"
    assert columns["web", "category"]["kind"] == "text"
    assert columns["crm", "profile_birth_date"]["kind"] == "date"
    assert 0.99 < columns["crm", "profile_country"]["filled"] <= 1
    assert likelier("-p", a_copy, "check").code == 0


def test_explain_says_what_is_due_and_makes_nothing(a_copy, tmp_path):
    stages = ["ingest", "unify", "features", "train", "score", "segment", "export"]

    def plan(folder) -> dict[str, str]:
        before = files(folder)
        ended = likelier("-p", folder, "run", "--explain", "--json")
        assert ended.code == 0, ended.err
        assert files(folder) == before
        assert [stage for stage, _, _ in ended.json] == stages
        return {stage: state for stage, state, _ in ended.json}

    assert set(plan(a_copy).values()) == {"done"}
    add_july(a_copy)
    assert set(plan(a_copy).values()) == {"due"}
    (a_copy / "data" / "events" / "events-2026-07.jsonl.gz").unlink()
    project = a_copy / "likelier.yaml"
    project.write_text(project.read_text().replace("outcome_window: 14d", "outcome_window: 15d"))
    states = plan(a_copy)
    assert [states[stage] for stage in stages] == ["done"] * 2 + ["due"] * 5
    ended = likelier("-p", small_shop(tmp_path / "new", people=50), "run", "--explain")
    assert ended.code == 0
    assert "reading web 1/" in ended.out


def files(folder) -> list[str]:
    return sorted(str(path) for path in (folder / ".likelier").rglob("*") if path.is_file())


@pytest.mark.parametrize("known", [True, False], ids=["known", "anonymous"])
def test_profile_shows_one_person(shop, known):
    scores = table(shop, "scores", "scores").query("goal == 'conversion'")
    people = table(shop, "profiles", "profiles").query("known == @known").set_index("profile_id")
    people = people[people["identities"].map(len) > (2 if known else 0)]
    (expected,) = scores[scores["profile_id"].isin(people.index)].head(1).to_dict("records")
    who = expected["profile_id"]

    ended = likelier("-p", shop, "profile", who, "--json")

    assert ended.code == 0, ended.err
    found = ended.json
    assert (found["profile_id"], found["known"]) == (who, known)
    assert found["identities"] == list(people.loc[who, "identities"])
    (score,) = [each for each in found["scores"] if each["goal"] == "conversion"]
    assert (score["probability"], score["score"]) == (expected["probability"], expected["score"])
    assert len(score["factors"]) == 10
    assert 0 < len(found["events"]) <= 20
    if known:
        assert found["attributes"]["country"]
        origin = found["attribute_sources"]["country"]
        assert (origin["source"], origin["file"]) == ("crm", "customers.csv")
        assert origin["row"] in table(shop, "united", "stated_rows").event_id.to_numpy()
        assert origin["at"] < found["as_of"]
        assert found["links"]
        # By any other of their identities it is the same person.
        other = next(i for i in found["identities"] if i.startswith("cookie:"))
        assert likelier("-p", shop, "profile", other, "--json").json == found
    else:
        assert who.startswith("cookie:")
    assert who in likelier("-p", shop, "profile", who).out


def test_unification_reports_on_everyone(shop, tmp_path):
    html = tmp_path / "report.html"
    ended = likelier("-p", shop, "unification", "--json", "--html", html)
    assert ended.code == 0, ended.err
    found, everyone = ended.json, table(shop, "profiles", "profiles")
    assert found["profiles"]["profiles"] == len(everyone)
    assert sum(row["profiles"] for row in found["overlaps"]) == len(everyone)
    assert sum(row["profiles"] for row in found["sizes"]) == len(everyone)
    assert found["largest"][0]["identities"] == everyone["identities"].map(len).max()
    (cookies,) = [row for row in found["namespaces"] if row["namespace"] == "cookie"]
    assert cookies["anonymous"] == found["profiles"]["anonymous"]
    assert found["hindsight"]["conversion"]["rows"] > 0
    assert {row["why"] for row in found["nobody"]} == {"null", "undefined"}
    assert f"Unification as of {found['as_of']}" in html.read_text()
    said = likelier("-p", shop, "unification").out
    assert "Largest profiles" in said
    assert "The leak avoided" in said


def test_simulate_writes_a_shop(tmp_path):
    folder = tmp_path / "shop"
    ended = likelier("simulate", folder, "--people", 50)
    assert ended.code == 0
    assert "50 people" in ended.out
    assert (folder / "likelier.yaml").exists()
    assert (folder / "truth" / "README.md").exists()


@pytest.mark.slow
def test_demo_goes_from_nothing_to_files_and_requests_to_try(tmp_path):
    folder = tmp_path / "demo"
    ended = likelier("demo", folder, "--no-serve", "--people", 600)
    assert ended.code == 0, ended.err
    assert "600 people" in ended.out
    assert "curl -s" in ended.out
    written = {path.name.split("-")[0] for path in (folder / "exports").iterdir()}
    assert written == {"win_back", "ready_to_buy", "vip", "anonymous_hot"}
