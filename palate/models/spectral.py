"""First vectors for a network: items that stand near each other in histories begin near each other."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.sparse import csr_array, diags_array

from palate.arrays import Floats
from palate.data.interactions import Interactions
from palate.models.slist import SLIST, Sequences, Tables

SPARE = 16  # vectors that are sought beyond those wanted
SWEEPS = 8  # of the power iteration


def near_vectors(log: Interactions, dim: int, *, decay: float = 0.7, seed: int = 0) -> Floats:
    """Return unit vectors (I, dim) of the items: the leading axes of who stands near whom.

    Two events d places apart in a history count decay^d; each pair of items is divided by the roots of their totals.
    """
    recipe = SLIST(alpha=1.0, whole_decay=decay)
    P = Sequences.of(log, recipe).inputs(Tables.of(recipe))
    I = len(P.diagonal)
    near = csr_array((P.value, P.column, P.start), shape=(I, I))
    near.setdiag(0)
    root = diags_array((near.sum(axis=1) + 1) ** -0.5)
    A = csr_array(root @ near @ root)
    vectors = unit(leading(lambda Q: A @ Q, I, dim, seed))
    noise = np.random.default_rng(seed).standard_normal((I, dim), np.float32) / np.sqrt(dim)
    return unit(vectors + np.float32(0.01) * noise)  # so that items without neighbours differ


def leading(product: Callable[[Floats], Floats], I: int, dim: int, seed: int) -> Floats:
    """V √λ, (I, dim), for the largest eigenvalues λ of a symmetric A (I, I); zeros where dim exceeds I.

    `product` gives A Q. Subspace iteration (Halko, Martinsson, Tropp 2011, algorithm 4.4) on 1 + A, so that
    eigenvalues below 0 go last.
    """
    Q = np.random.default_rng(seed).standard_normal((I, min(I, dim + SPARE)), np.float32)
    for _ in range(SWEEPS):
        Q = np.linalg.qr(Q + product(Q))[0]
    values, turn = np.linalg.eigh(Q.T @ product(Q))
    best = np.argsort(-values)[:dim]
    vectors = np.zeros((I, dim), np.float32)
    vectors[:, : len(best)] = (Q @ turn[:, best]) * np.sqrt(np.maximum(values[best], 0))
    return vectors


def unit(vectors: Floats) -> Floats:
    """Vectors of length 1, (N, D)."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(length, 1e-6), np.float32)
