"""The list in the making, as arrays: the items chosen so far, and those that may still be chosen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from palate.arrays import Bools, Doubles, Floats, Longs
from palate.ranking.context import Context
from palate.ranking.request import SOURCES, ListRequest, Source

Codes: TypeAlias = NDArray[np.int8]
LARGEST = float(np.finfo(np.float32).max)
CODE = {name: code for code, name in enumerate(SOURCES)}


@dataclass(frozen=True, eq=False)
class Slate:
    """N items in the order of the list; it never changes.

    position  in the catalogue, (N,); score (N,); source: places in `SOURCES`, (N,)
    """

    position: Longs
    score: Doubles
    source: Codes

    @classmethod
    def of(cls, position: Longs, score: Doubles | Floats | Longs, source: Source) -> Slate:
        """Make a slate of items of one source."""
        return cls(position, score.astype(np.float64), np.full(len(position), CODE[source], np.int8))

    @classmethod
    def joined(cls, parts: Sequence[Slate]) -> Slate:
        """Put slates one behind the other."""
        filled = [part for part in parts if len(part)]
        if len(filled) < 2:
            return filled[0] if filled else EMPTY
        return cls(
            np.concatenate([part.position for part in filled]),
            np.concatenate([part.score for part in filled]),
            np.concatenate([part.source for part in filled]),
        )

    def __len__(self) -> int:
        return len(self.position)

    def take(self, places: Longs | slice) -> Slate:
        """Return the items at these places, in this order."""
        return Slate(self.position[places], self.score[places], self.source[places])


EMPTY = Slate(np.zeros(0, np.int64), np.zeros(0), np.zeros(0, np.int8))


def finite(scores: NDArray[np.floating]) -> Floats:
    """Scores as numbers that JSON has: a sum of huge weights becomes the largest number."""
    if np.isfinite(scores).all() and (scores.dtype == np.float32 or np.abs(scores).max(initial=0) <= LARGEST):
        return scores.astype(np.float32, copy=False)
    sound: Floats = np.nan_to_num(np.clip(scores, -LARGEST, LARGEST)).astype(np.float32)
    return sound


@dataclass(frozen=True, eq=False)
class Eligible:
    """What the list may show: available, meeting the filter, not seen, not disliked, not excluded.

    items (P,) and rows (I,)  masks by position and by row of the model; items that are chosen leave them
    """

    items: Bools
    rows: Bools
    context: Context

    @classmethod
    def of(cls, request: ListRequest, context: Context, shown: list[int]) -> Eligible:
        """Begin with what may be shown at all; shown  numbers of the items of the pages before."""
        index, masks = context.index, context.masks
        allowed = masks.meeting(request.filter) if request.filter else (masks.available.copy(), masks.rows.copy())
        eligible = cls(*allowed, context)
        if request.only is None:
            eligible.remove(context.history.disliked if request.keep_seen else context.history.seen)
        if request.exclude or request.anchor_items or request.shown_above:
            named = index.positions((*request.exclude, *request.anchor_items, *request.shown_above))
            eligible.remove(named[named >= 0])
        if shown:
            before = index.at(np.array(shown, np.int64))
            eligible.remove(before[before >= 0])
        return eligible

    def copy(self) -> Eligible:
        """Return the same, to be changed apart."""
        return Eligible(self.items.copy(), self.rows.copy(), self.context)

    def remove(self, positions: Longs) -> None:
        """Take items out."""
        self.items[positions] = False
        row = self.context.index.row[positions]
        self.rows[row[row >= 0]] = False
