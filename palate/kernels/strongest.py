"""Which past items speak most for each of some items."""

import numpy as np

from palate.arrays import Floats, Ints
from palate.kernels.compile import compiled
from palate.kernels.sorting import sort_together


@compiled
def strongest(column: Ints, parts: Floats, most: int, share: float) -> Ints:
    """For each of J items the `most` columns with the largest parts, (J, most), the largest first, -1 past the end.

    column (N,), parts (N, J). Parts of one column add up, those below 0 count 0, and a column must have more than
    `share` of the sum. Ties go to the lower column.
    """
    N, J = parts.shape
    order = np.arange(N, dtype=np.int32)
    sort_together(column.astype(np.int64), order)
    found = np.full((J, most), -1, np.int32)
    best = np.empty(most, np.float32)
    for j in range(J):
        best[:] = 0
        whole, one = np.float32(0), np.float32(0)
        for n in range(N):
            one += max(parts[order[n], j], np.float32(0))
            if n + 1 < N and column[order[n + 1]] == column[order[n]]:
                continue
            place = most
            while place > 0 and one > best[place - 1]:
                place -= 1
                if place + 1 < most:
                    best[place + 1], found[j, place + 1] = best[place], found[j, place]
            if place < most:
                best[place], found[j, place] = one, column[order[n]]
            whole += one
            one = np.float32(0)
        for place in range(most):
            if best[place] <= share * whole:
                found[j, place] = -1
    return found
