"""EASE: item-to-item weights in closed form, dense, or sparse for a large catalogue.

Steck 2019, "Embarrassingly shallow autoencoders for sparse data".
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from scipy.linalg.blas import ssyrk, strsm
from scipy.linalg.lapack import spotrf
from scipy.sparse import csr_array

from palate.arrays import Doubles, Floats, Ints, Longs
from palate.compute.memory import BLOCK_SYSTEMS, available_memory
from palate.compute.threads import parallel_for
from palate.data.catalogue import Catalogue
from palate.data.interactions import Interactions
from palate.data.ragged import Ragged
from palate.errors import SettingError, check
from palate.kernels.gram import gram_rows, shallow_rows
from palate.kernels.inverse import WIDE, sweep
from palate.kernels.restricted import fill_systems, solve_systems
from palate.kernels.rows import group_rows
from palate.models.base import Watch, refuse_empty
from palate.models.item_to_item import DenseItemModel, ItemRecipe, SparseItemModel, positive_inputs, positives
from palate.models.neighbours import Neighbours, arrays
from palate.models.penalties import mean_size, preferred
from palate.models.registry import register
from palate.models.weights import check_half_life

PENALTY = 2.0  # times √(n m)
Sides: TypeAlias = tuple[Longs, Ints, Floats]  # start, column, weight of a sparse matrix


@dataclass(frozen=True, kw_only=True)
class EASE(ItemRecipe):
    """The weights B (I, I) with a diagonal of 0 that minimise ‖X - X B‖² + l2 ‖B‖², X (U, I) the positive events.

    B = I - P / diag(P) with P = (XᵀX + l2)⁻¹ (Steck 2019, eq. 8); only ratios within a column of P are needed.
    An event of weight 0 or less is no positive: it is not trained on and no input, but it counts as seen.

    l2          penalty; None follows the log: 2 √(n m), the user of an event having n in the mean, and its item m,
                times the mean square of the entries of X.
    binary      a pair counts 1 however often and with what weight it came; False: its weights, which add up.
    neighbours  None: all weights, 4 I² bytes. L: each item gets weights from L items at most, chosen by how much of
                it each alone explains, and they minimise the same loss exactly. Time grows with I L³, and for each
                6,000 items (at L = 100) with the pairs of items that users have; I x I is never made.
    half_life_days  in the training an event counts half as much that many days before the newest; None: no decay.
    """

    l2: float | None = None
    binary: bool = True
    neighbours: int | None = None
    half_life_days: float | None = None

    def __post_init__(self) -> None:
        check(self.l2 is None or 0 < self.l2 < np.inf, "l2", self.l2, "must be above 0, or None")
        few = self.neighbours
        check(few is None or few >= 1, "neighbours", few, "must be 1 or more, or None for all")
        check_half_life(self.half_life_days)

    def inputs(self, rows: Ragged) -> Floats:
        """Return the input x of each event of the histories, (N,)."""
        return positive_inputs(rows, self.binary)

    def fit(
        self, log: Interactions, catalogue: Catalogue | None = None, *, watch: Watch | None = None
    ) -> DenseItemModel | SparseItemModel:
        """Fit to the log. Raises `SettingError` where the weights do not fit into memory, or l2 is too small."""
        refuse_empty(log)
        X = positives(log, self.binary, self.half_life_days)
        popularity = X.sum(axis=0).astype(np.float32)
        l2 = fitting_l2(X) if self.l2 is None else self.l2
        recipe = replace(self, l2=l2)
        if self.neighbours is None:
            refuse_too_large(X.shape)
            return DenseItemModel(recipe, log.items, popularity, *dense_weights(X, l2))
        B = pruned_weights(X, l2, self.neighbours)
        return SparseItemModel(recipe, log.items, popularity, *arrays(B))


def fitting_l2(X: csr_array) -> float:
    """Return the penalty that follows X (U, I): 2 √(n m) for entries of 1, about its largest singular value twice."""
    entries = X.data.astype(np.float64)
    users, items = (np.asarray(X.sum(axis=axis), np.float64) for axis in (1, 0))
    return penalty_of(users, items, float(entries @ entries))


def penalty_of(users: Doubles, items: Doubles, squares: float) -> float:
    """As `fitting_l2` of X with these sums of its rows (U,) and columns (I,), and of the squares of its entries."""
    n, m = mean_size(users), mean_size(items)  # times the mean of the entries
    return preferred(PENALTY * float(np.sqrt(n * m)) * squares / float(items.sum()))


def dense_weights(X: csr_array, l2: float) -> tuple[Floats, Floats]:
    """B = I - P / diag(P) with P = (XᵀX + l2)⁻¹, (I, I), in its own place, and diag(P), (I,); X (U, I)."""
    if not by_users(X.shape):
        return gram_weights(_gram(X.T.tocsr(), l2), l2)
    weights, diagonal = _shallow(_by_users(X, l2), l2)
    return weights, np.asarray(diagonal / np.float32(-l2), np.float32)


def gram_weights(gram: Floats, l2: float) -> tuple[Floats, Floats]:
    """Return B (I, I), in place of XᵀX + l2, of which the lower triangle is read, and diag(P), (I,)."""
    if not sweep(gram):  # -P, its lower triangle: I³ operations
        raise _too_small(l2)
    weights, diagonal = _shallow(gram, l2)
    return weights, -diagonal


def _shallow(inverse: Floats, l2: float) -> tuple[Floats, Floats]:
    """Put B in place of a multiple of -P, its lower triangle, (I, I); returns the diagonal that it had, too."""
    diagonal = inverse.diagonal().copy()
    if not (np.isfinite(diagonal) & (diagonal < 0)).all():
        raise _too_small(l2)
    parallel_for(lambda low, high: shallow_rows(inverse, diagonal, low, high), len(inverse))
    return inverse, diagonal


def by_users(shape: tuple[int, int]) -> bool:
    """Whether users are so few that the inverse is cheaper by way of them."""
    return 2 * shape[0] < shape[1]


def _by_users(X: csr_array, l2: float) -> Floats:
    """-l2 P = Xᵀ (X Xᵀ + l2)⁻¹ X - I, its lower triangle, by Woodbury's identity: U I² operations."""
    factor = _gram(X, l2)  # (U, U) = Rᵀ R; BLAS counts columns first, so that the transpose is its order
    _, failed = spotrf(factor.T, lower=0, clean=0, overwrite_a=1)
    if failed:
        raise _too_small(l2)
    half = strsm(1.0, factor.T, X.toarray().T, side=1, lower=0, overwrite_b=1)  # Xᵀ R⁻¹, (I, U)
    P = np.zeros((X.shape[1], X.shape[1]), np.float32)
    ssyrk(1.0, half, beta=0.0, c=P.T, lower=0, overwrite_c=1)
    P[np.diag_indices_from(P)] -= 1
    return P


def _gram(A: csr_array, l2: float) -> Floats:
    """Return A Aᵀ + l2, its lower triangle."""
    gram = np.zeros((A.shape[0], A.shape[0]), np.float32)
    sides = (*arrays(A), *arrays(A.tocsc()))
    parallel_for(lambda low, high: gram_rows(gram, *sides, 0, low, high), len(gram))
    gram[np.diag_indices_from(gram)] += np.float32(l2)
    return gram


def pruned_weights(X: csr_array, l2: float, L: int) -> csr_array:
    """Weights (I, I) of which each column has at most L: those that minimise its own part of the loss.

    The L neighbours j of item i are the best by G_ij / √((G_ii + l2)(G_jj + l2)), G = XᵀX. Every G_SS + l2 of a set S
    of items is positive definite, and is solved with its diagonal brought to 1.
    """
    norm = np.sqrt(X.multiply(X).sum(axis=0, dtype=np.float64) + l2).astype(np.float32)
    right = csr_array((X.data / norm[X.indices], X.indices, X.indptr), shape=X.shape)
    left = right.T.tocsr()
    found = Neighbours.of(left, right, np.zeros(len(norm), np.float32), L)
    sides = arrays(left), arrays(right)
    width = found.item.shape[1]
    targets = max(1, BLOCK_SYSTEMS // width**2)  # solved at once
    systems = np.empty((min(targets, len(norm)), width, width), np.float32)
    for low in range(0, len(norm), targets):
        solve_block(found.block(low, low + targets), systems, sides)
    if not np.isfinite(found.value).all():
        raise _too_small(l2)
    found.value[:] *= norm[:, None] / norm[found.item]
    return found.weights()


def solve_block(found: Neighbours, systems: Floats, sides: tuple[Sides, Sides]) -> None:
    """Put the weights of T targets in place of the products with their neighbours; systems (T or more, L, L)."""
    kept = np.flatnonzero(found.kept)
    left, right = sides
    first, order = group_rows(found.item.ravel()[kept], len(left[0]) - 1)
    place = kept[order]
    parallel_for(
        lambda low, high: fill_systems(*left, *right, first, place, found.item, systems, low, high), len(first) - 1
    )
    parallel_for(lambda low, high: solve_systems(systems, found.size, found.value, low, high), len(found.size))


def refuse_too_large(shape: tuple[int, int]) -> None:
    """Raise `SettingError` where the dense fit of X (U, I) needs more memory than there is; shape is (U, I)."""
    U, I = shape
    needed = 4 * (I * I + (U * (U + I) if by_users(shape) else min(WIDE, I) * I))
    free = available_memory()
    if free is not None and needed > free:
        memory = f"{needed / 1e9:.1f} GB of memory, and {free / 1e9:.1f} GB are available"
        rule = f"all weights between {I:,} items take {memory}; neighbours=100 takes far less"
        check(False, "neighbours", None, rule)


def _too_small(l2: float) -> SettingError:
    return SettingError(f"l2={l2}: too small for these events, the inverse is lost to rounding; raise it")


register(EASE, DenseItemModel, SparseItemModel)
