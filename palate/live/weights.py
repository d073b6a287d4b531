"""How much an event counts, by its type and its own weight; and how much all events of an item count together."""

from __future__ import annotations

from collections.abc import Mapping
from time import monotonic
from types import MappingProxyType

import numpy as np

from palate.arrays import Floats, Longs
from palate.live.asking import Step
from palate.store.events import Past, Store

# Any other type counts 1. An event's own weight multiplies these.
EVENT_WEIGHTS: Mapping[str, float] = MappingProxyType(
    {"view": 1, "click": 1, "cart": 3, "like": 3, "star": 3, "purchase": 5, "dislike": -1}
)
REST = 50  # popularity is counted again after a rest of so many times what the last count took


class Weights:
    """Weights of the events of a store."""

    def __init__(self, store: Store, by_type: Mapping[str, float] = EVENT_WEIGHTS) -> None:
        self.by_type = by_type
        self._store = store
        self._factors: Floats = np.zeros(0, np.float32)

    def of_past(self, past: Past) -> Floats:
        """Weights of a person's events, (N,)."""
        weight: Floats = np.where(np.isnan(past.weight), np.float32(1), past.weight) * self.factors(past.kind)
        return weight

    def of_step(self, step: Step) -> float:
        """Weight of an event of a session."""
        factor = 1.0 if step.event_type is None else self.by_type.get(step.event_type, 1.0)
        return factor * (1.0 if step.weight is None else step.weight)

    def factors(self, kind: Longs) -> Floats:
        """Weights of event types by their numbers, (N,)."""
        if len(kind) and kind.max() >= len(self._factors):
            names = self._store.event_types()
            factors = [self.by_type.get(names.get(number, ""), 1.0) for number in range(max(names) + 1)]
            self._factors = np.array(factors, np.float32)
        return self._factors[kind]


class Popularity:
    """Weights of all events by item, brought up to date by those that are new.

    After each count there is a rest in proportion to what it took, so that it costs a fiftieth of the time at most.
    """

    def __init__(self, store: Store, weights: Weights) -> None:
        self._store, self._weights = store, weights
        self._newest = 0
        self._rested = 0.0
        self._total: Floats = np.zeros(0, np.float32)

    def now(self) -> Floats:
        """Return the weights by the store's number of the item; the same array as long as nothing changed."""
        began = monotonic()
        if began >= self._rested:
            if self._store.newest() != self._newest:
                self._count()
            self._rested = monotonic() + REST * (monotonic() - began)
        return self._total

    def _count(self) -> None:
        item, kind, count, newest = self._store.popularity(self._newest)
        if len(item):
            weight = np.maximum(self._weights.factors(kind), 0) * count
            added = np.bincount(item, weight, minlength=len(self._total))
            added[: len(self._total)] += self._total.astype(np.float64)
            self._total = added.astype(np.float32)
        self._newest = newest
