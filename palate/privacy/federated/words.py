"""Numbers as whole numbers modulo 2^32 or 2^64, so that masks hide them and their sum is exact.

A row of values whose sum over all clients stays within ± bound is written in steps of bound / 2^(bits - 1). Whatever
words a client sends, the sum that is read lies within ± bound: that limits the pull of a wrong one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from palate.arrays import Doubles
from palate.errors import DataError

ROUNDING = 1 << 13  # steps kept free: each client's rounding adds half a one


def word_type(bits: int) -> np.dtype[Any]:
    """Return the type of words of 32 or 64 bits, the same on every machine."""
    return np.dtype("<u4" if bits == 32 else "<u8")


def steps(bound: Doubles, bits: int) -> Doubles:
    """Return the step of each row (R, 1) for bounds (R,); rows with a bound of 0 have a step of 0."""
    return np.asarray(bound, np.float64)[:, None] / (2.0 ** (bits - 1) - ROUNDING)


def to_words(values: Doubles, share: Doubles, bound: Doubles, bits: int) -> NDArray[Any]:
    """Write values (R, C), cut to ± share (R,), in the steps of the bounds (R,) of all clients together.

    Raises `DataError` for a value that is not finite.
    """
    wrong = ~np.isfinite(values)
    if wrong.any():
        row, column = (int(each[0]) for each in np.nonzero(wrong))
        raise DataError(f"sum, row {row}, column {column}: {values[row, column]}; sums must be finite")
    step = steps(bound, bits)
    most = np.minimum(share, bound)[:, None]
    cut = np.clip(values, -most, most)
    whole = np.rint(np.divide(cut, step, out=np.zeros_like(cut), where=step > 0)).astype(np.int64)
    return whole.astype("<u8").astype(word_type(bits))


def from_words(words: NDArray[Any], bound: Doubles, bits: int) -> Doubles:
    """Read a sum of words (R, C)."""
    signed = words.view("<i4" if bits == 32 else "<i8")
    return np.asarray(signed * steps(bound, bits))
