"""How long the condition language takes to answer whatever text it is given.

    python benchmarks/conditions.py [TEXTS]

200,000 texts made from seeds: words and signs of the language in any order, valid conditions with
damage, letters of any script, and texts of the greatest length. Each gives a condition whose
canonical text gives the same condition, or an error with a place in the text; anything else stops
the benchmark. The names known are 2,000, so that a suggestion is looked for among many. Times are
of the processor, of the parser alone, once it is built; a text slower than the limit is timed once
more, and its fastest turn counts (other work on the machine can only slow it). Then conditions are
answered live, for a person of 300 events. The last line is JSON; the exit code is 1 where a text
took longer than 50 ms.
"""

from __future__ import annotations

import json
import os
import platform
import random
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from statistics import median
from time import perf_counter, thread_time
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from features.behavior.history import Events, History, Numbers, Texts
from features.conditions import ConditionError, Vocabulary, parse, text
from features.conditions.live import Person, Scored, live
from features.time import MICROS_PER_DAY

TEXTS, LIMIT_MS, TURNS = 200_000, 50.0, 5
EVENTS, ROUNDS = 300, 2_000

VOCABULARY = Vocabulary(
    events={
        "purchase": {"amount": "number", "product": "text"},
        "view": {"page": "text"},
        "search": {"term": "text"},
        "Product Viewed": {"price": "number"},
    },
    attributes={
        "country": "text", "age": "number", "born": "date", "vip": "boolean",
        **{f"column_{number}_of_some_table": "text" for number in range(2_000)},
    },
    identities=frozenset({"email", "customer"}),
    goals=frozenset({"churn", "conversion"}),
    segments=frozenset({"win_back"}),
)  # fmt: skip

WORDS = [
    "count", "any", "sum", "mean", "first", "sequence", "factor", "identity", "in_segment",
    "days_since_date", "purchase", "view", "purchase.amount", "country", "age", "born", "vip",
    "column_1_of_some_table", "churn.score", "churn.bucket", "and", "or", "not", "NOT", "in",
    "last", "since", "before", "where", "then", "within", "between", "contains", "starts with",
    "ends with", "exists", "date", "true", "raises", "(", ")", ",", ".", "=", "==", "!=", "<", ">=",
    "+", "-", "*", "/", "30d", "0d", "999999w", "1y", "7", "-1.5", "1e9", "00000000000000000001",
    '"a"', "'b'", '"', "'", "\\", "\n", "\t", "\u00a0", "é", "\0", "\ud800", "“", '"\\u00e9"',
    '"\\q"', ";", "--",
    "'); DROP TABLE people; --", "{x}", "$1", "%s", "date('2024-01-31')", "date('9999-99-99')",
]  # fmt: skip

VALID = [
    "age {sign} {number}",
    "count({event} in last {length}) {sign} {number}",
    "sum(purchase.amount where product = {text} in last {length}) {sign} {number}",
    "any(view where page contains {text} and not page starts with {text})",
    "country in ({text}, {text})",
    "born between date('1990-01-01') and date('1999-12-31')",
    "sequence(view then purchase within {length} then not purchase within {length})",
    "distinct(purchase.product since date('2024-01-01') before date('2024-06-01')) {sign} {number}",
    "factor(churn, days_since_purchase) = raises",
    "churn.score {sign} {number}",
    "in_segment(win_back)",
    "identity(email) exists",
    "days_since_date(born) {sign} {number}",
    "vip = true",
]

HARDEST = {
    "long": " or ".join(["age < 1"] * 363),
    "list": f"age in ({', '.join(['1'] * 1_300)})",
    "quotes": '"' * 4_000,
    "escapes": '"\\' * 2_000,
    "name": "a" * 4_000,
    "near name": "column_1_of_some_tabl" * 190,
    "digits": "age > " + "1" * 3_990,
    "calls": " and ".join(["count(purchase where amount>1 in last 1d)>1"] * 80),
    "sequences": " or ".join(["sequence(view then not view within 1d then purchase)"] * 60),
    "steps": f"sequence({' then '.join(['view'] * 300)})",
    "limits": f"any(view {'in last 1d ' * 350})",
    "deep": "not (age > 1 or " * 25 + "age > 1" + ")" * 25,
    "events": " or ".join(["any(view)"] * 300),
    "spaces": " " * 4_000,
}
"""The texts that could be slow, by what is much in them."""


def fuzzed(seed: int, count: int) -> Iterator[str]:
    """Yield texts of every sort, the same for the same seed."""
    chance = random.Random(seed)
    makers = [_words, _damaged, _letters, _long]
    for make in chance.choices(makers, weights=[45, 40, 13, 2], k=count):
        yield make(chance)


def _words(chance: random.Random) -> str:
    between = chance.choice([" ", " ", "", "\n"])
    return between.join(chance.choices(WORDS, k=chance.randint(0, 40)))


def _valid(chance: random.Random) -> str:
    some = chance.choices(VALID, k=chance.choice([1, 1, 2, 3, 6]))
    joined = chance.choice([" and ", " or ", " and not "]).join(some)
    joined = f"not ({joined})" if chance.random() < 0.2 else joined
    return joined.format(
        sign=chance.choice(["=", "!=", "<", "<=", ">", ">="]),
        number=chance.choice(["0", "1", "2.25", "-3", "99999999999999.9999"]),
        event=chance.choice(["purchase", "view", '"Product Viewed"']),
        length=chance.choice(["1d", "90m", "4w", "365d"]),
        text=chance.choice(['"a"', "'it\\'s'", '"x\\"); drop table y; --"', '"\\u00e9"']),
    )


def _damaged(chance: random.Random) -> str:
    """Return a valid condition, as it is or with pieces cut out, put in, or said again."""
    written = _valid(chance)
    for _ in range(chance.choice([0, 1, 1, 2, 3])):
        start = chance.randint(0, len(written))
        end = min(len(written), start + chance.choice([0, 1, 1, 2, 5, 20]))
        piece = chance.choice(["", chance.choice(WORDS), written[start:end] * 2])
        written = written[:start] + piece + written[end:]
    return written


def _letters(chance: random.Random) -> str:
    most = chance.choice([0x7F, 0x7F, 0xFF, 0xFFFF, 0x10FFFF])
    return "".join(chr(chance.randint(0, most)) for _ in range(chance.randint(0, 120)))


def _long(chance: random.Random) -> str:
    piece = chance.choice([_valid(chance), *WORDS])
    joined = chance.choice([" and ", " or ", " ", "("])
    times = chance.choice([3_900, 4_000, 4_001]) // len(piece + joined)
    return joined.join([piece] * max(1, times)) + chance.choice(["", "", ")", '"', " or"])


def answer(written: str) -> str:
    """Read a text and return how it ended: `read`, or the code of a positioned error.

    Raises what the parser must never raise, and `AssertionError` for an answer that is none.
    """
    try:
        condition = parse(written, VOCABULARY)
    except ConditionError as error:
        place = error.details["position"]
        assert isinstance(place, int) and 0 <= place <= len(written), (written, error)
        assert error.details["expected"], (written, error)
        return error.code
    canonical = text(condition)
    assert parse(canonical, VOCABULARY) == condition, (written, canonical)
    return "read"


def seconds(written: str, turns: int = 1) -> tuple[float, float]:
    """Return the processor and the wall time that one text takes, the fastest of some turns."""
    times = []
    for _ in range(turns):
        begun, wall = thread_time(), perf_counter()
        with suppress(ConditionError):
            parse(written, VOCABULARY)
        times.append((thread_time() - begun, perf_counter() - wall))
    return min(times)


def person(chance: np.random.Generator) -> Person:
    """Return one person of 300 events of three types, scored."""
    as_of = 1_700_000_000_000_000

    def some(number: int) -> Events:
        times = np.sort(as_of - chance.integers(1, 400 * MICROS_PER_DAY, number))
        codes = chance.integers(-1, 9, number).astype(np.int32)
        amounts = Numbers(chance.integers(1, 10**7, number), np.zeros(number, bool))
        texts = Texts(codes, tuple(f"text {code}" for code in range(9)))
        columns = {"amount": amounts, "product": texts, "term": texts, "page": texts}
        days, hours = (times // MICROS_PER_DAY).astype(np.int32), np.zeros(number, np.int8)
        return Events(times, times, days, hours, columns)

    events = {name: some(EVENTS // 3) for name in ("purchase", "view", "search")}
    history = History(events, {"country": "France", "age": 300_000}, {"email": 1})
    scored = Scored(80.0, 0.4, 90, "high", frozenset({"days_since_purchase"}), frozenset())
    return Person(history, as_of, {"churn": scored, "conversion": scored})


LIVE = [
    'count(purchase in last 90d) >= 2 and country = "France"',
    'any(search where term contains "7" in last 30d) and not any(purchase in last 30d)',
    "sum(purchase.amount in last 365d) > 500000 or conversion.score >= 75",
    'churn.bucket = "high" and factor(churn, days_since_purchase) = raises',
    "sequence(view then search within 1d then not purchase within 3d)",
    "distinct(purchase.product in last 180d) >= 3 and mean(purchase.amount) > 20",
]


def live_micros() -> dict[str, float]:
    """Return the microseconds that each condition takes, for a person's first and next ones."""
    subject, found = person(np.random.default_rng(7)), {}
    for written in LIVE:
        holds = live(parse(written, VOCABULARY))
        holds(subject)
        begun = perf_counter()
        for _ in range(ROUNDS):
            holds(subject)
        found[written] = round(1e6 * (perf_counter() - begun) / ROUNDS, 1)
    return found


def main() -> int:
    """Answer every text, print how it went, then one line of JSON."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else TEXTS
    parse("vip = true", VOCABULARY)  # Builds the parser.
    endings: Counter[str] = Counter()
    slowest: list[tuple[float, float, str]] = []
    times = []
    for written in [*HARDEST.values(), *fuzzed(11, count - len(HARDEST))]:
        took, wall = seconds(written)
        if took * 1_000 > LIMIT_MS:
            took, wall = min((took, wall), seconds(written, TURNS))
        times.append(took)
        slowest = sorted([*slowest, (took, wall, written)], reverse=True)[:5]
        endings[answer(written)] += 1
    print(f"{count:,} texts: {', '.join(f'{n:,} {code}' for code, n in endings.most_common())}")
    for took, wall, written in slowest:
        print(f"  {1_000 * took:6.1f} ms ({1_000 * wall:6.1f} wall)  {written[:70]!r}")
    answers = live_micros()
    for written, micros in answers.items():
        print(f"  {micros:6.1f} µs live  {written}")
    over = sum(1_000 * took > LIMIT_MS for took in times)
    figures: dict[str, Any] = {
        "benchmark": "conditions", "machine": platform.machine(), "cores": os.cpu_count(),
        "texts": count, "endings": dict(endings), "over_50_ms": over,
        "slowest_ms": round(1_000 * slowest[0][0], 1),
        "median_ms": round(1_000 * median(times), 2),
        "live_us_most": max(answers.values()),
    }  # fmt: skip
    print(json.dumps(figures))
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
