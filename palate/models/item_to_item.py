"""What EASE, SLIST and item neighbours share: a weight from each item of a history to each item of the catalogue.

The score of item i for a history with inputs x is Σ_j x_j B_ji: each past item's part of it is known exactly.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated

import numpy as np
from scipy.sparse import csr_array

from palate.arrays import Array, Floats, Ints, ItemFloats, Longs
from palate.data.histories import Histories
from palate.data.interactions import Interactions
from palate.data.ragged import Ragged
from palate.data.vocabulary import Vocabulary
from palate.kernels.positives import first_positives, newest_only
from palate.kernels.rows import add_rows, crossings
from palate.models.base import Model, Recipe
from palate.models.weights import faded

MOST = np.float32(1e30)  # input: more would leave the numbers of float32 when many add up
FAINT = np.float32(1e-9)  # score of the most popular item that no weight reaches: popularity orders them


class ItemRecipe(Recipe):
    """A recipe whose model is a matrix of weights from item to item."""

    @abstractmethod
    def inputs(self, rows: Ragged) -> Floats:
        """Return the input x of each event of the histories, (N,)."""


def positives(log: Interactions, binary: bool, half_life_days: float | None = None) -> csr_array:
    """Users x items over the events of weight above 0: repeats add up, or each pair is 1 where `binary`.

    With a half-life an event counts half as much for each before the newest; a pair that is 1 as its newest event.
    """
    kept = log.liked
    start = np.concatenate([np.zeros(1, np.int64), np.cumsum(kept, dtype=np.int64)])[log.start]
    events = replace(log, weight=np.ones_like(log.weight)) if binary else log
    item, value = log.item[kept], faded(events, half_life_days)[kept]
    if binary:
        value = newest_only(start, item, value)
    matrix = csr_array((value, item, start), shape=(len(log.users), len(log.items)))
    matrix.sum_duplicates()
    return matrix


def positive_inputs(rows: Ragged, binary: bool) -> Floats:
    """Return inputs (N,) that add up to the row that `positives` makes of the same events."""
    if binary:
        return first_positives(rows.start, rows.column, rows.liked)
    return np.clip(rows.weight, np.float32(0), MOST)


@dataclass(frozen=True, eq=False)
class ItemModel(Model):
    """popularity (I,), weights of the events: the answer to an empty history, and to equal scores."""

    recipe: ItemRecipe
    items: Vocabulary
    popularity: ItemFloats

    @abstractmethod
    def add(self, rows: Ragged, inputs: Floats, scores: Floats) -> None:
        """Add x B to scores (B, I), x the inputs (N,) of the events of B histories."""

    @abstractmethod
    def item_similarity(self, item: int) -> Floats:
        """Weights from one item to all, (I,)."""

    def scores(self, histories: Histories) -> Floats:
        """Return x B, (B, I), where it is 0 by popularity; a user without a history gets the popularity alone."""
        rows = histories.on(self.items).rows
        scores = np.tile(self.faint, (len(rows), 1))
        self.add(rows, self.recipe.inputs(rows), scores)
        scores[rows.positives == 0] = self.popularity
        return scores

    @cached_property
    def faint(self) -> Floats:
        """Scores where no weight reaches, (I,)."""
        top = self.popularity.max(initial=0)
        return self.popularity * (FAINT / top if top > 0 else np.float32(0))

    @abstractmethod
    def weights_between(self, past: Ints, items: Ints) -> Floats:
        """Weights from N items to J others, (N, J)."""

    def similarities(self, past: Ints, items: Ints) -> Floats:
        """Weights from N items to J others, (N, J)."""
        return self.weights_between(past, items)

    def contributions(self, past: Ragged, items: Ints) -> Floats:
        """Exact parts x_j B_ji of the scores, (N, J)."""
        return self.weights_between(past.column, items) * self.recipe.inputs(past)[:, None]


@dataclass(frozen=True, eq=False)
class DenseItemModel(ItemModel):
    """weights (I, I), from row to column.

    inverse (I,), the diagonal of P = (XᵀX + l2)⁻¹ where that gave the weights: with it they give all of P again, from
    which users are taken without a new inverse (`palate.privacy`)
    """

    weights: Annotated[Floats, Array("items", "items")]
    inverse: Annotated[Floats, Array("items")] | None = None

    def add(self, rows: Ragged, inputs: Floats, scores: Floats) -> None:
        """Add x B to scores (B, I)."""
        scores += csr_array((inputs, rows.column, rows.start), shape=scores.shape) @ self.weights

    def item_similarity(self, item: int) -> Floats:
        """Weights from one item to all, (I,)."""
        return np.asarray(self.weights[item])

    def weights_between(self, past: Ints, items: Ints) -> Floats:
        """Weights from N items to J others, (N, J)."""
        return np.asarray(self.weights[past[:, None], items], np.float32)


@dataclass(frozen=True, eq=False)
class SparseItemModel(ItemModel):
    """start (I + 1,), column (N,), weight (N,): the weights that are not 0, row by row."""

    start: Annotated[Longs, Array("items+1", starts="weights")]
    column: Annotated[Ints, Array("weights", below="items")]
    weight: Annotated[Floats, Array("weights")]

    @property
    def matrix(self) -> csr_array:
        """The weights as a sparse matrix, (I, I)."""
        return csr_array((self.weight, self.column, self.start), shape=(len(self.items), len(self.items)))

    def add(self, rows: Ragged, inputs: Floats, scores: Floats) -> None:
        """Add x B to scores (B, I)."""
        add_rows(rows.start, rows.column, inputs, self.start, self.column, self.weight, scores)

    def item_similarity(self, item: int) -> Floats:
        """Weights from one item to all, (I,)."""
        row = np.zeros(len(self.items), np.float32)
        places = slice(self.start[item], self.start[item + 1])
        row[self.column[places]] = self.weight[places]
        return row

    def weights_between(self, past: Ints, items: Ints) -> Floats:
        """Weights from N items to J others, (N, J)."""
        return crossings(self.start, self.column, self.weight, past, items)
