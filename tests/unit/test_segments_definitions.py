"""Segment definitions: what comes first, and what cannot be read."""

from __future__ import annotations

import pytest

from features.conditions import ConditionError, Vocabulary
from features.settings import Segment
from serving.segments.definitions import compile_segments
from serving.segments.errors import SegmentCycle

VOCABULARY = Vocabulary(
    events={"purchase": {"amount": "number"}},
    attributes={"country": "text"},
    identities=frozenset({"email"}),
    goals=frozenset({"churn"}),
)


def segments(**where: str) -> tuple[Segment, ...]:
    return tuple(Segment(name=name, where=text) for name, text in where.items())


def test_a_segment_comes_after_those_it_is_made_of() -> None:
    compiled = compile_segments(
        segments(
            offer="in_segment(win_back) and not in_segment(french)",
            win_back="in_segment(lapsing) and any(purchase)",
            lapsing='churn.bucket = "high"',
            french='country = "France"',
        ),
        VOCABULARY,
    )
    place = {segment.name: number for number, segment in enumerate(compiled)}
    assert sorted(place) == ["french", "lapsing", "offer", "win_back"]
    assert place["lapsing"] < place["win_back"] < place["offer"] > place["french"]


def test_a_segment_keeps_its_text_and_says_itself_in_words() -> None:
    (segment,) = compile_segments(
        (Segment(name="vip", title="Our best", where="churn.score >= 75"),), VOCABULARY
    )
    assert (segment.title, segment.where, segment.words, segment.parts) == (
        "Our best", "churn.score >= 75", "churn score is at least 75", frozenset(),
    )  # fmt: skip


def test_a_segment_without_a_title_is_called_by_its_name() -> None:
    (segment,) = compile_segments(segments(vip="any(purchase)"), VOCABULARY)
    assert segment.title == "vip"


@pytest.mark.parametrize(
    ("where", "cycle"),
    [
        ({"a": "in_segment(a)"}, ["a", "a"]),
        ({"a": "in_segment(b)", "b": "not in_segment(a)"}, ["a", "b", "a"]),
        (
            {
                "a": "in_segment(b)",
                "b": "in_segment(c)",
                "c": "in_segment(a)",
                "d": "any(purchase)",
            },
            ["a", "b", "c", "a"],
        ),
    ],
)
def test_a_circle_is_named_link_by_link(where: dict[str, str], cycle: list[str]) -> None:
    with pytest.raises(SegmentCycle, match="use each other in a circle") as raised:
        compile_segments(segments(**where), VOCABULARY)
    named = raised.value.details["cycle"]
    assert isinstance(named, list)
    assert named[0] == named[-1]
    turn = named.index("a")
    assert named[turn:-1] + named[:turn] == cycle[:-1]
    assert " uses ".join(named) in raised.value.message


def test_an_unknown_segment_is_an_error_of_the_segment_that_asks() -> None:
    with pytest.raises(ConditionError, match=r"segments\.a\.where.*win_bak") as raised:
        compile_segments(segments(a="in_segment(win_bak)", win_back="any(purchase)"), VOCABULARY)
    assert (raised.value.code, raised.value.hint) == ("unknown_name", "Did you mean 'win_back'?")
    assert raised.value.details["segment"] == "a"


def test_a_name_of_the_vocabulary_that_is_no_segment_here_is_unknown() -> None:
    wider = Vocabulary(events={"purchase": {}}, segments=frozenset({"gone"}))
    with pytest.raises(ConditionError, match="`gone` is not a segment"):
        compile_segments(segments(a="in_segment(gone)"), wider)
