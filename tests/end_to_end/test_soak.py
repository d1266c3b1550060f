"""A minute of visitors and their events: every answer comes, and memory stays where it is."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest

from tests.end_to_end.shops import own_megabytes, serving, table

SECONDS, SETTLED = 60.0, 20.0
PAUSE = 0.004
GROWTH_MB = 15.0
"""In some 4,000 requests: a few kilobytes kept of each would be more."""


@pytest.mark.slow
def test_a_minute_of_mixed_load_leaves_memory_flat(a_copy, free_port):
    people = table(a_copy, "profiles", "profiles")
    known = [who for who in people["profile_id"] if who.startswith(("customer:", "cookie:"))][:50]
    held: dict[float, float] = {}
    with serving(a_copy, free_port) as client:
        begin, number = time.monotonic(), 0
        while (passed := time.monotonic() - begin) < SECONDS:
            number += 1
            who = known[number % len(known)]
            if number % 4:
                answer = client.post("/score", json={"identity": who})
                assert answer.status_code == 200, answer.text
            else:
                namespace, _, value = who.partition(":")
                event = {
                    "id": f"soak-{number}",
                    "type": "page_view",
                    "time": datetime.now(UTC).isoformat(),
                    "identities": {namespace: value},
                }
                answer = client.post("/events", json={"events": [event]})
                assert answer.status_code == 202, answer.text
                assert answer.json()["accepted"] == 1
            if number % 100 == 0:
                held[passed] = own_megabytes(a_copy)
            time.sleep(PAUSE)
    assert number > 1_000
    settled = [mb for passed, mb in held.items() if passed > SETTLED]
    assert settled[-1] - settled[0] < GROWTH_MB, held
