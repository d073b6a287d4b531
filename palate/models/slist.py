"""SLIST: item-to-item weights in closed form for what comes next in a sequence.

Choi, Kim, Lee, Shim, Lee 2021, "Session-aware Linear Item-Item Models for Session-based Recommendation".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.linalg.blas import strsm
from scipy.linalg.lapack import spotrf
from scipy.sparse import csr_array

from palate.arrays import Floats
from palate.compute.memory import refuse_beyond
from palate.compute.threads import parallel_for
from palate.data.catalogue import Catalogue
from palate.data.interactions import Interactions
from palate.data.ragged import Ragged
from palate.data.vocabulary import Vocabulary
from palate.errors import check
from palate.kernels.sequences import recency, walk_rows
from palate.models.base import Watch, refuse_empty
from palate.models.item_to_item import DenseItemModel, ItemRecipe, SparseItemModel
from palate.models.neighbours import Neighbours, arrays
from palate.models.registry import register
from palate.models.sequences import Products, Sequences, Tables, too_small
from palate.models.weights import check_half_life

WIDE = 512  # columns of a factor done at once
WALKERS = 100  # items of each row that a walk goes on from: the largest weights
WALKED = 300  # weights of each row that are kept of a walk


@dataclass(frozen=True, kw_only=True)
class SLIST(ItemRecipe):
    """The weights B (I, I) that minimise α Σ_s ‖x_s - x_s B‖² + (1 - α) Σ_c ‖y_c - x_c B‖² + Σ_i λ_i ‖B_i‖².

    s are whole sequences (SLIS in the paper), c the cuts of each into inputs x_c before and targets y_c behind it
    (SLIT). B = (P + λ)⁻¹ C, P the products of inputs with inputs, C those of inputs with targets. An event of weight
    0 or less is neither input nor target, but counts as seen; the others count alike.

    alpha           share of the whole sequences, whose order does not matter: what goes together
    whole_decay     in a whole sequence, two events count whole_decay^d together when they are d places apart
    train_decay     at a cut, an input or target one place further away counts so much less
    decay           when asked: a past event counts so much less than the one after it
    l2, l2_power    λ_i = l2 (P_ii)^l2_power
    neighbours      L: each item gets weights from the L items that explain most of it alone, by the exact solution of
                    the loss on those. None: from all items, in 8 I² bytes
    walk            B + walk B⁺ B° stands for B: what comes after what comes next (Choi et al. 2022, S-Walk); B⁺ are
                    the weights above 0, B° those to another item. Not with neighbours=None
    beta            at last, weights to an item of n positive events are divided by n^beta: more, fewer popular items
    half_life_days  a sequence counts half for each half-life between its end and the newest event of the log
    longest         a longer sequence is cut into pieces of this length: time grows with their length
    """

    alpha: float = 0.3
    whole_decay: float = 1.0
    train_decay: float = 0.4
    decay: float = 0.65
    l2: float = 100.0
    l2_power: float = 0.0
    neighbours: int | None = 100
    walk: float = 0.0
    beta: float = 0.0
    half_life_days: float | None = None
    longest: int = 200
    reads_weights: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check(0 <= self.alpha <= 1, "alpha", self.alpha, "is a share, 0 to 1")
        for name in ("whole_decay", "decay"):
            check(0 < getattr(self, name) <= 1, name, getattr(self, name), "must be above 0, at most 1")
        check(0 <= self.train_decay < 1, "train_decay", self.train_decay, "must be 0 or more, below 1")
        check(0 < self.l2 < np.inf, "l2", self.l2, "must be above 0")
        check(0 <= self.l2_power <= 1, "l2_power", self.l2_power, "must be 0 to 1")
        few = self.neighbours
        check(few is None or few >= 1, "neighbours", few, "must be 1 or more, or None for all")
        for name in ("walk", "beta"):
            check(0 <= getattr(self, name) < np.inf, name, getattr(self, name), "must be 0 or more")
        check(few is not None or self.walk == 0, "walk", self.walk, "must be 0 with neighbours=None")
        check_half_life(self.half_life_days)
        check(self.longest >= 2, "longest", self.longest, "must be 2 or more")

    def inputs(self, rows: Ragged) -> Floats:
        """Return decay^d for a liked event with d others behind it in its history, (N,)."""
        return recency(rows.start, rows.liked, self.decay)

    def fit(
        self, log: Interactions, catalogue: Catalogue | None = None, *, watch: Watch | None = None
    ) -> DenseItemModel | SparseItemModel:
        """Fit to the log. Raises `SettingError` where P or the weights do not fit into memory."""
        refuse_empty(log)
        popularity = np.bincount(log.item[log.liked], minlength=len(log.items)).astype(np.float32)
        sequences = Sequences.of(log, self.longest, self.half_life_days)
        tables = self.tables()
        if self.neighbours is None:
            self.refuse_too_large(len(popularity))
            P = sequences.inputs(tables)
            return self.dense(log.items, popularity, P, sequences.targets(tables))
        P = sequences.inputs(tables)
        few = sequences.weights(tables, P, penalties(P.diagonal, self.l2, self.l2_power), self.neighbours)
        return self.sparse(log.items, popularity, few)

    def tables(self) -> Tables:
        """Return what two events of a sequence add by their distance."""
        return Tables.of(self.longest, self.alpha, self.whole_decay, self.train_decay)

    def refuse_too_large(self, items: int) -> None:
        """Raise `SettingError` where all weights between so many items do not fit into memory."""
        refuse_beyond(8 * items**2, "neighbours=None: all weights", "set neighbours=100")

    def dense(self, items: Vocabulary, popularity: Floats, P: Products, back: Floats) -> DenseItemModel:
        """Return the model of all weights; `back`, Cᵀ (I, I), is overwritten."""
        B = all_weights(P, back, penalties(P.diagonal, self.l2, self.l2_power))
        B *= self.share(popularity)
        return DenseItemModel(self, items, popularity, B)

    def sparse(self, items: Vocabulary, popularity: Floats, few: csr_array) -> SparseItemModel:
        """Return the model of the weights of L neighbours of each item, (I, I), before they walk."""
        walked = few if self.walk == 0 else walk(few, self.walk)
        walked.data *= self.share(popularity)[walked.indices]
        return SparseItemModel(self, items, popularity, *arrays(walked))

    def share(self, popularity: Floats) -> Floats:
        """Factors of the weights to each item, (I,)."""
        return np.asarray(np.maximum(popularity, 1) ** np.float32(-self.beta), np.float32)


def penalties(diagonal: Floats, l2: float, power: float) -> Floats:
    """λ_i = l2 (P_ii)^power, (I,); an item that no input holds gets l2 itself, its weights are 0 anyway."""
    known = np.where(diagonal > 0, diagonal, np.float32(1))
    return np.asarray(l2 * known**power, np.float32)


def all_weights(P: Products, back: Floats, ridge: Floats) -> Floats:
    """B = (P + λ)⁻¹ C by a Cholesky factor; `back`, Cᵀ (I, I), is overwritten. Two arrays (I, I) at most."""
    factor = csr_array((P.value, P.column, P.start), shape=back.shape).toarray()
    factor[np.diag_indices_from(factor)] += ridge
    factorise(factor)
    # BLAS counts columns first: to it the transpose of an array needs no copy.
    for transposed in (1, 0):  # P + λ = L Lᵀ, and factor.T holds Lᵀ
        strsm(1.0, factor.T, back.T, lower=0, trans_a=transposed, overwrite_b=1)
    del factor
    return np.ascontiguousarray(back.T)


def factorise(A: Floats) -> None:
    """Write L with A = L Lᵀ into the lower triangle of A (I, I), block by block of columns.

    LAPACK's own potrf of OpenBLAS 0.3.30 crashes from about 40,000 columns on.
    """
    I = len(A)
    for low in range(0, I, WIDE):
        K = slice(low, min(low + WIDE, I))
        A[low:, K] -= A[low:, :low] @ A[K, :low].T
        R, failed = spotrf(A[K, K].T.copy(order="F"), lower=0, overwrite_a=1)
        if failed:
            raise too_small()
        A[K, K] = R.T
        A[K.stop :, K] = strsm(1.0, R, A[K.stop :, K], side=1, lower=0)


def walk(B: csr_array, step: float) -> csr_array:
    """B + step B⁺ B°, the best of each row."""
    I = B.shape[0]
    found = Neighbours.empty(I, min(WALKED, I))
    sides = (*arrays(B), step, WALKERS, found.size, found.item, found.value)
    parallel_for(lambda low, high: walk_rows(*sides, low, high), I)
    return found.weights().T.tocsr()


register(SLIST, DenseItemModel, SparseItemModel)
