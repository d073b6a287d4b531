"""The nearest neighbours of every row of a sparse matrix: Gustavson's product row by row, the best k of each kept.

The product is never stored: a thread holds one dense row of it, and a list of the places that are not 0.
"""

import numpy as np

from palate.arrays import Floats, Ints, Longs
from palate.kernels.compile import compiled
from palate.kernels.sorting import keep_largest, sort

LEAST = np.float32(1e-37)  # added to each term, so that a sum that was touched is not 0; lost beside any other term
LOW_WORD = 0xFFFFFFFF


@compiled
def nearest_rows(
    start: Longs,
    column: Ints,
    left: Floats,
    back_start: Longs,
    back_column: Ints,
    right: Floats,
    rare: Floats,
    size: Longs,
    item: Ints,
    value: Floats,
    low: int,
    high: int,
) -> None:
    """Find the best k other rows j for each row i of [low, high) by Σ_u left_iu right_uj / (1 + rare_i rare_j).

    left (I, U) is given by its rows, `start` and so on; right (U, I) likewise, `back_start` and so on; all their
    weights are above 0. rare (I,). Written are size (I,), how many were found: those above 0, at most k; item and
    value (I, k), in order of items. Ties are won by the lower item.
    """
    I, k = item.shape
    sums = np.zeros(I, np.float32)
    touched = np.empty(I + 1, np.int32)
    keys = np.empty(2 * k + 32, np.int64)  # the best so far, and newcomers until they are many
    for i in range(low, high):
        m = product_row(i, start, column, left, back_start, back_column, right, sums, touched)
        size[i] = best_keys(i, m, sums, touched, rare, keys, k)
        by_item(keys, size[i], item[i], value[i])


@compiled
def best_rows(
    start: Longs,
    column: Ints,
    product: Floats,
    rare: Floats,
    size: Longs,
    item: Ints,
    value: Floats,
    first: int,
    low: int,
    high: int,
) -> None:
    """Do as `nearest_rows` for rows [low, high) of a product that is there: row 0 is that of item `first`."""
    k = item.shape[1]
    sums = np.zeros(len(rare), np.float32)
    keys = np.empty(2 * k + 32, np.int64)
    for r in range(low, high):
        own = column[start[r] : start[r + 1]]
        for n in range(start[r], start[r + 1]):
            sums[column[n]] = product[n]
        size[r] = best_keys(first + r, len(own), sums, own, rare, keys, k)
        by_item(keys, size[r], item[r], value[r])


@compiled
def by_item(keys: Longs, count: int, item: Ints, value: Floats) -> None:
    """Write the items and values (k,) of so many keys, in order of items."""
    bits = np.zeros(1, np.uint32)
    number = bits.view(np.float32)
    for t in range(count):  # the words of a key change places
        keys[t] = ((LOW_WORD - (keys[t] & LOW_WORD)) << 32) | (keys[t] >> 32)
    sort(keys[:count])
    for t in range(count):
        item[t] = np.int32(keys[t] >> 32)
        bits[0] = np.uint32(keys[t] & LOW_WORD)
        value[t] = number[0]


@compiled
def product_row(
    i: int,
    start: Longs,
    column: Ints,
    left: Floats,
    back_start: Longs,
    back_column: Ints,
    right: Floats,
    sums: Floats,
    touched: Ints,
) -> int:
    """Add row i of left times right to sums (I,), which holds 0; returns how many places were touched, and where."""
    m = 0
    for n in range(start[i], start[i + 1]):
        u = column[n]
        w = left[n]
        for e in range(back_start[u], back_start[u + 1]):
            j = back_column[e]
            touched[m] = j
            m += sums[j] == 0
            sums[j] += w * right[e] + LEAST
    return m


@compiled
def best_keys(i: int, m: int, sums: Floats, touched: Ints, rare: Floats, keys: Longs, k: int) -> int:
    """Move the best k of the m places touched, not i, to the front of `keys`, and set the sums to 0.

    A key is the bits of a value, which order numbers above 0, then its column reversed: no two are equal.
    Returns how many there are, at most k.
    """
    number = np.zeros(1, np.float32)
    bits = number.view(np.uint32)
    least = np.int64(0)
    found = 0
    sums[i] = 0
    for t in range(m):
        j = touched[t]
        number[0] = sums[j] / (np.float32(1) + rare[i] * rare[j])
        sums[j] = 0
        key = (np.int64(bits[0]) << 32) | (LOW_WORD - np.int64(j))
        if key <= least or j == i:
            continue
        keys[found] = key
        found += 1
        if found == len(keys):
            keep_largest(keys, found, k)
            found = k
            least = keys[k - 1]
    if found > k:
        keep_largest(keys, found, k)
    return min(found, k)
