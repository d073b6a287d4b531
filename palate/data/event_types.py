"""What an event means: its weight, which its type and its own weight make, says whether its item is liked.

The one place where the sign of a weight is looked at; the store asks the same of its rows in SQL.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from palate.arrays import Bools, Floats


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
        return float(np.float32(self.weight)) > 0  # as a log keeps it

    @property
    def hides(self) -> bool:
        """Whether the items of its events are dislikes: no list has them, even where it may have seen items."""
        return float(np.float32(self.weight)) < 0

    @property
    def silent(self) -> bool:
        """Whether its events only mark their items as seen."""
        return float(np.float32(self.weight)) == 0

    def weigh(self, own: float | None = None) -> float:
        """Weight of one of its events, by the weight of its own; None counts as 1."""
        return self.weight if own is None else self.weight * own


def liked(weight: Floats) -> Bools:
    """Which events of these weights are of liked items: what models learn from."""
    positive: Bools = weight > 0
    return positive


def disliked(weight: Floats) -> Bools:
    """Which events of these weights are dislikes: they hide their items."""
    negative: Bools = weight < 0
    return negative


def weighted(weight: Floats) -> Bools:
    """Which events of these weights say anything of their items beside that they were seen."""
    other: Bools = weight != 0
    return other


def without_dislikes(weight: Floats) -> Floats:
    """Return the weights, those of dislikes as 0."""
    return np.maximum(weight, np.float32(0))
