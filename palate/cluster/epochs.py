"""Epochs on a cluster: progress, Ctrl-C."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from palate.kernels.clock import clock
from palate.models.base import Model, Progress, Watch

M = TypeVar("M", bound=Model)


def epochs(
    count: int,
    samples: int,
    epoch: Callable[[int], None],
    loss: Callable[[], float],
    model: Callable[[], M],
    watch: Watch | None,
) -> M:
    """Do so many epochs of so many samples; returns the model of the last full one.

    The model is made once, at the end, as it takes all users from the workers: `watch` sees epochs without one.
    Ctrl-C ends the fit with the last full epoch.
    """
    began, done = clock(), 0
    try:
        for number in range(count):
            epoch(number)
            done = number + 1
            if watch is not None:
                rate = done * samples / max(clock() - began, 1e-9)
                if watch(Progress(done, count, done / count, rate, loss())):
                    break
    except KeyboardInterrupt:
        if not done:
            raise
    return model()
