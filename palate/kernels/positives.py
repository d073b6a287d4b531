"""Which events of a history count where a repeated item counts once."""

import numpy as np

from palate.arrays import Bools, Floats, Ints, Longs
from palate.kernels.compile import compiled


@compiled
def first_positives(start: Longs, column: Ints, liked: Bools) -> Floats:
    """1 for the first event of each column in each row that is liked (N,), else 0, (N,)."""
    once = np.zeros(len(column), np.float32)
    last = np.full(column.max() + 1 if len(column) else 0, -1, np.int64)  # row that each column was last found in
    for b in range(len(start) - 1):
        for n in range(start[b], start[b + 1]):
            if liked[n] and last[column[n]] != b:
                last[column[n]] = b
                once[n] = 1
    return once


@compiled
def newest_only(start: Longs, column: Ints, value: Floats) -> Floats:
    """Values of ragged rows in time order, 0 where the column comes again later in its row."""
    result = value.copy()
    width = column.max() + 1 if len(column) else 0
    seen = np.full(width, -1, np.int64)
    for row in range(len(start) - 1):
        for n in range(start[row + 1] - 1, start[row] - 1, -1):
            if seen[column[n]] == row:
                result[n] = 0
            seen[column[n]] = row
    return result
