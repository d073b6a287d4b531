"""Trending: items that get more of the newest days than is usual for them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from palate.arrays import Doubles, Floats, Ints, Longs
from palate.data.ragged import liked, without_dislikes
from palate.data.times import DAY, HOUR

STEP = 6 * HOUR  # microseconds; times are told apart in steps of so much
RECENT_DAYS, USUAL_DAYS = 2.0, 28.0  # half-lives of what counts as recent and as usual
PRIOR = 1.0  # weight that is added to what is usual, so that a few old events do not decide
VARIES = 0.2  # share by which the events of an item vary beside chance, as over the hours of a day
LEAST = 0.1  # recent weight of a trending item: an event of weight 1 is left out after a week
NO_STEP = (1 << 62) // STEP  # beyond all events


@dataclass(frozen=True, eq=False)
class Trend:
    """Fading sums of the event weights of each item, those below 0 as 0: recent (N,) and longer (N,).

    They fade with half-lives of `RECENT_DAYS` and `USUAL_DAYS` before the newest event, not before now: the same
    events give the same sums whenever they are counted. first, last: steps of time of the oldest and newest event.
    """

    recent: Doubles = field(default_factory=lambda: np.zeros(0))
    longer: Doubles = field(default_factory=lambda: np.zeros(0))
    first: int = NO_STEP
    last: int = -NO_STEP

    def followed_by(self, item: Ints | Longs, weight: Floats, step: Longs, count: Longs) -> Trend:
        """Return it with more events: item, weight, step of time and how many such events there are, (M,) each."""
        size = max(len(self.recent), int(item.max(initial=-1)) + 1)
        there = liked(weight)
        first = min(self.first, int(step[there].min(initial=NO_STEP)))
        last = max(self.last, int(step[there].max(initial=-NO_STEP)))
        whole = without_dislikes(weight) * count.astype(np.float64)

        def faded(before: Doubles, days: float) -> Doubles:
            left = _left(days)
            sums = np.bincount(item, whole * left ** np.maximum(last - step, 0), minlength=size).astype(np.float64)
            sums[: len(before)] += before * left ** (last - self.last)
            return sums

        return Trend(faded(self.recent, RECENT_DAYS), faded(self.longer, USUAL_DAYS), first, last)


def trending(trend: Trend) -> Floats:
    """Return how far each item is above its usual weight, in standard deviations, (N,); 0 for one that is not rising.

    The usual weight of an item is longer - recent: events count more over their first week, and less after it. Of it
    follows the recent weight e to expect: at the rate of steady events over the same time, or at that of all items
    together where this is higher, so that neither an item that was always popular rises, nor one that grows as all
    do. The score is (recent - e) / sqrt(e + (VARIES e)² + PRIOR), as for counts that vary more than by chance.
    """
    recent = trend.recent
    usual = np.maximum(trend.longer - recent, 0)
    expected = usual * max(recent.sum() / (usual.sum() + PRIOR), _steady(max(trend.last - trend.first, 0)))
    score = (recent - expected) / np.sqrt(expected + (VARIES * expected) ** 2 + PRIOR)
    return np.where(recent >= LEAST, np.maximum(score, 0), 0).astype(np.float32)


def _left(days: float) -> float:
    """Return what is left after a step of time, with a half-life of so many days."""
    return float(0.5 ** (STEP / (days * DAY)))


def _steady(steps: int) -> float:
    """Return recent over usual weight of an item with the same events in each step, over so many steps."""
    recent, longer = ((1 - left ** (steps + 1)) / (1 - left) for left in map(_left, (RECENT_DAYS, USUAL_DAYS)))
    return recent / (longer - recent) if steps else 0.0
