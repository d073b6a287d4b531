"""Randomised SVD: the leading axes of a matrix that is known by its products alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from palate.arrays import Floats

SPARE = 16  # vectors that are sought beyond those wanted
SWEEPS = 8  # of the power iteration


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
