"""How much all events of an item count together: brought up to date by new events, with rests between the counts."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from threading import Thread
from time import monotonic

import numpy as np

from palate.arrays import Doubles, Floats, Longs
from palate.data.ragged import liked, weighted
from palate.errors import StoreError
from palate.live.kept import Kept
from palate.live.weights import Weights
from palate.models.popularity import popularity
from palate.models.trending import Trend, trending
from palate.models.weights import bound_of
from palate.store.events import Store
from palate.store.pulse import Pulse

LOG = logging.getLogger("palate.live")
FEW = 20_000  # events that are counted within some milliseconds
PART = 1 << 20  # numbers of seq that are counted at once
REST = 50  # popularity is counted again after a rest of REST times the time of the last count


@dataclass(frozen=True, eq=False)
class Popular:
    """What is popular: the order of the recipe `Popularity` on the log of the store, but for items without a weight.

    sums    of the weights of all events, those below 0 as 0, by the store's number of the item, float64 (N,)
    newest  seq of the last event in them
    limit   weight that an event counts at most, as in a fit (`models.weights`)
    trend   the sums in which events fade, of the same events
    weight  the same as scores, float32 (N,)
    order   numbers of the items with a weight above 0, the most popular first, ties by number (M,)
    rise    scores of what is trending (N,); rising: numbers of the items with one above 0, in this order (T,)
    """

    sums: Doubles = field(repr=False)
    newest: int
    limit: float
    trend: Trend = field(repr=False)
    weight: Floats = field(repr=False)
    order: Longs = field(repr=False)
    rise: Floats = field(repr=False)
    rising: Longs = field(repr=False)

    @classmethod
    def of(cls, sums: Doubles, newest: int, limit: float = np.inf, trend: Trend | None = None) -> Popular:
        """Put them in order when they are counted, not while a request waits."""
        fading = Trend() if trend is None else trend
        weight = np.minimum(sums, np.finfo(np.float32).max).astype(np.float32)
        rise = trending(fading)
        return cls(sums, newest, limit, fading, weight, best_first(weight), rise, best_first(rise))


def best_first(scores: Floats) -> Longs:
    """Return the numbers of those with a score above 0, the highest first."""
    positive = np.flatnonzero(liked(scores))
    return positive[np.argsort(-scores[positive], kind="stable")]


NOTHING = Popular.of(np.zeros(0, np.float64), 0)


class Popularity:
    """Weights of all events by item, brought up to date by those that are new.

    After each count there is a rest in proportion to what it took, so that it costs a fiftieth of the time at most.
    All are counted again when events were taken away or changed, and when there are twice as many, beside the answers
    if they are many; a few are always counted again.

    withdrawn  how often events had been taken away or changed before the count
    """

    def __init__(self, store: Store, weights: Weights, kept: Kept | None = None) -> None:
        self._store, self._weights = store, weights
        self.popular, self.withdrawn = NOTHING, store.withdrawn()
        if kept is not None and (kept.withdrawn, kept.weights) == (self.withdrawn, str(weights)):
            self.popular = Popular.of(kept.sums, kept.newest, kept.limit, kept.trend)
        self._whole = self.popular.newest  # at the last count of all
        self._resumes = 0.0
        self._again: Thread | None = None

    @property
    def newest(self) -> int:
        """`seq` of the last event that is counted."""
        return self.popular.newest

    def current(self, pulse: Pulse) -> bool:
        """Whether there is nothing new to count."""
        return pulse.newest <= self.newest and pulse.withdrawn == self.withdrawn

    def due(self, pulse: Pulse) -> bool:
        """Whether there is something new to count, and the rest is over."""
        return not self.current(pulse) and self._again is None and monotonic() >= self._resumes

    def now(self, pulse: Pulse) -> Popular:
        """Return what is popular; the same as before as long as nothing changed."""
        began = monotonic()
        if self.due(pulse):
            newest, changed = pulse.newest, pulse.withdrawn != self.withdrawn
            if (newest <= FEW or not self._whole) and (changed or newest > self.newest):
                self._count_again()
            elif changed or newest > 2 * self._whole:
                self._again = Thread(target=self._count_again, daemon=True)
                self._again.start()
            elif newest > self.newest:
                self.popular, _ = self._counted(self.popular, newest)
            self._resumes = monotonic() + REST * (monotonic() - began)
        return self.popular

    def _count_again(self) -> None:
        began = monotonic()
        try:
            withdrawn = self._store.withdrawn()  # before the count: what changes meanwhile is counted once more
            newest = self._store.newest()
            found, sizes = self._counted(NOTHING, newest)
            limit = bound_of(*sizes)
            if len(sizes[0]) and sizes[0].max() > limit:
                found, _ = self._counted(Popular.of(NOTHING.sums, 0, limit), newest)
            self.popular, self.withdrawn, self._whole = replace(found, limit=limit), withdrawn, newest
        except StoreError as error:
            LOG.warning("popularity is as it was: %s", error)
        finally:
            self._resumes = monotonic() + REST * (monotonic() - began)
            self._again = None

    def _counted(self, before: Popular, newest: int) -> tuple[Popular, tuple[Floats, Longs]]:
        """Return what is popular with the events up to the newest too, and the sizes of their weights with counts."""
        sums, limit, trend = before.sums, before.limit, before.trend
        sizes: Floats = np.zeros(0, np.float32)
        counts = np.zeros(0, np.int64)
        for low in range(before.newest, newest, PART):
            item, kind, own, step, count = self._store.tally(low, min(low + PART, newest))
            weight = self._weights.of(kind, own)
            bounded = np.minimum(weight, np.float32(limit))
            part = popularity(item, bounded, len(sums), count)
            part[: len(sums)] += sums
            sums, trend = part, trend.followed_by(item, bounded, step, count)
            other = weighted(weight)
            sizes, place = np.unique(np.append(sizes, np.abs(weight[other])), return_inverse=True)
            counts = np.bincount(place, np.append(counts, count[other]), len(sizes)).astype(np.int64)
        return Popular.of(sums, newest, limit, trend), (sizes, counts)
