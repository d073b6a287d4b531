"""How much an event counts, by its type and its own weight; and how much all events of an item count together."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Thread
from time import monotonic
from types import MappingProxyType

import numpy as np

from palate.arrays import Floats, Longs
from palate.errors import StoreError
from palate.live.asking import Step
from palate.live.kept import Kept
from palate.store.events import Past, Store

LOG = logging.getLogger("palate.live")
# Any other type counts 1. An event's own weight multiplies these.
EVENT_WEIGHTS: Mapping[str, float] = MappingProxyType(
    {"view": 1, "click": 1, "cart": 3, "like": 3, "star": 3, "purchase": 5, "dislike": -1}
)
FEW = 20_000  # events that are counted within some milliseconds
REST = 50  # popularity is counted again after a rest of so many times what the last count took


class Weights:
    """Weights of the events of a store."""

    def __init__(self, store: Store, by_type: Mapping[str, float] = EVENT_WEIGHTS) -> None:
        self.by_type = by_type
        self._store = store
        self._factors: Floats = np.zeros(0, np.float32)

    def __str__(self) -> str:
        return json.dumps(dict(sorted(self.by_type.items())))

    def of_past(self, past: Past) -> Floats:
        """Weights of a person's events, (N,)."""
        weight: Floats = np.where(np.isnan(past.weight), np.float32(1), past.weight) * self.factors(past.kind)
        return weight

    def of_step(self, step: Step) -> float:
        """Weight of an event of a session."""
        factor = 1.0 if step.event_type is None else self.by_type.get(step.event_type, 1.0)
        return factor * (1.0 if step.weight is None else step.weight)

    def silent_and_negative(self) -> tuple[list[int], list[int]]:
        """Return the numbers of the types whose events weigh nothing, and of those that turn the sign of a weight."""
        factor = {number: np.float32(self.by_type.get(name, 1)) for number, name in self._store.event_types().items()}
        return [n for n, each in factor.items() if each == 0], [n for n, each in factor.items() if each < 0]

    def factors(self, kind: Longs) -> Floats:
        """Weights of event types by their numbers, (N,)."""
        if len(kind) and kind.max() >= len(self._factors):
            names = self._store.event_types()
            factors = [self.by_type.get(names.get(number, ""), 1.0) for number in range(max(names) + 1)]
            self._factors = np.array(factors, np.float32)
        return self._factors[kind]


@dataclass(frozen=True, eq=False)
class Popular:
    """What is popular.

    weight  of all events by the store's number of the item, float32 (N,)
    order   numbers of the items with a weight above 0, the most popular first, ties by number (M,)
    """

    weight: Floats = field(repr=False)
    order: Longs = field(repr=False)

    @classmethod
    def of(cls, weight: Floats) -> Popular:
        """Put them in order when they are counted, not when somebody waits for an answer."""
        positive = np.flatnonzero(weight > 0)
        return cls(weight, positive[np.argsort(-weight[positive], kind="stable")])


NOTHING = Popular.of(np.zeros(0, np.float32))


class Popularity:
    """Weights of all events by item, brought up to date by those that are new.

    After each count there is a rest in proportion to what it took, so that it costs a fiftieth of the time at most.
    When events were taken away, all are counted again, beside the answers if they are many.

    newest     seq of the last event in it
    withdrawn  how often events had been taken away before the count
    """

    def __init__(self, store: Store, weights: Weights, kept: Kept | None = None) -> None:
        self._store, self._weights = store, weights
        self.popular, self.newest, self.withdrawn = NOTHING, 0, store.withdrawn()
        if kept is not None and (kept.withdrawn, kept.weights) == (self.withdrawn, str(weights)):
            self.popular, self.newest = Popular.of(kept.total), kept.newest
        self._rested = 0.0
        self._again: Thread | None = None

    def now(self) -> Popular:
        """Return what is popular; the same as before as long as nothing changed."""
        began = monotonic()
        if began >= self._rested and self._again is None:
            newest = self._store.newest()
            if self._store.withdrawn() != self.withdrawn:
                if newest <= FEW:
                    self._count_again()
                else:
                    self._again = Thread(target=self._count_again, daemon=True)
                    self._again.start()
            elif newest != self.newest:
                self.popular, self.newest = self._counted(self.popular, self.newest)
            self._rested = monotonic() + REST * (monotonic() - began)
        return self.popular

    def _count_again(self) -> None:
        began = monotonic()
        try:
            withdrawn = self._store.withdrawn()  # before the count: what is taken away meanwhile is counted once more
            (self.popular, self.newest), self.withdrawn = self._counted(NOTHING, 0), withdrawn
        except StoreError as error:
            LOG.warning("popularity is as it was: %s", error)
        finally:
            self._rested = monotonic() + REST * (monotonic() - began)
            self._again = None

    def _counted(self, before: Popular, since: int) -> tuple[Popular, int]:
        """Count the events after `since` too; returns what is popular now, and the seq of the newest."""
        item, kind, count, newest = self._store.popularity(since)
        if not len(item):
            return before, newest
        old = before.weight
        weight = np.maximum(self._weights.factors(kind), 0) * count
        total = np.bincount(item, weight, minlength=len(old))
        total[: len(old)] += old.astype(np.float64)
        return Popular.of(np.minimum(total, np.finfo(np.float32).max).astype(np.float32)), newest
