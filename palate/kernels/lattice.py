"""Draws from a table of probabilities by 128-bit words, and rows of floats as rows of whole numbers."""

import numpy as np

from palate.arrays import Doubles, Hashes, Ints, Longs
from palate.kernels.compile import compiled, inlined

GOLDEN = 0.6180339887498949  # whose multiples spread evenly between 0 and 1
SHORTER = 0.98  # a row that is too long is tried again so much shorter


@compiled
def sum_up(share: Doubles, high: Hashes, low: Hashes) -> bool:
    """Write Σ_{j >= k} share_j, (K,), as fractions of 2^128, the upper 64 bits into `high`; False if it is 1 or more.

    Summed from the smallest, the tail, in whole numbers: each share of 2^-75 or more keeps all of its 53 bits.
    """
    high_sum = np.uint64(0)
    low_sum = np.uint64(0)
    for k in range(len(share) - 1, -1, -1):
        scaled = share[k] * 18446744073709551616.0
        whole = np.floor(scaled)
        high_part = np.uint64(whole)
        low_part = np.uint64((scaled - whole) * 18446744073709551616.0)
        before = low_sum
        low_sum += low_part
        carry = np.uint64(1) if low_sum < before else np.uint64(0)
        before = high_sum
        high_sum += high_part + carry
        if high_sum < before:
            return False
        high[k] = high_sum
        low[k] = low_sum
    return True


@compiled
def place_words(words: Hashes, high: Hashes, low: Hashes, out: Longs) -> None:
    """Write how many of the falling sums (K,) are above each word of 128 bits, words (2 N,), out (N,)."""
    for n in range(len(out)):
        word, more = words[2 * n], words[2 * n + 1]
        first, last = 0, len(high)
        while first < last:
            middle = (first + last) // 2
            above = high[middle] > word or (high[middle] == word and low[middle] > more)
            if above:
                first = middle + 1
            else:
                last = middle
        out[n] = first


@inlined
def round_row(scaled: Doubles, steps: int, out: Longs) -> None:
    """Write one row as whole numbers, of which the squares add up to steps² at most; both (N,).

    Each value goes up or down by its place in the row, so that a row of many equal values keeps its length in the
    mean. A row that comes out too long is made shorter.
    """
    scale = 1.0
    length = steps * steps + 1
    while length > steps * steps:
        length = 0
        for n in range(len(scaled)):
            out[n] = np.int64(np.floor(scaled[n] * scale + ((n + 1) * GOLDEN) % 1.0))
            length += int(out[n]) * int(out[n])
        scale *= SHORTER


@compiled
def round_rows(start: Longs, value: Doubles, steps: int, out: Longs) -> None:
    """Write rows of values, each brought to the length `steps`, as whole numbers: see `round_row`; out (N,)."""
    for row in range(len(start) - 1):
        low, high = start[row], start[row + 1]
        square = 0.0
        for n in range(low, high):
            square += value[n] * value[n]
        if square > 0:
            round_row(value[low:high] * (steps / np.sqrt(square)), steps, out[low:high])
        else:
            out[low:high] = 0


@compiled
def project_rows(
    start: Longs, column: Ints, weight: Longs, axes: Doubles, most: float, steps: int, out: Longs
) -> None:
    """Write q P / steps for rows q of whole numbers and axes P (I, K), cut to the length `most`, in whole numbers.

    `most` is `steps` of them; out (U, K). Each row is computed by itself, in one order: no other moves its last bits.
    """
    found = np.empty(axes.shape[1])
    for row in range(len(start) - 1):
        found[:] = 0
        for n in range(start[row], start[row + 1]):
            for k in range(len(found)):
                found[k] += weight[n] * axes[column[n], k]
        square = 0.0
        for k in range(len(found)):
            square += found[k] * found[k]
        longest = max(most * steps, np.sqrt(square))
        for k in range(len(found)):
            found[k] *= steps / longest
        round_row(found, steps, out[row])
