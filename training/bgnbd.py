"""BG/NBD: how often a customer will buy again, from repeats, recency and age alone.

The beta-geometric/NBD model of Fader, Hardie and Lee ("'Counting Your Customers' the Easy Way: An
Alternative to the Pareto/NBD Model", Marketing Science 24(2), 2005). While active, a customer buys
at a rate of their own, gamma distributed (r, alpha); after each purchase they leave for good with a
probability of their own, beta distributed (a, b). Numbered equations are those of the paper.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

Floats = NDArray[np.float64]

STARTS = ((1.0, 1.0, 1.0, 1.0), (0.3, 4.0, 0.8, 2.5))
"""Values of r, alpha, a and b to search from; alpha in units of a tenth of the mean age."""
LEAST, MOST = np.log(1e-4), np.log(1e5)


@dataclass(frozen=True)
class Ledger:
    """What the model knows of n customers, all in one unit of time.

    `repeats`: purchases after the first. `recency`: from the first purchase to the last, 0 where
    there are no repeats. `age`: from the first purchase to now.
    """

    repeats: Floats
    recency: Floats
    age: Floats

    def rows(self, chosen: NDArray[np.bool_]) -> Ledger:
        """Return the customers where `chosen` is true."""
        return Ledger(self.repeats[chosen], self.recency[chosen], self.age[chosen])


@dataclass(frozen=True)
class BgNbd:
    """The four parameters; `alpha` is in the ledger's unit of time."""

    r: float
    alpha: float
    a: float
    b: float

    @classmethod
    def fit(cls, ledger: Ledger) -> BgNbd | None:
        """Return the parameters of greatest likelihood; None where nobody has bought again.

        None also where the search ends at the edge of what numbers bear: the data then do not
        decide the parameters.
        """
        from scipy.optimize import minimize

        if not (ledger.repeats > 0).any() or not (ledger.age > 0).any():
            return None
        unit = float(ledger.age.mean()) / 10
        plain, times = _counted(Ledger(ledger.repeats, ledger.recency / unit, ledger.age / unit))

        def loss(logs: Floats) -> float:
            return -float(times @ cls(*np.exp(logs)).log_likelihoods(plain))

        bounds = [(LEAST, MOST)] * 4
        tried = [
            minimize(loss, np.log(start), method="L-BFGS-B", bounds=bounds) for start in STARTS
        ]
        best = min(tried, key=lambda found: float(found.fun))
        inside = (best.x > LEAST + 0.01) & (best.x < MOST - 0.01)
        if not np.isfinite(best.fun) or not inside.all():
            return None
        r, alpha, a, b = (float(value) for value in np.exp(best.x))
        return cls(r, alpha * unit, a, b)

    def log_likelihoods(self, ledger: Ledger) -> Floats:
        """Return the log-likelihood of each customer: equation 6."""
        x, r, alpha, a, b = ledger.repeats, self.r, self.alpha, self.a, self.b
        same = special.gammaln(r + x) - special.gammaln(r) + r * np.log(alpha)
        same = same + special.betaln(a, b + x) - special.betaln(a, b)
        active = -(r + x) * np.log(alpha + ledger.age)
        again = np.maximum(x, 1.0)
        left = np.log(a) - np.log(b + again - 1) - (r + x) * np.log(alpha + ledger.recency)
        return np.asarray(same + np.where(x > 0, np.logaddexp(active, left), active))

    def active(self, ledger: Ledger) -> Floats:
        """Return the probability that each customer has not left (the note to the paper, 2008)."""
        x = ledger.repeats
        longer = np.log(self.alpha + ledger.age) - np.log(self.alpha + ledger.recency)
        odds = np.log(self.a) - np.log(self.b + np.maximum(x, 1.0) - 1) + (self.r + x) * longer
        return np.where(x > 0, special.expit(-odds), 1.0)

    def expected(self, ledger: Ledger, ahead: float) -> Floats:
        """Return the purchases to expect of each customer in the next `ahead`: equation 10.

        By Euler's transformation 2F1(u, v; w; z) = (1 - z)^(w-u-v) 2F1(w - u, w - v; w; z) the
        repeats stand in w alone, so thousands of them overflow nothing.
        """
        x, a, b = ledger.repeats, self.a, self.b
        # At a = 1 equation 10 is 0 / 0, and the limit is what stands just beside it.
        less = a - 1 if abs(a - 1) > 1e-6 else 1e-6
        reached = ahead / (self.alpha + ledger.age + ahead)
        series = special.hyp2f1(less + b - self.r, less, less + b + x, reached)
        kept = (1 - reached) ** less * series
        return np.asarray((less + b + x) / less * (1 - kept) * self.active(ledger))


def _counted(ledger: Ledger) -> tuple[Ledger, Floats]:
    """Return the distinct customers and how many there are of each."""
    rows = np.column_stack([ledger.repeats, ledger.recency, ledger.age])
    distinct, times = np.unique(rows, axis=0, return_counts=True)
    return Ledger(*distinct.T), times.astype(np.float64)
