"""What columns may name, and how a wrong name is answered."""

from __future__ import annotations

from typing import Any

import pytest

from features.settings import Project
from serving.exports.columns import Field, available, check_exports, fields_of
from serving.exports.errors import SameFile, UnknownField


def project(
    columns: dict[str, str] | None = None,
    destinations: list[dict[str, Any]] | None = None,
    export: tuple[str, ...] = ("crm",),
) -> Project:
    crm = {"name": "crm", "purpose": "marketing", "columns": columns or {"who": "profile_id"}}
    return Project.model_validate(
        {
            "project": "shop",
            "sources": [
                {
                    "name": "visits", "kind": "events", "path": "visits.csv", "event_time": "at",
                    "event_type": "what", "identities": {"cookie": "c", "email": "e"},
                    "profile": {"country": "Country"},
                }
            ],
            "identity": {
                "namespaces": [
                    {"name": "email", "type": "email", "pii": True},
                    {"name": "cookie", "type": "cookie"},
                ]
            },
            "goals": [
                {"name": "churn", "kind": "churn", "outcome": "not any(x)", "outcome_window": "30d"}
            ],
            "measures": [{"name": "spend", "value": "sum(x.amount)"}],
            "segments": [{"name": "lapsing", "where": "any(x)", "export": export}],
            "destinations": destinations or [crm],
        }
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("profile_id", Field("profile_id")),
        ("segment", Field("segment")),
        ("as_of", Field("as_of")),
        ("identity.cookie", Field("identity", "cookie")),
        ("identity.email", Field("identity", "email", pii=True)),
        ("profile.country", Field("profile", "country")),
        ("measure.spend", Field("measure", "spend")),
        ("churn.score", Field("score", "churn", "score")),
        ("churn.status", Field("score", "churn", "status")),
        ("churn.factors.1.label", Field("factor", "churn", "label", 1)),
        ("churn.factors.10.direction", Field("factor", "churn", "direction", 10)),
    ],
)
def test_a_column_is_read(text: str, field: Field) -> None:
    found = project({"column": text})
    assert fields_of(found.destinations[0], found) == {"column": field}
    assert str(field) == text


def test_everything_that_may_be_named_is_listed() -> None:
    # 3 of the build, 2 namespaces, 1 attribute, 1 measure; 5 parts of a score; 10 ranks of 5 parts
    assert len(available(project())) == 3 + 2 + 1 + 1 + 5 + 50


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("churn.scor", "Did you mean 'churn.score'?"),
        ("identity.e_mail", "Did you mean 'identity.email'?"),
        ("profile.county", "Did you mean 'profile.country'?"),
        ("measure.spent", "Did you mean 'measure.spend'?"),
        ("churn.factors.2.lable", "Did you mean 'churn.factors.2.label'?"),
        ("churn.factors.11.label", "Did you mean 'churn.factors.1.label'?"),
        ("chrun.percentile", "Did you mean 'churn.percentile'?"),
        ("", "A column may hold: profile_id, identity.NAMESPACE"),
        ("'); drop table", "A column may hold: profile_id, identity.NAMESPACE"),
    ],
)
def test_an_unknown_field_is_refused_with_the_nearest_one(text: str, hint: str) -> None:
    found = project({"who": "profile_id", "wrong": text})
    with pytest.raises(UnknownField, match=r"destinations\.crm\.columns\.wrong") as raised:
        fields_of(found.destinations[0], found)
    assert (raised.value.code, raised.value.details["field"]) == ("unknown_field", text)
    assert raised.value.hint.startswith(hint)


def test_a_sound_project_has_nothing_to_mend() -> None:
    assert check_exports(project()) == []


def test_every_destination_is_checked() -> None:
    wrong = [
        {"name": name, "purpose": "ads", "path": name, "columns": {"a": "nothing_like_it"}}
        for name in ("crm", "ads")
    ]
    problems = check_exports(project(destinations=wrong))
    assert [type(problem) for problem in problems] == [UnknownField, UnknownField]


@pytest.mark.parametrize(
    ("second", "clash"),
    [
        ({"path": "exports"}, True),  # the default is `exports/`
        ({"path": "exports/", "format": "jsonl"}, False),
        ({"path": "exports/ads"}, False),
    ],
)
def test_two_destinations_of_a_segment_may_not_share_a_file(
    second: dict[str, str], clash: bool
) -> None:
    columns = {"who": "profile_id"}
    destinations = [
        {"name": "crm", "purpose": "marketing", "columns": columns},
        {"name": "ads", "purpose": "ads", "columns": columns} | second,
    ]
    problems = check_exports(project(destinations=destinations, export=("crm", "ads")))
    assert [(type(p), p.details["destinations"]) for p in problems] == (
        [(SameFile, ["crm", "ads"])] if clash else []
    )
