"""Whole numbers written in decimal, as databases print them."""

import numpy as np

from palate.arrays import Longs
from palate.kernels.compile import compiled

ZERO, NINE, MINUS = np.uint8(48), np.uint8(57), np.uint8(45)


@compiled
def read_decimals(text: np.typing.NDArray[np.uint8]) -> Longs:
    """Read every whole number of a text, in its order; whatever else stands there separates them."""
    count = 0
    for n in range(len(text)):
        if ZERO <= text[n] <= NINE and (n + 1 == len(text) or not ZERO <= text[n + 1] <= NINE):
            count += 1
    numbers = np.empty(count, np.int64)
    found, value, sign = 0, np.int64(0), np.int64(1)
    for n in range(len(text)):
        if ZERO <= text[n] <= NINE:
            value = value * 10 + np.int64(text[n] - ZERO)
            if n + 1 == len(text) or not ZERO <= text[n + 1] <= NINE:
                numbers[found] = sign * value
                found, value, sign = found + 1, np.int64(0), np.int64(1)
        else:
            sign = np.int64(-1) if text[n] == MINUS else np.int64(1)
    return numbers
