"""What an event type means. A single event means what its whole weight does, which is its type's times its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from palate.arrays import Floats
from palate.data.ragged import disliked, liked, weighted


@dataclass(frozen=True, slots=True)
class EventType:
    """A type of events: view, like, purchase; `weight` multiplies the weights that its events have of their own."""

    name: str
    weight: float = 1.0

    @classmethod
    def of(cls, name: str, weights: Mapping[str, float]) -> EventType:
        """Return the type of a name by the weights of types; one that is not among them weighs 1."""
        return cls(name, weights.get(name, 1.0))

    @property
    def teaches(self) -> bool:
        """Whether models learn the items of its events as liked."""
        return bool(liked(self._weight))

    @property
    def hides(self) -> bool:
        """Whether the items of its events are dislikes: no list has them, even where it may have seen items."""
        return bool(disliked(self._weight))

    @property
    def silent(self) -> bool:
        """Whether its events only mark their items as seen."""
        return not weighted(self._weight)

    @property
    def _weight(self) -> Floats:
        """The weight as a log keeps it, ()."""
        return np.asarray(self.weight, np.float32)

    def weigh(self, own: float | None = None) -> float:
        """Weight of one of its events, by the weight of its own; None counts as 1."""
        return self.weight if own is None else self.weight * own
