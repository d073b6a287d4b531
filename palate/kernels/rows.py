"""Loops over ragged rows: grouping, slicing, hashing."""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from palate.arrays import Floats, Hashes, Ints, Longs, Words
from palate.kernels.arithmetic import mix
from palate.kernels.compile import compiled
from palate.kernels.sorting import sort_together

T = TypeVar("T", bound=np.generic)
PART = 1 << 16


@compiled
def group_rows(row: Ints, n_rows: int) -> tuple[Longs, Ints]:
    """Stable counting sort by row: returns start (n_rows + 1,) and the order (N,) that groups them; N < 2**31."""
    start = np.zeros(n_rows + 1, np.int64)
    for r in row:
        start[r + 1] += 1
    for r in range(n_rows):
        start[r + 1] += start[r]
    cursor = start[:-1].copy()
    order = np.empty(len(row), np.int32)
    for n in range(len(row)):
        r = row[n]
        order[cursor[r]] = n
        cursor[r] += 1
    return start, order


@compiled
def sort_within_rows(start: Longs, order: Ints, key: Longs) -> None:
    """Sort each row's part of `key`, and of `order` with it; equal keys by `order`. A row in order costs one look."""
    for r in range(len(start) - 1):
        keys, part = key[start[r] : start[r + 1]], order[start[r] : start[r + 1]]
        for n in range(1, len(keys)):
            if keys[n] < keys[n - 1]:
                sort_together(keys, part)
                break


def gather(values: NDArray[T], order: Ints) -> NDArray[T]:
    """Return `values[order]`, part by part: at once, numpy would copy the order to 64 bits."""
    result = np.empty(len(order), values.dtype)
    for n in range(0, len(order), PART):
        part = slice(n, n + PART)
        values.take(order[part], out=result[part], mode="clip")  # without a buffer; all are within
    return result


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


@compiled
def row_penalties(start: Longs, weight: Floats, factor: float, least: float, power: float) -> Floats:
    """Return factor · (least + Σ |w|)^power of each row's weights w, (B,)."""
    result = np.empty(len(start) - 1, np.float32)
    for r in range(len(start) - 1):
        size = least
        for n in range(start[r], start[r + 1]):
            size += abs(weight[n])
        result[r] = factor * size**power
    return result


@compiled
def add_rows(
    first: Longs, row: Ints, factor: Floats, start: Longs, column: Ints, weight: Floats, sums: Floats
) -> None:
    """Add to each of B sums (B, I) its rows of a sparse matrix, each times its factor.

    first (B + 1,), row and factor (N,): what is added up; start (I + 1,), column and weight: the matrix, row by row.
    """
    for b in range(len(sums)):
        for n in range(first[b], first[b + 1]):
            if factor[n] != 0:
                for each in range(start[row[n]], start[row[n] + 1]):
                    sums[b, column[each]] += factor[n] * weight[each]


@compiled
def crossings(start: Longs, column: Ints, weight: Floats, rows: Ints, columns: Ints) -> Floats:
    """Weights of a square sparse matrix in N rows and J columns, (N, J); 0 where it has none, and beyond it.

    start (I + 1,), column and weight: the matrix, row by row.
    """
    I, J = len(start) - 1, len(columns)
    place = np.full(I, -1, np.int64)  # of a column among those asked for; of the same ones the last
    before = np.full(J, -1, np.int64)
    for j in range(J):
        if 0 <= columns[j] < I:
            before[j] = place[columns[j]]
            place[columns[j]] = j
    found = np.zeros((len(rows), J), np.float32)
    for n in range(len(rows)):
        if 0 <= rows[n] < I:
            for each in range(start[rows[n]], start[rows[n] + 1]):
                j = place[column[each]]
                while j >= 0:
                    found[n, j] = weight[each]
                    j = before[j]
    return found
