"""Ridge regression of each item on a few others, with the products of all pairs of those."""

import numpy as np

from palate.arrays import Floats, Ints, Longs
from palate.kernels.compile import compiled


@compiled
def fill_systems(
    start: Longs,
    column: Ints,
    weight: Floats,
    back_start: Longs,
    back_column: Ints,
    back_weight: Floats,
    first: Longs,
    place: Longs,
    item: Ints,
    systems: Floats,
    low: int,
    high: int,
) -> None:
    """Write rows of the products A Aᵀ that items [low, high) have in the systems of T targets.

    A (I, U) is given by its rows, `start` and so on, and by its columns, `back_start` and so on, each sorted. item
    (T, L): the items of each target, in order; item j is number p of target t at the places t L + p =
    place[first[j] : first[j + 1]]. Of systems (T, L, L) the lower triangles without the diagonal are written.
    """
    L = item.shape[1]
    sums = np.zeros(len(first) - 1, np.float32)
    for j in range(low, high):
        if first[j] == first[j + 1]:
            continue
        products_before(j, start, column, weight, back_start, back_column, back_weight, sums)
        for n in range(first[j], first[j + 1]):
            t, p = place[n] // L, place[n] % L
            for q in range(p):
                systems[t, p, q] = sums[item[t, q]]
        for n in range(start[j], start[j + 1]):
            u = column[n]
            sums[back_column[back_start[u] : back_start[u + 1]]] = 0


@compiled
def products_before(
    j: int,
    start: Longs,
    column: Ints,
    weight: Floats,
    back_start: Longs,
    back_column: Ints,
    back_weight: Floats,
    sums: Floats,
) -> None:
    """Add row j of A Aᵀ to sums (I,), the columns before j alone."""
    for n in range(start[j], start[j + 1]):
        u = column[n]
        w = weight[n]
        for e in range(back_start[u], back_start[u + 1]):
            if back_column[e] >= j:
                break
            sums[back_column[e]] += w * back_weight[e]


@compiled
def solve_systems(systems: Floats, size: Longs, value: Floats, low: int, high: int) -> None:
    """Solve each system t of [low, high) for its right side value[t, : size[t]], in place; all diagonals are 1."""
    for t in range(low, high):
        for p in range(size[t]):
            systems[t, p, p] = 1
        solve(systems[t], value[t], size[t])


@compiled
def solve(A: Floats, b: Floats, n: int) -> None:
    """Solve A x = b by a Cholesky factor, in place; the first n rows of the lower triangle of A are read.

    Where A is not positive definite in float32, x is NaN.
    """
    for i in range(n):
        for j in range(i + 1):
            total = A[i, j]
            for d in range(j):
                total -= A[i, d] * A[j, d]
            if j < i:
                A[i, j] = total / A[j, j]
            else:
                A[i, i] = np.sqrt(total) if total > 0 else np.float32(np.nan)
    for i in range(n):
        total = b[i]
        for d in range(i):
            total -= A[i, d] * b[d]
        b[i] = total / A[i, i]
    for i in range(n - 1, -1, -1):
        b[i] /= A[i, i]
        for d in range(i):
            b[d] -= A[i, d] * b[i]
