"""Sorting and selecting in place, for kernels: numba's `sort` and `argsort` take seconds to compile.

Shell's sort (1959) with the gaps of Tokuda (1992): no recursion, no memory; 1.8 times the seconds of quicksort for
200,000 keys.
"""

import numpy as np

from palate.arrays import Floats, Ints, Longs
from palate.kernels.compile import compiled


@compiled
def widest_gap(n: int) -> float:
    """Return the largest term of g = 2.25 g + 1 that is below n; its ceiling is the gap."""
    gap = 1.0
    while 2.25 * gap + 1 < n:
        gap = 2.25 * gap + 1
    return gap


@compiled
def sort(keys: Longs) -> None:
    """Sort keys (N,), ascending."""
    step = widest_gap(len(keys))
    while step >= 1:
        gap = int(np.ceil(step))
        for n in range(gap, len(keys)):
            key, place = keys[n], n
            while place >= gap and keys[place - gap] > key:
                keys[place] = keys[place - gap]
                place -= gap
            keys[place] = key
        step = (step - 1) / 2.25


@compiled
def sort_together(keys: Longs, order: Ints) -> None:
    """Sort keys (N,), ascending, and order (N,) with them; equal keys by `order`."""
    step = widest_gap(len(keys))
    while step >= 1:
        gap = int(np.ceil(step))
        for n in range(gap, len(keys)):
            key, other, place = keys[n], order[n], n
            while place >= gap and (
                keys[place - gap] > key or (keys[place - gap] == key and order[place - gap] > other)
            ):
                keys[place], order[place] = keys[place - gap], order[place - gap]
                place -= gap
            keys[place], order[place] = key, other
        step = (step - 1) / 2.25


@compiled
def keep_largest(keys: Longs | Floats, n: int, k: int) -> None:
    """Move the k largest of n keys to the front, the k-th to place k - 1 (Hoare's FIND, 1961); 0 < k < n."""
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
