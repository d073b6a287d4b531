"""Caps in the making of one list: how often each value of an attribute stands in it."""

from __future__ import annotations

from collections import Counter

import numpy as np

from palate.arrays import Longs
from palate.live.catalogue import Labels


class Counted:
    """At most so many items with the same value of an attribute."""

    def __init__(self, most: int, labels: Labels) -> None:
        self._most, self._labels = most, labels
        self._count: Counter[int] = Counter()

    def has_room(self, position: int) -> bool:
        """Whether an item may come in."""
        return all(self._count[code] < self._most for code in self._codes(position))

    def count(self, position: int) -> None:
        """Note that an item came in."""
        self._count.update(self._codes(position))

    def full(self) -> Longs:
        """Positions of all items that have no room, (N,)."""
        labels = self._labels
        full = np.zeros(len(labels.names), np.bool_)
        full[[code for code, count in self._count.items() if count >= self._most]] = True
        if not full.any():
            return np.zeros(0, np.int64)
        # The codes of a position lie together: the position is the last whose start is not behind the code.
        return np.searchsorted(labels.start, np.flatnonzero(full[labels.code]), side="right") - 1

    def _codes(self, position: int) -> list[int]:
        codes: list[int] = self._labels.code[self._labels.start[position] : self._labels.start[position + 1]].tolist()
        return codes
