"""The nearest neighbours of every row of a sparse matrix: Gustavson's product row by row, the best k of each kept.

The product is never stored: a thread holds one dense row of it, and a list of the places that are not 0.
"""

import numpy as np

from palate.arrays import Floats, Hashes, Ints, Longs
from palate.kernels.compile import compiled

LEAST = np.float32(1e-37)  # added to each term, so that a sum that was touched is not 0; lost beside any other term
LOW_WORD = np.uint64(0xFFFFFFFF)
HIGH = np.uint64(32)


@compiled
def nearest_rows(
    start: Longs,
    column: Ints,
    left: Floats,
    back_start: Longs,
    back_column: Ints,
    right: Floats,
    rare: Floats,
    k: int,
    low: int,
    high: int,
) -> tuple[Longs, Ints, Floats]:
    """Best k other rows j for each row i of [low, high) by Σ_u left_iu right_uj / (1 + rare_i rare_j).

    left (I, U) is given by its rows, `start` and so on; right (U, I) likewise, `back_start` and so on; all their
    weights are above 0. rare (I,). Returns how many were found, (high - low,), at most k and those above 0; item
    and value (high - low, k), in order of items. Ties are won by the lower item.
    """
    I = len(start) - 1
    size = np.zeros(high - low, np.int64)
    item = np.zeros((high - low, k), np.int32)
    value = np.zeros((high - low, k), np.float32)
    sums = np.zeros(I, np.float32)
    touched = np.empty(I + 1, np.int32)
    one = np.zeros(1, np.float32)
    bits = one.view(np.uint32)
    keys = np.empty(max(2 * k, k + 32), np.uint64)
    for i in range(low, high):
        m = 0
        for n in range(start[i], start[i + 1]):
            u = column[n]
            w = left[n]
            for e in range(back_start[u], back_start[u + 1]):
                j = back_column[e]
                touched[m] = j
                m += sums[j] == 0
                sums[j] += w * right[e] + LEAST
        # A key is the bits of a value, which order numbers above 0, then its column reversed: no two are equal.
        least = np.uint64(0)
        found = 0
        sums[i] = 0
        for t in range(m):
            j = touched[t]
            one[0] = sums[j] / (np.float32(1) + rare[i] * rare[j])
            sums[j] = 0
            key = (np.uint64(bits[0]) << HIGH) | (LOW_WORD - np.uint64(j))
            if key <= least or j == i:
                continue
            keys[found] = key
            found += 1
            if found == len(keys):
                keep_largest(keys, found, k)
                found = k
                least = keys[:k].min()
        if found > k:
            keep_largest(keys, found, k)
            found = k
        size[i - low] = found
        for t in range(found):  # by item: the words change places
            keys[t] = ((LOW_WORD - (keys[t] & LOW_WORD)) << HIGH) | (keys[t] >> HIGH)
        keys[:found].sort()
        for t in range(found):
            item[i - low, t] = np.int32(keys[t] >> HIGH)
            bits[0] = np.uint32(keys[t] & LOW_WORD)
            value[i - low, t] = one[0]
    return size, item, value


@compiled
def keep_largest(keys: Hashes, n: int, k: int) -> None:
    """Move the k largest of the first n keys, all different, to the front (Hoare's FIND, 1961); k < n."""
    low, high = 0, n - 1
    while low < high:
        middle = keys[(low + high) // 2]
        i, j = low, high
        while i <= j:
            while keys[i] > middle:
                i += 1
            while keys[j] < middle:
                j -= 1
            if i <= j:
                keys[i], keys[j] = keys[j], keys[i]
                i += 1
                j -= 1
        if k - 1 <= j:
            high = j
        elif k - 1 >= i:
            low = i
        else:
            return
