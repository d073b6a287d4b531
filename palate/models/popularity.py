"""Popularity: the baseline of every report, and the answer to an empty history."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from palate.arrays import Doubles, Floats, Ints, ItemFloats, Longs
from palate.data.catalogue import Catalogue
from palate.data.histories import Histories
from palate.data.interactions import Interactions
from palate.data.ragged import without_dislikes
from palate.data.vocabulary import Vocabulary
from palate.models.base import Model, Recipe, Watch, refuse_empty
from palate.models.registry import register
from palate.models.weights import check_half_life, faded


def popularity(item: Ints | Longs, weight: Floats, items: int, count: Longs | None = None) -> Doubles:
    """Sum of each item's event weights, those below 0 as 0, (items,): what popular means, here and in the service.

    item (N,) and weight (N,) of events; count (N,): how many such events there are, 1 by default.
    """
    positive = without_dislikes(weight)
    whole = positive if count is None else positive * count.astype(np.float64)
    return np.bincount(item, whole, minlength=items).astype(np.float64)  # which counts no events in whole numbers


@dataclass(frozen=True, kw_only=True)
class Popularity(Recipe):
    """Sum of each item's event weights above 0; with a half-life, an event counts half as much that many days later.

    Equal items stand in the order in which the log first names them.
    """

    half_life_days: float | None = None

    def __post_init__(self) -> None:
        check_half_life(self.half_life_days)

    def fit(
        self, log: Interactions, catalogue: Catalogue | None = None, *, watch: Watch | None = None
    ) -> PopularityModel:
        """Fit to the log. Time decay counts back from the newest event of the log."""
        refuse_empty(log)
        total = popularity(log.item, faded(log, self.half_life_days), len(log.items))
        return PopularityModel(self, log.items, total.astype(np.float32))


@dataclass(frozen=True, eq=False)
class PopularityModel(Model):
    """item_scores (I,): the same order for everyone."""

    recipe: Popularity
    items: Vocabulary
    item_scores: ItemFloats

    def scores(self, histories: Histories) -> Floats:
        """Return the item scores once a history, (B, I)."""
        return np.tile(self.item_scores, (len(histories), 1))


register(Popularity, PopularityModel)
