"""Rules of a request: boosts change scores, pins fix places, caps bound how often a value comes, shares reserve."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from palate.arrays import Bools, Floats, Longs
from palate.errors import SettingError
from palate.kernels.boosts import multiply, narrow
from palate.ranking.context import Context
from palate.ranking.labels import Labels
from palate.ranking.request import ListRequest
from palate.ranking.slate import Slate

LARGEST_BOOST = 1e30  # of all boosts of a list together
BLOCK = 1 << 14  # factors that are computed at once, which the cache holds


def boosts(request: ListRequest, context: Context) -> Floats:
    """Factor of each position's score, (P,)."""
    masks = [(context.masks.attributes.mask(boost.condition), boost.factor) for boost in request.boost]
    factors = np.empty(len(context.index), np.float32)
    block = np.empty(min(BLOCK, len(factors)))
    for low in range(0, len(factors), BLOCK):
        part = slice(low, low + BLOCK)
        factor = block[: len(factors) - low]
        factor.fill(1)
        for mask, times in masks:
            multiply(factor, mask[part], float(times))
        narrow(factor, 1 / LARGEST_BOOST, LARGEST_BOOST, factors[part])
    return factors


def pins(request: ListRequest, context: Context) -> dict[int, int]:
    """Positions of pinned items by their place; an item that is not available, or stands above, is left out.

    Raises `SettingError` for one that cannot be in the list.
    """
    found = {}
    for pin in request.pin:
        position = context.index.position(pin.item_id)
        if request.only is not None and pin.item_id not in request.only:
            raise SettingError(f"pin: item {pin.item_id!r} is not among those of the request")
        if position < 0 and request.only is None:
            raise SettingError(f"pin: item {pin.item_id!r} is unknown")
        there = position >= 0 and context.masks.available[position] and pin.item_id not in request.shown_above
        if pin.position <= request.k and there:
            found[pin.position] = position
    return found


@dataclass(frozen=True, eq=False)
class Reserved:
    """Places that a list has at least for items of a mask: by position, (P,), and by row of the model, (I,)."""

    places: int
    items: Bools
    rows: Bools

    def missing(self, position: Longs) -> int:
        """Count the places that the items (N,) of a list leave."""
        return max(0, self.places - int(np.count_nonzero(self.items[position])))


def reserved(request: ListRequest, context: Context) -> list[Reserved]:
    """Places for the shares of a request, but for those that have none."""
    wanted = [(share.places(request.k), share.condition) for share in request.share]
    return [Reserved(places, *context.masks.meeting(condition)) for places, condition in wanted if places]


class Caps:
    """All caps of a list: how often each value of their attributes stands in it so far."""

    def __init__(self, request: ListRequest, context: Context) -> None:
        self._caps = [_Cap(cap.most, context.masks.attributes.values(cap.attribute)) for cap in request.cap]

    def fit(self, slate: Slate, most: int) -> Slate:
        """First `most` items that no cap forbids beside those before them; they are counted."""
        places: list[int] = []
        for place, position in enumerate(slate.position.tolist()):
            if len(places) == most:
                break
            if all(cap.has_room(position) for cap in self._caps):
                places.append(place)
                self.count([position])
        return slate.take(np.array(places, np.int64))

    def count(self, positions: Sequence[int]) -> None:
        """Count items that stand in the list."""
        for position in positions:
            for cap in self._caps:
                cap.count(position)

    def full(self) -> Longs:
        """Positions of all items that have no room, (N,)."""
        return np.concatenate([np.zeros(0, np.int64), *(cap.full() for cap in self._caps)])


class _Cap:
    """At most `most` items with the same value of an attribute."""

    def __init__(self, most: int, labels: Labels) -> None:
        self._most, self._labels = most, labels
        self._count: Counter[int] = Counter()

    def has_room(self, position: int) -> bool:
        return all(self._count[code] < self._most for code in self._codes(position))

    def count(self, position: int) -> None:
        self._count.update(self._codes(position))

    def full(self) -> Longs:
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
