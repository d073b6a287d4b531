"""Leading axes of many rows, and rows of length 1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from palate.arrays import Array, Doubles, Floats, check_arrays

SPARE = 16  # axes sought beyond those wanted
SWEEPS = 4  # of the power iteration


@dataclass(frozen=True, eq=False)
class Projection:
    """Vectors of a pretrained encoder on the axes where a catalogue's items differ: mean (R,), axes (R, D)."""

    mean: Annotated[Floats, Array("raw")]
    axes: Annotated[Floats, Array("raw", "dim")]

    def __post_init__(self) -> None:
        check_arrays(self, {})

    @classmethod
    def of(cls, vectors: Floats, dim: int) -> Projection:
        """Learn from vectors (N, R), rows of zeros left out; D is `dim`, or fewer where they span no more."""
        known = vectors[vectors.any(axis=1)]
        if len(known) < 2:
            return cls(np.zeros(vectors.shape[1], np.float32), np.eye(vectors.shape[1], dtype=np.float32)[:, :dim])
        mean = known.mean(axis=0)
        apart = (known - mean).astype(np.float64)
        values, axes = np.linalg.eigh(apart.T @ apart)
        kept = np.flatnonzero(values > 1e-9 * max(values[-1], 1e-30))[::-1][:dim]
        return cls(mean, np.ascontiguousarray(axes[:, kept], np.float32))

    def vectors(self, raw: Floats) -> Floats:
        """Return unit vectors (N, D) of raw ones (N, R); zeros stay zeros."""
        return np.where(raw.any(axis=1, keepdims=True), unit((raw - self.mean) @ self.axes), np.float32(0))


def leading_axes(rows: csr_array, dim: int, seed: int) -> Floats:
    """Leading right singular vectors of rows (N, T), (T, D): D is `dim`, or the rank where that is less.

    By subspace iteration (Halko, Martinsson, Tropp 2011, algorithm 4.4).
    """
    width = min(*rows.shape, dim + SPARE)
    if not width or not rows.nnz:
        return np.zeros((rows.shape[1], 0), np.float32)
    A = rows.astype(np.float64)
    back = A.T.tocsr()
    Q = orthonormal(A @ np.random.default_rng(seed).standard_normal((rows.shape[1], width)))
    for _ in range(SWEEPS):
        Q = orthonormal(A @ (back @ Q))
    return np.ascontiguousarray(orthonormal(back @ Q)[:, :dim], np.float32)


def orthonormal(Z: Doubles) -> Doubles:
    """Axes of what the columns of Z (N, K) span, (N, K) or fewer, those of the largest singular values first.

    By the Gram matrix, which is one product: many times as fast as QR on a busy machine.
    """
    values, turn = np.linalg.eigh(Z.T @ Z)
    kept = np.flatnonzero(values > 1e-10 * values[-1])[::-1]
    return np.asarray(Z @ (turn[:, kept] / np.sqrt(values[kept])))


def unit_rows(rows: csr_array) -> csr_array:
    """Sparse rows of length 1; an empty one stays empty."""
    row = np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr))
    length = np.sqrt(np.bincount(row, rows.data**2, rows.shape[0]))
    value = (rows.data / np.maximum(length, 1e-30)[row]).astype(np.float32)
    return csr_array((value, rows.indices, rows.indptr), shape=rows.shape)


def unit(vectors: NDArray[np.floating]) -> Floats:
    """Vectors of length 1, (N, D); zeros stay zeros, and what is not finite becomes zeros."""
    whole = np.where(np.isfinite(vectors).all(axis=1, keepdims=True), vectors, 0)
    length = np.linalg.norm(whole, axis=1, keepdims=True)
    return np.asarray(whole / np.where(length > 1e-12, length, 1), np.float32)
