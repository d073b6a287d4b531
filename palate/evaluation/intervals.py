"""95% bootstrap intervals of means over users."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from palate.arrays import Doubles

RESAMPLES = 1000
MOST_UNITS = 10_000
_BLOCK = 1 << 19  # units drawn at once: 4 MB, small enough for the cache


def bootstrap(values: Doubles, resamples: int = RESAMPLES, seed: int = 0) -> Doubles:
    """Percentile intervals of the means of M columns, (M, 2): low and high; values (B, M), B > 0.

    Users are drawn with replacement, the same draw for all columns (Efron and Tibshirani 1993, sec. 13.3). Beyond
    `MOST_UNITS` users the units drawn are random groups of them, which leaves the variance of the mean as it is.
    """
    rng = np.random.default_rng(seed)
    units = min(len(values), MOST_UNITS)
    start = np.arange(units) * len(values) // units
    size = np.diff(start, append=len(values))
    total = np.add.reduceat(values[rng.permutation(len(values))], start)  # (units, M)
    means = []
    step = max(1, _BLOCK // units)
    for low in range(0, resamples, step):
        rows = min(step, resamples - low)
        drawn = rng.integers(units, size=(rows, units)) + np.arange(rows)[:, None] * units
        times = np.bincount(drawn.ravel(), minlength=rows * units).reshape(rows, units)  # how often each was drawn
        means.append(times @ total / (times @ size)[:, None])
    return np.quantile(np.concatenate(means), [0.025, 0.975], axis=0).T


@dataclass(frozen=True)
class Difference:
    """Mean difference over the same users, with its 95% paired bootstrap interval."""

    mean: float
    low: float
    high: float

    @property
    def clear(self) -> bool:
        """Whether the interval excludes 0."""
        return self.low > 0 or self.high < 0

    def __str__(self) -> str:
        return f"{self.mean:+.4f} [{self.low:+.4f}, {self.high:+.4f}]{' *' if self.clear else ''}"


def paired(a: Doubles, b: Doubles) -> Difference:
    """Difference a − b of two metrics over the same users, (B,) each."""
    low, high = bootstrap((a - b)[:, None])[0]
    return Difference(float(np.mean(a - b)), float(low), float(high))
