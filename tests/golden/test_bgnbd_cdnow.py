"""BG/NBD on the CDNOW sample: the paper's own estimates.

Fader, Hardie and Lee, "'Counting Your Customers' the Easy Way", Marketing Science 24(2), 2005,
table 2: r .243, alpha 4.414, a .793, b 2.426, log-likelihood -9,582.4, on 2,357 customers in weeks
1 to 39. The split and its AUC are those of the data README.
"""

from __future__ import annotations

import gzip
from collections import defaultdict
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from training.bgnbd import BgNbd, Ledger
from training.evaluation import auc

PAPER = BgNbd(0.243, 4.414, 0.793, 2.426)
END = date(1997, 9, 30).toordinal()
WEEKS_AHEAD = 39


def days_by_customer(path: Path, column: int) -> list[list[int]]:
    """Return the days with a purchase of every customer."""
    days: dict[str, set[int]] = defaultdict(set)
    with gzip.open(path, "rt") as lines:
        for line in lines:
            parts = line.split()
            if parts and parts[0].isdigit():
                text = parts[column]
                day = date(int(text[:4]), int(text[4:6]), int(text[6:]))
                days[parts[0]].add(day.toordinal())
    return [sorted(each) for each in days.values()]


@pytest.fixture(scope="module")
def sample(data_dir: Path) -> list[list[int]]:
    return days_by_customer(data_dir / "cdnow" / "CDNOW_sample.txt.gz", 2)


@pytest.fixture(scope="module")
def ledger(sample: list[list[int]]) -> Ledger:
    past = [[day for day in days if day <= END] for days in sample]
    rows = [(len(p) - 1, (p[-1] - p[0]) / 7, (END - p[0]) / 7) for p in past]
    return Ledger(*np.array(rows, dtype=np.float64).T)


def test_the_estimates_are_those_of_the_paper(ledger: Ledger) -> None:
    assert len(ledger.age) == 2_357
    found = BgNbd.fit(ledger)
    assert found is not None
    assert (found.r, found.alpha) == pytest.approx((0.243, 4.414), abs=5e-4)
    assert (found.a, found.b) == pytest.approx((0.793, 2.426), abs=5e-4)
    assert found.log_likelihoods(ledger).sum() == pytest.approx(-9582.4, abs=0.05)


def test_it_ranks_who_buys_again_as_the_data_readme_says(
    ledger: Ledger, sample: list[list[int]]
) -> None:
    until = END + 7 * WEEKS_AHEAD
    again = np.array([any(END < day <= until for day in days) for days in sample], np.int8)
    assert auc(again, PAPER.expected(ledger, WEEKS_AHEAD)) == pytest.approx(0.7725, abs=5e-5)


def test_the_customer_of_the_papers_worksheet_is_expected_to_buy_1_226_times() -> None:
    # Fader and Hardie, "Implementing the BG/NBD Model for Customer Base Analysis in Excel", 2005:
    # x = 2, t_x = 30.43, T = 38.86, t = 39.
    one = Ledger(np.array([2.0]), np.array([30.43]), np.array([38.86]))
    assert PAPER.expected(one, 39) == pytest.approx([1.226], abs=5e-4)
