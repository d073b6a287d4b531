"""From noisy sums to axes of taste: nothing here reads the log, so that nothing here costs privacy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh, svd

from palate.arrays import Doubles

FLOOR = 0.03  # of the median strength: what a direction of the products is held to have at least


@dataclass(frozen=True, eq=False)
class Axes:
    """A Gram matrix of low rank, vectors (I, K) and strength (K,): Σ_k strength_k v_k v_kᵀ, v_k orthonormal."""

    vectors: Doubles
    strength: Doubles

    def joined(self, columns: Doubles) -> Axes:
        """Return the axes of this matrix plus columns columnsᵀ, columns (I, C)."""
        return Axes.of(np.hstack([self.vectors * np.sqrt(self.strength), columns]))

    @classmethod
    def of(cls, columns: Doubles) -> Axes:
        """Return the axes of columns columnsᵀ, columns (I, C)."""
        vectors, root, _ = svd(columns, full_matrices=False)
        kept = root > 1e-9 * root.max(initial=1e-300)
        return cls(vectors[:, kept], root[kept] ** 2)


def edge_of(items: int, noise: float) -> float:
    """Return the largest eigenvalue that symmetric noise alone has: the edge of the semicircle, √(2 I) σ."""
    return float(np.sqrt(2 * items) * noise)


def above_noise(gram: Doubles, noise: float, most: int) -> Axes:
    """Return the axes of a noisy Gram matrix (I, I) that stand out of its noise, `most` at most.

    An eigenvalue λ comes out as y = λ + e² / 4λ for an edge e, and its axis with a cosine² of 1 - e² / 4λ² to the
    true one (Benaych-Georges and Nadakuditi 2011); λ is given back, and each axis is as long as its cosine.
    """
    I = len(gram)
    edge = edge_of(I, noise)
    found, vectors = eigh(gram, subset_by_index=[max(0, I - most), I - 1])
    kept = found > edge
    value = found[kept][::-1]
    root = np.sqrt(np.maximum(value * value - edge * edge, 0))
    true = (value + root) / 2
    return Axes(vectors[:, kept][:, ::-1] * np.sqrt(root / true), true)


def completed(products: Doubles, axes: Doubles) -> Axes:
    """Return the Gram matrix G that products S = G P (I, K) with axes P (I, K) come from: S (PᵀS)⁻¹ Sᵀ (Nyström).

    Directions of the small matrix PᵀS which noise has made weak count as `FLOOR` of the median.
    """
    small = axes.T @ products
    found, turn = eigh((small + small.T) / 2)
    strength = np.maximum(found, 0)
    return Axes.of(products @ (turn / np.sqrt(strength + FLOOR * np.median(strength) + 1e-9)))
