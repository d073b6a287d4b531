"""Which places of a ranking hold a relevant item; a stamp an item replaces any search."""

import numpy as np

from palate.arrays import Bools, Ints, Longs
from palate.kernels.compile import compiled


@compiled
def find_hits(item: Ints, start: Longs, relevant: Ints, n_items: int) -> Bools:
    """Mark the places of `item` (B, K), -1 where empty, that hold one of the row's relevant items. (B, K)."""
    B, K = item.shape
    stamp = np.full(n_items, -1, np.int64)
    hits = np.zeros((B, K), np.bool_)
    for b in range(B):
        for n in range(start[b], start[b + 1]):
            stamp[relevant[n]] = b
        for place in range(K):
            i = item[b, place]
            hits[b, place] = i >= 0 and stamp[i] == b
    return hits


@compiled
def first_mentions(start: Longs, item: Ints, known_start: Longs, known: Ints, n_items: int) -> Bools:
    """Mark the items that their row names for the first time, the row's known items counted as named. (N,)."""
    stamp = np.full(n_items, -1, np.int64)
    first = np.zeros(len(item), np.bool_)
    for b in range(len(start) - 1):
        for n in range(known_start[b], known_start[b + 1]):
            stamp[known[n]] = b
        for n in range(start[b], start[b + 1]):
            first[n] = stamp[item[n]] != b
            stamp[item[n]] = b
    return first
