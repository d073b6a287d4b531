"""Select the k best of each row of scores."""

import numpy as np

from palate.arrays import Bools, Floats, Ints, Longs
from palate.kernels.compile import compiled


@compiled
def mask_seen(scores: Floats, start: Longs, column: Ints) -> None:
    """Set the score of each row's own columns to -inf, in place."""
    for b in range(len(start) - 1):
        for n in range(start[b], start[b + 1]):
            scores[b, column[n]] = -np.inf


@compiled
def select_top(scores: Floats, allowed: Bools, k: int) -> tuple[Ints, Floats]:
    """Best k allowed columns of each row above -inf, best first, ties by the lower column.

    scores (B, I), allowed (I,). Returns item (B, k), -1 past the end, and score (B, k), -inf there.
    """
    B, I = scores.shape
    item = np.full((B, k), -1, np.int32)
    best = np.full((B, k), -np.inf, np.float32)
    for b in range(B):
        for i in range(I):
            score = scores[b, i]
            if not score > best[b, k - 1] or not allowed[i]:
                continue
            place = k - 1
            while place > 0 and score > best[b, place - 1]:
                best[b, place] = best[b, place - 1]
                item[b, place] = item[b, place - 1]
                place -= 1
            best[b, place] = score
            item[b, place] = i
    return item, best
