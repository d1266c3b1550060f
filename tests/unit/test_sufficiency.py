"""People are counted, not rows; look-backs that are longer than history are told."""

from __future__ import annotations

import re

import numpy as np
import pytest

from features.behavior.definitions import Count, DaysSince
from features.conditions import Vocabulary, text
from features.goal_settings import Goal
from features.time import Window
from tests.worlds import days
from training.dataset import Dataset
from training.errors import OneClassError, Refusal, Remedy, TooFewExamples
from training.goals import CompiledGoal, compile_goal, widened
from training.sufficiency import FEWEST_PEOPLE, Examples, short_look_backs
from training.usability import Usability, headline, usability_html

VOCABULARY = Vocabulary(events={"visit": {}, "purchase": {"amount": "number", "note": "text"}})


def compiled(eligible: str = "any(visit in last 20d)") -> CompiledGoal:
    found = Goal(
        name="buys", kind="conversion", outcome="any(purchase)", eligible=eligible,
        outcome_window="10d",  # type: ignore[arg-type]
    )  # fmt: skip
    return compile_goal(found, VOCABULARY)


def examples(*rows: tuple[int, int]) -> Examples:
    """Count (person, label) rows."""
    person, label = np.array(rows).T
    return Examples.of(label.astype(np.int8), person)


def test_a_person_counts_once_on_each_side() -> None:
    found = examples((1, 1), (1, 1), (1, 0), (2, 0), (2, 0), (3, 1))
    assert found == Examples(rows=6, positives=3, with_outcome=2, without=2)


@pytest.mark.parametrize(("with_outcome", "without"), [(499, 900), (900, 499), (0, 0)])
def test_five_hundred_people_of_each_are_needed(with_outcome: int, without: int) -> None:
    assert Goal.model_fields["min_people"].default == FEWEST_PEOPLE == 500
    assert not Examples(9_000, 1_000, with_outcome, without).enough(FEWEST_PEOPLE)
    assert Examples(9_000, 1_000, 500, 500).enough(FEWEST_PEOPLE)


def test_what_is_refused_is_counted() -> None:
    with pytest.raises(TooFewExamples, match=r"goals\.buys: 212 people with the outcome and 9,000"):
        Examples(20_000, 400, 212, 9_000).require(500, "goals.buys")
    for positives, which in ((0, "none has"), (70, "every one has")):
        with pytest.raises(OneClassError, match=f"Of 70 rows in goals.buys, {which} the outcome"):
            Examples(70, positives, 50, 50).require(2, "goals.buys")


def test_a_refusal_tells_the_changes_that_would_do_before_those_that_would_not() -> None:
    bare = TooFewExamples.of("goals.buys", 212, 9_000, 500)
    longer = Remedy("outcome_window", "45d", 530, 8_000, enough=True)
    wider = Remedy("eligible", "any(visit in last 40d)", 300, 9_900, enough=False)
    found = bare.with_remedies([longer, wider])
    assert isinstance(found, Refusal)
    assert (found.code, found.message) == (bare.code, bare.message)
    assert found.hint == (
        "Change one setting. outcome_window: 45d would give 530 people with the outcome and 8,000 "
        "without. More history gives more."
    )
    assert found.details["remedies"] == [longer.body(), wider.body()]
    nearest = bare.with_remedies([wider])
    assert nearest.hint.startswith("No setting tried is enough. eligible: any(visit in last 40d)")
    assert bare.with_remedies([]).hint.startswith("No change of setting would do.")


def test_look_backs_longer_than_history_are_told_with_what_they_see() -> None:
    windows = [Window.parse(text) for text in ("7d", "90d", "365d")]
    moments = [days(120), days(60), days(90)]
    found = list(short_look_backs(compiled("any(visit in last 61d)"), windows, moments, days(0)))
    assert found == [
        "features.windows: 90d, 365d look back further than the history, which is 60 days long at "
        "the oldest snapshot and 120 at the newest: no more than that is seen.",
        "goals.buys.eligible: 61d looks back further than the history, which is 60 days long at "
        "the oldest snapshot and 120 at the newest: no more than that is seen.",
    ]
    enough = compiled("any(visit in last 60d) and not any(purchase)")
    assert not list(short_look_backs(enough, windows[:1], moments, days(0)))


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        (2, 'not any(purchase where note = "in last 3d" in last 60d) and any(visit in last 14d) '
            "and days_since(visit) > 2"),
        (None, 'not any(purchase where note = "in last 3d") and any(visit) '
               "and days_since(visit) > 2"),
    ],
)  # fmt: skip
def test_a_wider_population_looks_back_further_and_asks_the_same(
    times: int | None, expected: str
) -> None:
    condition = compiled(
        'not any(purchase where note = "in last 3d" in last 30d) and any(visit in last 1w) '
        "and days_since(visit) > 2"
    ).eligible
    assert text(widened(condition, times)) == expected


def test_a_usability_report_counts_people_by_moment_and_what_is_missing() -> None:
    features = (Count("visit", Window.parse("30d")).feature, DaysSince("purchase").feature)
    matrix = np.array([[1, np.nan], [2, 3.0], [0, np.nan], [4, 1.0]])
    as_of = np.array([days(60), days(60), days(70), days(70)])
    dataset = Dataset(features, matrix, np.array([0, 1, 0, 0], np.int8), as_of,
                      np.array([1, 2, 1, 3]))  # fmt: skip
    found = Usability.begun(compiled(), days(80), days(0)).measured(dataset).body()
    assert found["people"] == {"rows": 4, "positives": 1, "with_outcome": 1, "without": 2}
    assert [(each["as_of"][:10], each["rows"], each["with_outcome"]) for each in
            found["snapshots"]] == [("2024-03-11", 2, 0), ("2024-03-01", 2, 1)]  # fmt: skip
    assert found["missing"] == {features[1].name: 0.5}
    assert found["history"] == {
        "first_event": "2024-01-01T00:00:00Z", "days": 80.0, "days_needed": 40.0,
    }  # fmt: skip
    assert (found["state"], found["needed"], found["refusal"]) == ("ready", 500, None)
    assert headline(found) == (
        "buys is ready: 1 people with the outcome and 2 without, 500 of each needed; 80 days of "
        "history, 40 needed."
    )
    refused = Usability.begun(compiled(), days(80), days(0)).refused(
        TooFewExamples.of("g", 1, 2, 3)
    )
    assert refused.body()["refusal"]["code"] == "too_few_examples"


def test_the_page_shows_pictures_before_words_and_loads_nothing() -> None:
    wider = Remedy("eligible", "any(visit <b>)", 300, 9_900, enough=False)
    refusal = TooFewExamples.of("goals.buys", 212, 9_000, 500).with_remedies([wider])
    whole = Examples(20_000, 400, 212, 9_000)
    begun = Usability.begun(compiled(), days(80), days(0))
    found = begun.counted([days(70)], [whole, whole]).refused(refusal)
    page = usability_html({**found.body(), "missing": {"a <b>": 0.5}, "warnings": ["mind <i>"]})
    pictures = [page.index(f'id="chart-{name}"') for name in
                ("people", "snapshots", "remedies", "history", "missing")]  # fmt: skip
    assert pictures == sorted(pictures)
    assert max(pictures) < page.index("Refused: too_few_examples")
    assert "mind &lt;i&gt;" in page
    assert "any(visit <b>)</" not in page
    assert not re.search(r'<(script|link|img)[^>]+(src|href)="', page)
