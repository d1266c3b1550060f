"""The project file: what it may hold, and what is said of everything else."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from features.errors import SettingsError
from features.project_file import load, parse, parse_identity
from features.settings import Project
from features.time import Window

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*/likelier.yaml"))
WHOLE: dict[str, Any] = {
    "project": "shop",
    "sources": [
        {
            "name": "log",
            "kind": "events",
            "path": "log.csv",
            "event_time": "at",
            "event_type": "what",
            "identities": {"customer": "who", "device": "device"},
        },
        {
            "name": "crm",
            "kind": "records",
            "path": "crm.csv",
            "identities": {"customer": "id"},
            "profile": {"born": "birth_date"},
            "constant": ["born"],
        },
    ],
    "identity": {
        "namespaces": [
            {"name": "customer", "type": "person", "unique": True},
            {"name": "device", "type": "device"},
        ]
    },
    "goals": [
        {"name": "churn", "kind": "churn", "outcome": "not any(buy)", "outcome_window": "30d"}
    ],
    "measures": [{"name": "bought", "value": "count(buy)"}],
    "segments": [{"name": "leaving", "where": "churn.score > 50", "export": ["file"]}],
    "destinations": [{"name": "file", "purpose": "ads", "columns": {"id": "identity.customer"}}],
}


def changed(path: str, value: Any) -> str:
    """Return the project file with `value` at a dotted path; `...` takes the key away."""
    settings = deepcopy(WHOLE)
    *parents, last = path.split(".")
    place: Any = settings
    for part in parents:
        place = place[int(part)] if part.isdigit() else place.setdefault(part, {})
    if value is ...:
        del place[last]
    elif isinstance(place, list):
        place.append(value)
    else:
        place[last] = value
    return yaml.safe_dump(settings, sort_keys=False)


def test_defaults_are_filled_in_and_values_are_typed():
    project = parse(changed("scoring_interval", "24h"))
    assert project.scoring_interval == Window.parse("1d")
    assert (project.time_zone, project.engine.memory_limit) == ("UTC", "2GB")
    assert project.goals[0].outcome_window.days == 30
    assert project.source("crm").constant == ("born",)
    assert project.identity.namespace("device").type == "device"


def test_settings_never_change():
    project = parse(changed("project", "shop"))
    with pytest.raises(ValidationError, match="frozen"):
        project.project = "other"  # type: ignore[misc]


@pytest.mark.parametrize("path", EXAMPLES, ids=[path.parent.name for path in EXAMPLES])
def test_the_examples_are_project_files(path, monkeypatch):
    monkeypatch.setenv("DATA", "data")
    project = load(path.parent)
    assert project.project == path.parent.name
    assert all(source.path.startswith("data/") for source in project.sources)


def test_there_are_examples():
    assert {"cdnow", "online_retail"} <= {path.parent.name for path in EXAMPLES}


def test_what_is_dumped_is_read_again():
    project = parse(changed("goals.0.gap", "2d"))
    assert Project.model_validate(project.model_dump(mode="json")) == project


def test_the_general_opt_out_is_no_purpose_of_a_destination():
    with pytest.raises(SettingsError, match="the general opt-out"):
        parse(changed("destinations.0.purpose", "all"))


# Keys --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "key", "near"),
    [
        ("projct", "projct", "project"),
        ("engine.thread", "engine.thread", "threads"),
        ("sources.0.event_tme", "sources.0.event_tme", "event_time"),
        ("sources.1.Profile", "sources.1.Profile", "profile"),
        ("identity.max_fanout", "identity.max_fanout", "max_fan_out"),
        ("identity.namespaces.1.uniqe", "identity.namespaces.1.uniqe", "unique"),
        ("goals.0.outcome_windw", "goals.0.outcome_windw", "outcome_window"),
        ("measures.0.vale", "measures.0.vale", "value"),
        ("segments.0.titel", "segments.0.titel", "title"),
        ("destinations.0.purpos", "destinations.0.purpos", "purpose"),
        ("serving.max_body", "serving.max_body", "max_body_bytes"),
        ("mlflow.artefacts", "mlflow.artefacts", "artifacts"),
        ("features.window", "features.window", "windows"),
        ("training.sed", "training.sed", "seed"),
        ("profiles.merg", "profiles.merg", "merge"),
    ],
)
def test_an_unknown_key_is_refused_at_any_depth_with_a_suggestion(path, key, near):
    with pytest.raises(SettingsError, match=rf"{key}: unknown key.*Did you mean '{near}'\?"):
        parse(changed(path, "x"))


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("project", ..., r"project: Field required"),
        ("project", "My Shop", r"project: String should match pattern .*, got 'My Shop'"),
        ("time_zone", "Europe/Londn", r"time_zone: 'Europe/Londn' is not a time zone"),
        ("engine.threads", 0, r"engine\.threads: .*greater than or equal to 1, got 0"),
        ("engine.memory_limit", "2 GB", r"engine\.memory_limit: String should match"),
        ("engine.kind", "spark", r"engine\.kind: Input should be 'duckdb', got 'spark'"),
        ("sources", [], r"sources: Tuple should have at least 1 item"),
        ("sources.0.path", "", r"sources\.0\.path: String should have at least 1 character"),
        ("sources.0.delimiter", "tab", r"sources\.0\.delimiter: .*at most 1 character, got 'tab'"),
        ("sources.0.event_time", ..., r"sources\.0: a source of events needs event_time"),
        ("sources.0.event_time", None, r"sources\.0: a source of events needs event_time"),
        ("sources.0.event_time", ["at"], r"sources\.0\.event_time: Input should be a valid string"),
        ("sources.0.identities", {}, r"sources\.0\.identities: Dictionary should have at least 1"),
        ("sources.0.identities.customer", None, r"sources\.0\.identities\.customer: Input should"),
        ("sources.0.identities.customer", [], r"identities\.customer: .*at least 1 item"),
        ("sources.0.identities.customer", ["id", None], r"identities\.customer\.1: Input should"),
        ("sources.0.identities.Customer", "x", r"sources\.0\.identities\.Customer.*match pattern"),
        ("sources.0.identities.custmer", "x", r"sources\.log\.identities: no namespace 'custmer'\. "
         r"Did you mean 'customer'"),
        ("sources.1.event_type", "x", r"sources\.1: a source of records has no event_time"),
        ("sources.1.constant", ["city"], r"sources\.1: constant names .* lacks: \['city'\]"),
        ("identity.namespaces", [], r"identity\.namespaces: Tuple should have at least 1 item"),
        ("identity.namespaces.1.unique", True, r"identity: device: a device cannot be unique"),
        ("identity.namespaces.+", {"name": "login", "type": "person"},
         r"identity: device: ranks above a person namespace"),
        ("identity.namespaces.+", {"name": "device", "type": "cookie"},
         r"identity: namespaces: 'device' is there twice"),
        ("identity.namespaces.1.region", "GB",
         r"identity\.namespaces\.1: device: region is for type phone, not device"),
        ("identity.namespaces.+", {"name": "phone", "type": "phone", "region": "UK"},
         r"identity\.namespaces\.2\.region: 'UK' is no country with telephones"),
        ("identity.junk", [0], r"identity\.junk\.0: Input should be a valid string, got 0"),
        ("features.windows", [30], r"features\.windows\.0: '30' is not a length of time.*30d"),
        ("features.windows", ["0d"], r"features\.windows\.0: '0d' is not a length of time"),
        ("goals.0.outcome_window", "1 month", r"goals\.0\.outcome_window: '1 month' is not"),
        ("goals.+", WHOLE["goals"][0], r"goals: 'churn' is there twice"),
        ("sources.+", WHOLE["sources"][0], r"sources: 'log' is there twice"),
        ("segments.+", WHOLE["segments"][0], r"segments: 'leaving' is there twice"),
        ("destinations.+", WHOLE["destinations"][0], r"destinations: 'file' is there twice"),
        ("segments.0.export", ["fle"], r"segments\.leaving\.export: no destination 'fle'\. "
         r"Did you mean 'file'"),
        ("segments.0.holdout", 1, r"segments\.0\.holdout: .*less than 1, got 1"),
        ("destinations.0.columns", {}, r"destinations\.0\.columns: Dictionary should have"),
        ("profiles.merge", "newest", r"profiles\.merge: Input should be 'most_recent', "),
        ("profiles.source_order", ["cmr"], r"profiles\.source_order: no source 'cmr'\. "
         r"Did you mean 'crm'"),
        ("profiles.source_order", ["crm", "crm"], r"source_order: 'crm' is there twice"),
        ("profiles.attributes.bron", {}, r"profiles\.attributes: no attribute 'bron'\. "
         r"Did you mean 'born'"),
        ("profiles.attributes.born", {"source_order": ["crm"]},
         r"attributes\.born\.source_order: goes with `merge: source_order` alone"),
        ("profiles.attributes.born", {"merge": "source_order", "source_order": ["lg"]},
         r"profiles\.attributes\.born\.source_order: no source 'lg'\. Did you mean 'log'"),
        ("profiles.groups", [{"name": "g", "attributes": ["city"]}],
         r"profiles\.groups\.g\.attributes: no attribute 'city'"),
        ("profiles.groups", [{"name": "g", "attributes": ["born"]}] * 2,
         r"groups: 'g' is there twice"),
        ("profiles.groups", [{"name": n, "attributes": ["born"]} for n in "ab"],
         r"groups\.attributes: 'born' is there twice"),
        ("profiles", {"groups": [{"name": "g", "attributes": ["born"]}],
                      "attributes": {"born": {}}},
         r"attributes\.born: its group says how it is merged"),
        ("profiles", {"merge": "min", "groups": [{"name": "g", "attributes": ["born"]}]},
         r"groups\.g: min chooses no row; say its `merge`"),
        ("profiles.groups", [{"name": "g", "attributes": ["born"], "merge": "max"}],
         r"profiles\.groups\.0\.merge: Input should be 'most_recent'"),
        ("serving.served_sample", 2, r"serving\.served_sample: .*less than or equal to 1, got 2"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_the_key_and_the_value(path, value, message):
    with pytest.raises(SettingsError, match=message):
        parse(changed(path, value))


def test_one_expression_is_a_list_of_one_and_norway_is_a_country():
    several = parse(changed("sources.0.identities.customer", ["id", "merged_into"]))
    assert several.sources[0].identity_columns("customer") == {
        "customer": "id", "customer.2": "merged_into"
    }  # fmt: skip
    assert several.sources[0].identity_columns("nobody") == {}
    rules = parse_identity("namespaces: [{name: phone, type: phone, region: NO}]", "rules.yaml")
    assert rules.namespaces[0].region == "NO"


def test_every_problem_is_told_at_once():
    text = changed("projct", "x").replace("project: shop", "time_zone: Mars")
    with pytest.raises(SettingsError, match="unknown key") as caught:
        parse(text)
    problems = caught.value.details["problems"]
    assert {problem["key"] for problem in problems} == {"project", "projct", "time_zone"}


def test_constants_are_expressions_too():
    text = changed("sources.1.consent", {"ads": True}) + "\n"
    assert parse(text).source("crm").consent == {"ads": "True"}
    assert parse(changed("sources.1.profile.born", 1990)).source("crm").profile == {"born": "1990"}


def test_a_namespace_that_is_not_there_is_answered_with_one_that_is():
    with pytest.raises(SettingsError, match=r"no namespace 'devise'.*Did you mean 'device'"):
        parse(changed("project", "shop")).identity.namespace("devise")


# Text --------------------------------------------------------------------------------------------


def test_the_environment_is_filled_in(monkeypatch):
    monkeypatch.setenv("SHOP_DATA", "some/where")
    text = changed("sources.0.path", "${SHOP_DATA}/log.csv")
    assert parse(text).source("log").path == "some/where/log.csv"


def test_a_variable_that_is_not_set_is_named_with_its_line(monkeypatch):
    monkeypatch.delenv("NOT_SET", raising=False)
    with pytest.raises(
        SettingsError, match=r"shop\.yaml, line 3: .*variable NOT_SET is not set.*NOT_SET=…"
    ):
        parse("# a shop\nproject: shop\nstore: ${NOT_SET}/x\n", "shop.yaml")


def test_a_variable_in_a_comment_is_not_asked_for(monkeypatch):
    monkeypatch.delenv("NOT_SET", raising=False)
    text = changed("project", "shop")
    assert parse(f"# ${{NOT_SET}}\nstore: x  # or '${{NOT_SET}}'\n{text}").store == "x"
    with pytest.raises(SettingsError, match=r"line 1: .*NOT_SET"):
        parse(f'store: "a # ${{NOT_SET}}"\n{text}')


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("project: shop\nsources: [\n", r"likelier\.yaml, line 3: not readable as YAML"),
        ("project: shop\n\tstore: x\n", r"likelier\.yaml, line 2: not readable as YAML"),
        ("project: shop\nproject: other\n", r"line 2: .*the key 'project' is there twice"),
        ("engine: {threads: 1, threads: 2}\n", r"line 1: .*the key 'threads' is there twice"),
        ("a: !!python/object:os.system x\n", r"line 1: not readable as YAML: could not determine"),
        ("", r"likelier\.yaml holds no settings.*Start with `project: NAME`"),
        ("- a\n", r"likelier\.yaml holds no settings"),
    ],
)
def test_text_that_is_no_mapping_is_refused_with_its_line(text, message):
    with pytest.raises(SettingsError, match=message):
        parse(text)


def test_a_folder_without_a_project_file_says_how_to_make_one(tmp_path):
    with pytest.raises(SettingsError, match=r"There is no likelier\.yaml.*likelier init"):
        load(tmp_path)


def test_a_file_in_another_encoding_is_refused(tmp_path):
    (tmp_path / "likelier.yaml").write_bytes("project: caf\xe9".encode("latin-1"))
    with pytest.raises(SettingsError, match=r"is not UTF-8: byte 13.*Save the file as UTF-8"):
        load(tmp_path)
