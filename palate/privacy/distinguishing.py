"""How well two sides are told apart, and what that says of ε: figures with 95% intervals that hold for any scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.special import bdtrik, betaincinv

from palate.arrays import Bools, Doubles

FALSE = 0.01  # share of false positives at which true ones are counted
RATES = np.geomspace(1e-3, 1.0, 49)  # shares of false positives of a curve
MISSED = 0.05  # how often an interval may miss


class Figure(NamedTuple):
    """A figure with its 95% interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True)
class Apart:
    """How well an attack tells one side from another.

    auc     chance that it gives a member a higher score than another user; .5 is by chance
    caught  share of members it names while it names `FALSE` of the others; `FALSE` is by chance
    curve   share of members named at each of `RATES`
    """

    auc: Figure
    caught: Figure
    curve: tuple[float, ...]

    @classmethod
    def of(cls, inside: Doubles, outside: Doubles) -> Apart:
        """Compare the scores of members (N,) with those of others (M,)."""
        low, high = np.sort(inside), np.sort(outside)
        cuts = np.quantile(high, 1 - RATES, method="higher")
        curve = 1 - np.searchsorted(low, cuts, "right") / len(low)
        return cls(area(low, high), caught(low, high), tuple(curve.tolist()))


def area(inside: Doubles, outside: Doubles) -> Figure:
    """Return the area under the curve, and its interval (DeLong et al. 1988), for sides that are sorted.

    Equal scores count half. Where no pair is out of order the interval is half a user wide; of one user it is all.
    """
    above, below = places(inside, outside), 1 - places(outside, inside)
    value = float(above.mean())
    if min(len(above), len(below)) < 2:
        return Figure(value, 0.0, 1.0)
    error = np.sqrt(above.var(ddof=1) / len(above) + below.var(ddof=1) / len(below))
    reach = 1.96 * max(float(error), 0.5 / min(len(above), len(below)))
    return Figure(value, max(0.0, value - reach), min(1.0, value + reach))


def places(some: Doubles, others: Doubles) -> Doubles:
    """Share of the others, sorted, below each of some, equal ones half, (N,)."""
    return np.asarray((np.searchsorted(others, some) + np.searchsorted(others, some, "right")) / (2 * len(others)))


def caught(inside: Doubles, outside: Doubles) -> Figure:
    """Return the share of members above the score that `FALSE` of the others are above; both sides sorted.

    The score is estimated, too: how many of M others are above the true one is binomial. Half of `MISSED` goes to
    that, half to the share (Clopper and Pearson 1934).
    """
    N, M = len(inside), len(outside)
    few, many = (int(np.ceil(bdtrik(tail, M, FALSE))) for tail in (MISSED / 4, 1 - MISSED / 4))

    def above(count: int) -> int:
        """Members above all but `count` of the others."""
        return N - int(np.searchsorted(inside, outside[max(0, M - 1 - count)], "right"))

    middle = above(int(FALSE * M))
    low, high = clopper_pearson(above(few), N, MISSED / 2)[0], clopper_pearson(above(many), N, MISSED / 2)[1]
    return Figure(middle / N, low, high)


def clopper_pearson(hits: int, of: int, missed: float = MISSED) -> tuple[float, float]:
    """Return the interval of a share that misses it with the chance `missed` at most."""
    low = float(betaincinv(hits, of - hits + 1, missed / 2)) if hits else 0.0
    high = float(betaincinv(hits + 1, of - hits, 1 - missed / 2)) if hits < of else 1.0
    return low, high


def share(hits: Doubles) -> Figure:
    """Return a mean of numbers from 0 to 1, (N,), and its normal interval."""
    reach = 1.96 * float(hits.std()) / np.sqrt(len(hits))
    return Figure(float(hits.mean()), max(0.0, float(hits.mean()) - reach), min(1.0, float(hits.mean()) + reach))


def least_epsilon(inside: Doubles, outside: Doubles, delta: float) -> float:
    """Return the ε that 95% of times is at most the true one, of what trainings with (N,) and without (N,) show.

    A fifth of them chooses the cut and on which side of it a training is with; the rest is judged. (ε, δ)-privacy
    bounds both P(with) <= e^ε P'(with) + δ and the same of without (Kairouz et al. 2015).
    """
    some = max(1, len(inside) // 5)
    cuts = np.unique(np.concatenate([inside[:some], outside[:some]]))
    cut = max(cuts, key=lambda each: abs(np.mean(inside[:some] >= each) - np.mean(outside[:some] >= each)))
    upward = bool(np.mean(inside[:some] >= cut) >= np.mean(outside[:some] >= cut))
    with_, without = (named(each[some:], float(cut), upward) for each in (inside, outside))
    return max(0.0, bounded(with_, without, delta), bounded(~without, ~with_, delta))


def named(scores: Doubles, cut: float, upward: bool) -> Bools:
    """Which trainings are named to be with the user."""
    return np.asarray((scores >= cut) == upward)


def bounded(true: Bools, false: Bools, delta: float) -> float:
    """Return log((true - δ) / false) of shares named, at the ends of their intervals; four of them share `MISSED`."""
    low = clopper_pearson(int(true.sum()), len(true), MISSED / 2)[0] - delta
    high = clopper_pearson(int(false.sum()), len(false), MISSED / 2)[1]
    return float(np.log(low / high)) if low > 0 else 0.0
