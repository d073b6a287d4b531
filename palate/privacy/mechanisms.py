"""The three sums over users that are released with noise, and why one user changes each by so little.

A user's row of weights is made of whole numbers q, Σ q² <= STEPS², whatever else is in the log. A sum adds one term
for each user, which depends on that user's events and on what was released before, and on nothing else. So removing
a user takes away one term, and the sensitivity is the most that a term's L2 norm can be:

    counts    Σ_u q_u          ‖q‖   <= STEPS
    gram      Σ_u q_u q_uᵀ     ‖q qᵀ‖_F = ‖q‖² <= STEPS²
    products  Σ_u q_u r_uᵀ     ‖q rᵀ‖_F = ‖q‖ ‖r‖ <= STEPS², r another row of whole numbers, Σ r² <= STEPS²

A Gram matrix is symmetric: (G_ii, √2 G_ij for i < j) has its Frobenius norm as L2 norm, so that noise of σ on these
is noise of σ on the diagonal and of σ / √2 on G_ij. The eigenvalues of the noise alone end at √(2 I) σ (Wigner 1958).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from palate.arrays import Doubles, Longs
from palate.kernels.lattice import project_rows, round_rows
from palate.privacy.noise import Source, rounded_gaussian

STEPS = 128  # of the lattice in the length of a row
BLOCK = 1024  # users at once


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows of whole numbers q (U, I), sparse, each at most STEPS long: what the sums are made of."""

    matrix: csr_array

    @classmethod
    def of(cls, X: csr_array) -> Rows:
        """Bring each row of X (U, I), its weights 0 or more, to the length STEPS."""
        whole = np.empty(X.nnz, np.int64)
        round_rows(X.indptr.astype(np.int64), X.data.astype(np.float64), STEPS, whole)
        return cls(csr_array((whole, X.indices, X.indptr), shape=X.shape))

    def projected(self, axes: Doubles, most: float) -> Longs:
        """Return q P / STEPS for axes P (I, K), cut to the length `most`, which is STEPS on the lattice, (U, K)."""
        X = self.matrix
        sides = X.indptr.astype(np.int64), X.indices.astype(np.int32), X.data
        found = np.empty((X.shape[0], axes.shape[1]), np.int64)
        project_rows(*sides, np.ascontiguousarray(axes), most, STEPS, found)
        return found


def exact_counts(rows: Rows) -> Longs:
    """Σ_u q_u, (I,)."""
    return np.asarray(rows.matrix.sum(axis=0), np.int64)


def exact_gram(rows: Rows) -> Longs:
    """Σ_u q_u q_uᵀ, (I, I); floats hold whole numbers below 2^53 exactly, so that BLAS adds them without error."""
    X = rows.matrix
    total = np.zeros((X.shape[1], X.shape[1]))
    for low in range(0, X.shape[0], BLOCK):
        block = X[low : low + BLOCK].toarray().astype(np.float64)
        total += block.T @ block
    return total.astype(np.int64)


def exact_products(rows: Rows, others: Longs) -> Longs:
    """Σ_u q_u r_uᵀ, (I, K)."""
    return np.asarray(rows.matrix.T @ others, np.int64)


def noisy_counts(rows: Rows, noise: float, source: Source) -> Doubles:
    """Return the counts with noise, (I,); `noise` times their sensitivity is its standard deviation."""
    exact = exact_counts(rows)
    fine = int(np.ceil(2000 / (noise * STEPS)))  # the lattice of the noise is so much finer than that of the counts
    return (exact * fine + rounded_gaussian(noise * STEPS * fine, len(exact), source)) / (STEPS * fine)


def noisy_gram(rows: Rows, noise: float, source: Source) -> Doubles:
    """Return the Gram matrix with symmetric noise, (I, I), in units of its sensitivity."""
    exact = exact_gram(rows)
    I = len(exact)
    above = np.triu_indices(I, 1)
    drawn = np.zeros((I, I), np.int64)
    drawn[above] = rounded_gaussian(noise * STEPS**2 / np.sqrt(2), len(above[0]), source)
    drawn += drawn.T
    drawn[np.diag_indices(I)] = rounded_gaussian(noise * STEPS**2, I, source)
    return (exact + drawn) / STEPS**2


def noisy_products(rows: Rows, others: Longs, noise: float, source: Source) -> Doubles:
    """Return the products with noise, (I, K), in units of their sensitivity."""
    exact = exact_products(rows, others)
    return (exact + rounded_gaussian(noise * STEPS**2, exact.size, source).reshape(exact.shape)) / STEPS**2
