"""Values by ascending numbers of items: those of some numbers, and the numbers that two have in common."""

from __future__ import annotations

import numpy as np
import polars as pl

from palate.arrays import Longs


def spread(values: pl.DataFrame, numbers: Longs) -> pl.Series:
    """Return the values of the items of these numbers, which ascend, null where there is none."""
    every = values["item_no"].to_numpy()
    ends = np.searchsorted(every, numbers[[0, -1]] + [0, 1]) if len(numbers) else [0, 0]
    near = slice(*map(int, ends))  # of the values that may be copied below
    own, value = every[near], values["value"][near]
    if np.array_equal(own, numbers):
        return value
    nothing = pl.Series([None], dtype=value.dtype)
    there, place = matched(own, numbers)
    if not len(there):
        return nothing.new_from_index(0, len(numbers))
    index = np.full(len(numbers), len(own))  # of the null behind all values
    index[place] = there
    return pl.concat([value, nothing], rechunk=True)[index]


def matched(a: Longs, b: Longs) -> tuple[Longs, Longs]:
    """Where the numbers stand that both have; both ascend. The shorter is looked up in the longer."""
    if len(a) > len(b):
        in_b, in_a = matched(b, a)
        return in_a, in_b
    if not len(a):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    place = np.minimum(np.searchsorted(b, a), len(b) - 1)
    there = np.flatnonzero(b[place] == a)
    return there, place[there]
