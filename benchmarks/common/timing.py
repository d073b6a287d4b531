"""Clocks around calls."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import TypeVar

import numpy as np

T = TypeVar("T")


def seconds_of(work: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    """Seconds of one call, by this clock."""
    began = clock()
    work()
    return clock() - began


def microseconds(work: Callable[[T], object], arguments: Iterable[T]) -> np.typing.NDArray[np.float64]:
    """Wall time of the call for each argument, (N,)."""
    return 1e6 * np.array([seconds_of(partial(work, each)) for each in arguments])
