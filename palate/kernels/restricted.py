"""Ridge regression of each item on a few others, their products looked up in pruned rows of the Gram matrix."""

import numpy as np

from palate.arrays import Floats, Hashes, Ints, Longs
from palate.kernels.compile import compiled
from palate.kernels.neighbours import HIGH, LOW_WORD, keep_largest


@compiled
def restricted_rows(
    size: Longs,
    item: Ints,
    value: Floats,
    norm: Floats,
    squares: Floats,
    l2: float,
    count: Longs,
    chosen: Ints,
    weight: Floats,
    low: int,
    high: int,
) -> None:
    """Solve (G_SS + l2) b = G_Si for each item i of [low, high), S the best L of its neighbours by value.

    size (I,), item and value (I, M): the neighbours of each item; G_ij = value_ij norm_i norm_j, 0 for a pair that
    neither item lists; squares (I,) is the diagonal of G. Written are count (I,), chosen and weight (I, L).
    """
    I, L = chosen.shape
    place = np.full(I, -1, np.int32)
    A = np.zeros((L, L), np.float32)
    b = np.zeros(L, np.float32)
    keys = np.empty(item.shape[1], np.uint64)
    for i in range(low, high):
        n = min(size[i], L)
        strongest(value, i, size[i], L, keys)
        for p in range(n):
            own = np.int64(LOW_WORD - (keys[p] & LOW_WORD))
            chosen[i, p] = item[i, own]
            place[item[i, own]] = p
            b[p] = value[i, own] * norm[i] * norm[item[i, own]]
        A[:n, :n] = 0
        for p in range(n):
            j = chosen[i, p]
            A[p, p] = squares[j] + np.float32(l2)
            for t in range(size[j]):
                q = place[item[j, t]]
                if q >= 0:
                    A[max(p, q), min(p, q)] = value[j, t] * norm[j] * norm[item[j, t]]
        solve(A, b, n, np.float32(l2))
        count[i] = n
        for p in range(n):
            place[chosen[i, p]] = -1
            weight[i, p] = b[p]


@compiled
def strongest(value: Floats, i: int, m: int, L: int, keys: Hashes) -> None:
    """Write the positions of the largest L of the first m values of row i to the low words of keys[:L], reversed."""
    number = np.zeros(1, np.float32)
    bits = number.view(np.uint32)
    for t in range(m):
        number[0] = value[i, t]
        keys[t] = (np.uint64(bits[0]) << HIGH) | (LOW_WORD - np.uint64(t))
    if m > L:
        keep_largest(keys, m, L)


@compiled
def solve(A: Floats, b: Floats, n: int, least: np.float32) -> None:
    """Solve A x = b by a Cholesky factor, in place; the first n rows of the lower triangle of A are read.

    No pivot of G + l2 is below l2: one that is comes of pairs that were pruned, and `least` stands in for it.
    """
    for i in range(n):
        for j in range(i + 1):
            total = A[i, j]
            for d in range(j):
                total -= A[i, d] * A[j, d]
            A[i, j] = total / A[j, j] if j < i else np.sqrt(max(total, least))
    for i in range(n):
        total = b[i]
        for d in range(i):
            total -= A[i, d] * b[d]
        b[i] = total / A[i, i]
    for i in range(n - 1, -1, -1):
        b[i] /= A[i, i]
        for d in range(i):
            b[d] -= A[i, d] * b[i]
