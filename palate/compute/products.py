"""Products of tall matrices of vectors, block by block, by a team of threads."""

from __future__ import annotations

import numpy as np

from palate.arrays import Doubles, Floats
from palate.compute.threads import ThreadTeam

BLOCK = 2048  # rows of a product


def gram(team: ThreadTeam, vectors: Floats) -> Doubles:
    """Return vectorsᵀ vectors, (D, D)."""
    parts: list[Floats] = []

    def work(_: int, first: int, last: int) -> float:
        parts.extend(
            vectors[low : min(low + BLOCK, last)].T @ vectors[low : min(low + BLOCK, last)]
            for low in range(first, last, BLOCK)
        )
        return 0.0

    team.run(work, 0, len(vectors))
    return np.asarray(np.sum(parts, axis=0, dtype=np.float64))


def turn(team: ThreadTeam, vectors: Floats, axes: Floats) -> None:
    """Do vectors = vectors axes in place."""

    def work(_: int, first: int, last: int) -> float:
        buffer = np.empty((BLOCK, axes.shape[1]), np.float32)
        for low in range(first, last, BLOCK):
            block = vectors[low : min(low + BLOCK, last)]
            block[:] = np.matmul(block, axes, out=buffer[: len(block)])
        return 0.0

    team.run(work, 0, len(vectors))
