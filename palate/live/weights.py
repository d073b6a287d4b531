"""How much an event counts, by its type and its own weight."""

from __future__ import annotations

import json
from collections.abc import Mapping
from threading import Lock
from types import MappingProxyType

import numpy as np

from palate.arrays import Floats, Longs
from palate.data.event_types import EventType
from palate.ranking.request import SessionEvent
from palate.store.events import Past, Store

# Any other type counts 1. An event's own weight multiplies these.
EVENT_WEIGHTS: Mapping[str, float] = MappingProxyType(
    {"view": 1, "click": 1, "cart": 3, "like": 3, "star": 3, "purchase": 5, "dislike": -1}
)
# Types of events that a shop lives on; what one brings in is the price of its item.
CONVERSIONS = ("purchase", "buy", "order", "checkout", "transaction", "conversion", "booking", "subscribe", "rent")
UNNAMED = EventType("")


class Weights:
    """Weights of the events of a store."""

    def __init__(self, store: Store, by_type: Mapping[str, float] = EVENT_WEIGHTS) -> None:
        self.by_type = by_type
        self._store = store
        self._factors: Floats = np.zeros(0, np.float32)
        self.names: tuple[str, ...] = ()  # of the types that it has weighed, by their numbers
        self._lock = Lock()

    def __str__(self) -> str:
        return json.dumps(dict(sorted(self.by_type.items())))

    def of_past(self, past: Past) -> Floats:
        """Weights of a user's events, (N,)."""
        return self.of(past.kind, past.weight)

    def of(self, kind: Longs, weight: Floats) -> Floats:
        """Weights of events by the numbers of their types and their own weights, (N,); nan counts as 1."""
        whole: Floats = np.where(np.isnan(weight), np.float32(1), weight) * self.factors(kind)
        return whole

    def of_session(self, event: SessionEvent) -> float:
        """Weight of an event of a session."""
        name = event.event_type
        return (UNNAMED if name is None else EventType.of(name, self.by_type)).weigh(event.weight)

    def silent_and_negative(self) -> tuple[list[int], list[int]]:
        """Return the numbers of the types whose events weigh nothing, and of those that turn the sign of a weight."""
        types = self._types()
        return [n for n, each in enumerate(types) if each.silent], [n for n, each in enumerate(types) if each.hides]

    def factors(self, kind: Longs) -> Floats:
        """Weights of event types by their numbers, (N,)."""
        if len(kind) and kind.max() >= len(self._factors):
            with self._lock:  # so that names are never fewer than before
                types = self._types()
                self.names = tuple(each.name for each in types)
                self._factors = np.array([each.weight for each in types], np.float32)
        return self._factors[kind]

    def _types(self) -> list[EventType]:
        """Event types of the store by their numbers; a number that none has is that of a type without a name."""
        names = self._store.event_types()
        return [EventType.of(names.get(number, ""), self.by_type) for number in range(max(names, default=-1) + 1)]
