"""Gram matrices written straight into a dense array, and the shallow autoencoder made of an inverse in place.

Only the lower triangle of an array is computed, and the upper one is never read.
"""

import numpy as np

from palate.arrays import Doubles, Floats, Ints, Longs
from palate.kernels.compile import compiled

TILE = 64  # rows and columns of a mirrored tile: two of them fill half of a core's first cache


@compiled
def gram_rows(
    gram: Floats,
    start: Longs,
    column: Ints,
    weight: Floats,
    back_start: Longs,
    back_column: Ints,
    back_weight: Floats,
    first: int,
    low: int,
    high: int,
) -> None:
    """Write rows [low, high) of the lower triangle of A Aᵀ into gram, whose row 0 is `first`, and which holds 0.

    A (I, U) is given by its rows, `start` and so on, and by its columns, `back_start` and so on, each sorted.
    """
    for i in range(low, high):
        for n in range(start[i], start[i + 1]):
            u = column[n]
            w = weight[n]
            for m in range(back_start[u], back_start[u + 1]):
                j = back_column[m]
                if j > i:
                    break
                gram[i - first, j] += w * back_weight[m]


@compiled
def shallow_rows(inverse: Floats, diagonal: Floats, low: int, high: int) -> None:
    """Turn an inverse P into I - P / diag(P), a column divided by its entry of the diagonal, in place.

    inverse (I, I) is read in its lower triangle alone, diagonal (I,) is a copy of P's. Tiles of the rows
    [low, high) are written with their mirror images, so that slices of rows may be done at the same time.
    """
    for top in range(low, high, TILE):
        bottom = min(top + TILE, high)
        for left in range(0, bottom, TILE):
            for i in range(top, bottom):
                for j in range(left, min(left + TILE, i)):
                    p = -inverse[i, j]
                    inverse[i, j] = p / diagonal[j]
                    inverse[j, i] = p / diagonal[i]
        for i in range(top, bottom):
            inverse[i, i] = 0


@compiled
def rescale_rows(weights: Floats, ratio: Doubles, more: Doubles, out: Floats) -> None:
    """Write weights ratio + more, (N, I), its columns times ratio (I,), to `out`, rounded once."""
    for i in range(len(weights)):
        for j in range(len(ratio)):
            out[i, j] = np.float32(weights[i, j] * ratio[j] + more[i, j])
