"""Factors of scores: multiplied where conditions hold, and applied so that a factor above 1 always lifts."""

import numpy as np

from palate.arrays import Bools, Doubles, Floats
from palate.kernels.compile import compiled


@compiled
def multiply(factor: Doubles, mask: Bools, times: float) -> None:
    """Multiply factors (N,) where a mask holds, in place; a mask of another length raises `ValueError`."""
    if len(mask) != len(factor):
        raise ValueError("a mask and the factors differ in length")
    for n in range(len(factor)):
        factor[n] *= times if mask[n] else 1.0


@compiled
def narrow(factor: Doubles, least: float, most: float, result: Floats) -> None:
    """Write factors (N,), none below `least` or above `most`; a result of another length raises `ValueError`."""
    if len(result) != len(factor):
        raise ValueError("the factors and their result differ in length")
    for n in range(len(factor)):  # comparisons, not min and max: these ask for NaN and leave the vector units idle
        bounded = least if factor[n] < least else factor[n]
        result[n] = most if bounded > most else bounded


@compiled
def lifted(scores: Floats, factor: Floats) -> Floats:
    """Multiply scores (N,) above 0 by their factors and divide those below; what is beyond floats is the largest.

    No number counts 0. Factors of another length raise `ValueError`.
    """
    if len(factor) != len(scores):
        raise ValueError("the scores and their factors differ in length")
    largest = np.float64(np.finfo(np.float32).max)
    result = np.zeros(len(scores), np.float32)
    for n in range(len(scores)):
        score = np.float64(scores[n])
        if score > 0:
            result[n] = min(score * factor[n], largest)
        elif score < 0:
            result[n] = max(score / factor[n], -largest)
    return result
