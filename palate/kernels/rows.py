"""Loops over ragged rows: grouping, slicing, hashing."""

import numpy as np

from palate.arrays import Hashes, Ints, Longs, Words
from palate.kernels.compile import compiled


@compiled
def group_rows(row: Ints, n_rows: int) -> tuple[Longs, Longs]:
    """Stable counting sort by row: returns start (n_rows + 1,) and the order (N,) that groups the rows."""
    start = np.zeros(n_rows + 1, np.int64)
    for r in row:
        start[r + 1] += 1
    for r in range(n_rows):
        start[r + 1] += start[r]
    cursor = start[:-1].copy()
    order = np.empty(len(row), np.int64)
    for n in range(len(row)):
        r = row[n]
        order[cursor[r]] = n
        cursor[r] += 1
    return start, order


@compiled
def sort_within_rows(start: Longs, order: Longs, key: Longs) -> None:
    """Sort each row's part of `order` by `key`, in place and stable; rows already in order cost one look."""
    for r in range(len(start) - 1):
        low, high = start[r], start[r + 1]
        part = order[low:high]
        for n in range(1, len(part)):
            if key[part[n]] < key[part[n - 1]]:
                order[low:high] = part[np.argsort(key[part], kind="mergesort")]
                break


@compiled
def slice_rows(start: Longs, index: Longs) -> tuple[Longs, Longs]:
    """Start of each chosen row in the result, and the positions of its pairs; index -1 is an empty row."""
    new_start = np.zeros(len(index) + 1, np.int64)
    for b in range(len(index)):
        r = index[b]
        new_start[b + 1] = new_start[b] + (start[r + 1] - start[r] if r >= 0 else 0)
    pick = np.empty(new_start[-1], np.int64)
    for b in range(len(index)):
        for n in range(new_start[b], new_start[b + 1]):
            pick[n] = start[index[b]] + n - new_start[b]
    return new_start, pick


@compiled
def mix(value: np.uint64) -> np.uint64:
    """Scramble 64 bits (the finaliser of SplitMix64, Steele et al. 2014): every input bit moves every output bit."""
    z = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@compiled
def fingerprint_rows(start: Longs, column: Ints, weight_bits: Words) -> Hashes:
    """Order-free hash of each row's (column, weight) pairs."""
    result = np.zeros(len(start) - 1, np.uint64)
    for r in range(len(start) - 1):
        total = np.uint64(0)
        for n in range(start[r], start[r + 1]):
            pair = (np.uint64(column[n]) << np.uint64(32)) | np.uint64(weight_bits[n])
            total += mix(pair + np.uint64(0x9E3779B97F4A7C15))
        result[r] = total
    return result
