"""Which items a list may show: not seen, not disliked, not excluded, available, and meeting the condition."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from palate.arrays import Bools, Longs
from palate.ranking.context import Context
from palate.ranking.request import ListRequest


@dataclass(frozen=True, eq=False)
class Eligible:
    """Masks over positions (P,) and over rows of the model (I,), of one list's own: chosen items leave them."""

    items: Bools
    rows: Bools
    context: Context

    @classmethod
    def of(cls, request: ListRequest, context: Context, shown: list[int]) -> Eligible:
        """Begin with what may be shown at all; shown  numbers of the items of the pages before."""
        index, history, masks = context.index, context.history, context.masks
        named = index.positions((*request.exclude, *request.anchor_items))
        before = index.at(np.array(shown, np.int64))
        seen = history.disliked if request.keep_seen else history.seen
        eligible = cls(masks.items(request.filter).copy(), masks.rows(request.filter).copy(), context)
        eligible.remove(np.concatenate([named[named >= 0], before[before >= 0], seen]))
        return eligible

    def copy(self) -> Eligible:
        """Return the same, to be changed apart."""
        return Eligible(self.items.copy(), self.rows.copy(), self.context)

    def remove(self, positions: Longs) -> None:
        """Take items out."""
        self.items[positions] = False
        row = self.context.index.row[positions]
        self.rows[row[row >= 0]] = False
