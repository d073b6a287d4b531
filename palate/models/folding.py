"""Fold-in: the vector of any history, the item vectors held still, on the objective of the training."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from palate.arrays import Floats
from palate.data.ragged import Ragged
from palate.kernels import blocks
from palate.kernels.draws import Sampler, filters
from palate.kernels.fold import fold_kernel
from palate.kernels.sampling import SgdStep
from palate.models.negative_sampling import NegativeSample
from palate.models.sgd import Slopes

STEPS = 32
RATE = 2.5


class Folding(ABC):
    """Finds vectors (B, D) of histories by `STEPS` steps of row-wise Adagrad from 0.

    The weights of a history count relative to one another. With l2 > 0 the minimum is unique: each loss is
    convex in the user's vector. An empty history gives zeros.
    """

    @abstractmethod
    def vectors(self, histories: Ragged) -> tuple[Floats, Floats]:
        """Vectors (B, D), and the influence of each event on its user's vector (N,): minus its slope.

        At the minimum l2 Σw u = Σ_j influence_j p_j - (what the negatives push), so influence_j p_j·p_i is the part
        of event j in u·p_i, up to one factor.
        """


@dataclass(frozen=True)
class BlockFolding(Folding):
    """The softmax over one fixed sample of negatives."""

    items: Floats
    sample: NegativeSample
    scale: float
    l2: float

    def vectors(self, histories: Ragged) -> tuple[Floats, Floats]:
        """See `Folding`."""
        slot = self.sample.places(len(self.items))
        rows = np.arange(len(histories), dtype=np.int32)
        whole = len(self.sample.items) == len(self.items)
        Q = self.items if whole else self.items[self.sample.items]  # (S, D)
        vectors = np.zeros((len(histories), self.items.shape[1]), np.float32)
        squares = np.zeros(len(histories), np.float32)
        for step in range(STEPS):
            slopes = Slopes.of(vectors, Q, self.items, rows, histories, self.sample, slot, self.scale)
            move, amount = slopes.by_user(Q, self.items, rows, histories)
            blocks.descend(vectors, squares, rows, move, amount, RATE * (1 - step / STEPS), self.l2)
        return vectors, -slopes.own


@dataclass(frozen=True)
class SampleFolding(Folding):
    """The losses with negatives of its own for each event, drawn anew in each step."""

    items: Floats
    sampler: Sampler
    unseen: bool
    loss: int
    negatives: int
    scale: float
    l2: float
    seed: int

    def vectors(self, histories: Ragged) -> tuple[Floats, Floats]:
        """See `Folding`."""
        start, column, weight = histories.start, histories.column, histories.weight
        words = filters(start, column, len(self.items)) if self.unseen else self.sampler.filter
        sampler = self.sampler._replace(filter=words)
        step = SgdStep(self.loss, self.negatives, RATE, self.l2, self.scale, np.uint64(self.seed))
        vectors = np.zeros((len(histories), self.items.shape[1]), np.float32)
        fold = fold_kernel(self.items.shape[1], self.negatives)
        return vectors, fold(vectors, self.items, start, column, weight, sampler, step, STEPS)
