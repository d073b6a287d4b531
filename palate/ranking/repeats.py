"""Buy again: items of a user's history that are due by the intervals of their purchases."""

from __future__ import annotations

import numpy as np

from palate.arrays import Bools, Doubles, Longs
from palate.data.ragged import NEVER, liked
from palate.data.times import HOUR
from palate.ranking.context import UserHistory

# Types of events that are purchases; events without a type, which imports call "event", count as such.
PURCHASES = frozenset({"purchase", "buy", "order", "transaction", "event", ""})
ONE = HOUR  # purchases of an item within an hour are one


def due(history: UserHistory, now: int) -> tuple[Longs, Doubles]:
    """Return the items that are due at the time `now` (microseconds since 1970 UTC), the most recently due first.

    An item has a habit where the user purchased it twice or more: its interval is the median of the times between
    purchases. It is due once that time has passed since the last purchase, and scores interval / time passed: 1 when
    it becomes due, ever less later. Returns positions (N,) and scores (N,) in (0, 1]; a disliked item is never due.
    """
    bought = _purchases(history) & (history.time <= now)
    order = np.lexsort((history.time[bought], history.position[bought]))
    position, time = history.position[bought][order], history.time[bought][order]
    gap = np.diff(time)
    again = (position[1:] == position[:-1]) & (gap >= ONE)  # a gap between two purchases of one item
    owner, gaps = position[1:][again], gap[again]
    items, interval = _medians(owner, gaps)
    last = np.searchsorted(position, items, side="right") - 1
    passed = now - time[last]
    ready = (passed >= interval) & ~np.isin(items, history.disliked)
    score = interval[ready] / passed[ready]
    best = np.argsort(-score, kind="stable")
    return items[ready][best], score[best]


def _purchases(history: UserHistory) -> Bools:
    """Which events of a history are purchases, (N,)."""
    named = np.array([name.casefold() in PURCHASES for name in history.event_types] + [True])  # -1: without a type
    found: Bools = named[history.event] & liked(history.weight) & (history.time != NEVER)
    return found


def _medians(owner: Longs, value: Longs) -> tuple[Longs, Doubles]:
    """Return the owners (N,), ascending, and the median of the values of each, (N,)."""
    order = np.lexsort((value, owner))
    items, start, count = np.unique(owner[order], return_index=True, return_counts=True)
    low, high = (value[order][start + (count - 1 + more) // 2].astype(np.float64) for more in (0, 1))
    return items, (low + high) / 2
