"""InfiniteAE: an autoencoder of infinite width, which has a closed form.

Sachdeva, Dhaliwal, Wu, McAuley 2022, "Infinite Recommendation Networks: A Data-Centric Approach" (∞-AE).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, ClassVar

import numpy as np
from scipy.linalg.lapack import spotrf, spotrs
from scipy.sparse import csr_array

from palate.arrays import Array, Floats, Ints, ItemFloats, Longs
from palate.compute.memory import refuse_beyond
from palate.data.catalogue import Catalogue
from palate.data.histories import Histories
from palate.data.interactions import Interactions
from palate.data.vocabulary import Vocabulary
from palate.errors import SettingError, check
from palate.models.base import Model, Recipe, Watch, refuse_empty
from palate.models.item_to_item import positive_inputs, positives
from palate.models.registry import register

BLOCK = 512  # rows of a kernel made at once


@dataclass(frozen=True, kw_only=True)
class InfiniteAE(Recipe):
    """Kernel ridge regression from each history to itself, by the neural tangent kernel of a network of ReLUs.

    A network that reproduces histories, infinitely wide and trained to the end, is f(x) = k(x, X) (K + λ)⁻¹ X, X
    (U, I) the histories of the log, K = k(X, X), λ = l2 trace(K) / U. Each item of a history with weight above 0
    counts 1, the others 0. Memory is 4 U (U + I) bytes, the time grows with U³: for up to some 20,000 users.

    l2     penalty, beside the mean of K's diagonal
    depth  hidden layers
    bias   variance of the biases of each layer, where those of its weights is 2 / width
    norm   a history x goes in as x / ‖x‖^norm: 0, users of many events weigh most in the fit; 1, all weigh the same
    """

    l2: float = 0.5
    depth: int = 1
    bias: float = 0.0
    norm: float = 0.5
    reads_weights: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check(0 < self.l2 < np.inf, "l2", self.l2, "must be above 0")
        check(self.depth >= 1, "depth", self.depth, "must be 1 or more")
        check(0 <= self.bias < np.inf, "bias", self.bias, "must be 0 or more")
        check(0 <= self.norm <= 1, "norm", self.norm, "must be 0 to 1")

    def fit(
        self, log: Interactions, catalogue: Catalogue | None = None, *, watch: Watch | None = None
    ) -> InfiniteAEModel:
        """Fit to the log. Raises `SettingError` where kernel and weights do not fit into memory."""
        refuse_empty(log)
        X = positives(log, binary=True)
        known = np.flatnonzero(np.diff(X.indptr) > 0).astype(np.int32)
        X = X[known]
        popularity = log.item_weights()
        U, I = X.shape
        few = f"{U:,} users are too many for InfiniteAE: its kernel and weights"
        refuse_beyond(4 * U * (U + 2 * I), few, "fit it to a part of them, or take another recipe")
        start, column = X.indptr.astype(np.int64), X.indices.astype(np.int64)
        return InfiniteAEModel(self, log.items, log.users.select(known), start, column, self.weights(X), popularity)

    def inputs(self, X: csr_array) -> csr_array:
        """Return the histories (B, I) as the network sees them."""
        length = np.sqrt(X.multiply(X).sum(axis=1, dtype=np.float64))
        scale = np.maximum(length, 1) ** -self.norm
        return csr_array((X.data * np.repeat(scale, np.diff(X.indptr)), X.indices, X.indptr), shape=X.shape)

    def weights(self, X: csr_array) -> Floats:
        """(K + λ)⁻¹ X, (U, I)."""
        inputs = self.inputs(X)
        K = np.empty((X.shape[0], X.shape[0]), np.float32)
        for low in range(0, len(K), BLOCK):
            K[low : low + BLOCK] = self.kernel(inputs[low : low + BLOCK], inputs)
        K[np.diag_indices_from(K)] += np.float32(self.l2 * K.diagonal().mean(dtype=np.float64))
        factor, failed = spotrf(K.T, lower=0, clean=0, overwrite_a=1)
        if failed:
            raise SettingError(f"l2={self.l2}: too small for these events, the factor is lost to rounding; raise it")
        weights, _ = spotrs(factor, X.toarray().T.copy().T, lower=0, overwrite_b=1)
        return np.ascontiguousarray(weights)

    def kernel(self, A: csr_array, B: csr_array) -> Floats:
        """Neural tangent kernel of the rows of A (N, I) and B (M, I), (N, M): Jacot et al. 2018, theorem 1.

        Weights have variance 2 / width, so that signals keep their size (He et al. 2015); the kernel of the values
        and that of the slopes between two layers of ReLUs are those of Cho and Saul 2009, eq. 6.
        """
        values = 2 / A.shape[1] * (A @ B.T).toarray() + self.bias  # Σ of the first layer, (N, M)
        a, b = (2 / A.shape[1] * side.multiply(side).sum(axis=1) + self.bias for side in (A, B))
        tangent = values
        for _ in range(self.depth):
            size = np.sqrt(np.outer(a, b))
            cosine = np.clip(values / np.maximum(size, np.finfo(np.float64).tiny), -1, 1)
            angle = np.arccos(cosine)
            values = size * (np.sin(angle) + (np.pi - angle) * cosine) / np.pi + self.bias
            tangent = values + tangent * (1 - angle / np.pi)
            a, b = a + self.bias, b + self.bias
        return np.asarray(tangent, np.float32)


@dataclass(frozen=True, eq=False)
class InfiniteAEModel(Model):
    """Histories of the `users` trained on, and what is learned from them.

    start (U + 1,), column (N,): their items; weights (U, I) = (K + λ)⁻¹ X; popularity (I,)
    """

    recipe: InfiniteAE
    items: Vocabulary
    users: Vocabulary
    start: Annotated[Longs, Array("users+1", starts="events")]
    column: Annotated[Longs, Array("events", below="items")]
    weights: Annotated[Floats, Array("users", "items")]
    popularity: ItemFloats

    @property
    def sizes(self) -> dict[str, int]:
        """Numbers that the words of its `Array` fields stand for."""
        return {**super().sizes, "users": len(self.users)}

    @property
    def matrix(self) -> csr_array:
        """Histories of the users, (U, I)."""
        ones = np.ones(len(self.column), np.float32)
        return csr_array((ones, self.column, self.start), shape=self.weights.shape)

    @cached_property
    def inputs(self) -> csr_array:
        """The users' histories as the network saw them, (U, I)."""
        return self.recipe.inputs(self.matrix)

    def kept(self, rows: Ints) -> dict[str, object]:
        """Return the fields with data of users, fitted to these rows alone: the weights of a user depend on all."""
        X = self.matrix[rows]
        weights = self.recipe.weights(X) if len(rows) else np.zeros(X.shape, np.float32)
        start, column = X.indptr.astype(np.int64), X.indices.astype(np.int64)
        return {"users": self.users.select(rows), "start": start, "column": column, "weights": weights}

    def scores(self, histories: Histories) -> Floats:
        """Return k(x, X) (K + λ)⁻¹ X, (B, I); a user without a history gets the popularity."""
        rows = histories.on(self.items).rows
        shape = len(rows), len(self.items)
        x = csr_array((positive_inputs(rows, binary=True), rows.column, rows.start), shape=shape)
        scores = self.recipe.kernel(self.recipe.inputs(x), self.inputs) @ self.weights
        scores[rows.positives == 0] = self.popularity
        return scores


register(InfiniteAE, InfiniteAEModel)
