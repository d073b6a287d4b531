"""How far a fit has come, and what may end it early: a `watch`, and a budget of seconds."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from palate.errors import OutOfTime, check
from palate.kernels.clock import clock

LOG = logging.getLogger("palate.training")
M_co = TypeVar("M_co", covariant=True)  # model


@dataclass(frozen=True)
class Progress(Generic[M_co]):
    """How far a fit has come: `done` is the share of the whole work, `rate` the samples a second.

    At the end of an epoch `loss` is its mean and `model` the model as it stands; in between both are None. Before the
    first, while items are read, both numbers of epochs are 0.
    """

    epoch: int
    epochs: int
    done: float
    rate: float
    loss: float | None = None
    model: M_co | None = None


class Budget:
    """A watch that ends a fit in time, with the model of the last full epoch, and says so in the log of Palate.

    An epoch that would end too late, by the longest one so far, is not begun; one that is late after all is given up.
    Seconds in which kernels are compiled do not count. Raises `OutOfTime` where not one epoch was finished.
    """

    def __init__(self, seconds: float, watch: Callable[[Any], bool | None] | None = None) -> None:
        check(seconds > 0, "seconds", seconds, "must be above 0")
        self.seconds, self.watch = seconds, watch
        self.began = self.last = clock()
        self.longest = 0.0

    def __call__(self, progress: Progress[Any]) -> bool:
        """Hear how far the fit has come; returns whether it shall end."""
        stop = self.watch is not None and bool(self.watch(progress))
        now = clock()
        if progress.loss is None:
            if now - self.began > self.seconds:
                where = f"over in epoch {progress.epoch} of {progress.epochs}"
                raise OutOfTime(f"seconds={self.seconds:g}: {where}; allow more")
            return stop
        self.longest, self.last = max(self.longest, now - self.last), now
        late = now + self.longest > self.began + self.seconds
        if late and not stop and progress.epoch < progress.epochs:
            text = "seconds=%g: the fit ends after epoch %d of %d, the next one would be too late"
            LOG.warning(text, self.seconds, progress.epoch, progress.epochs)
            stop = True
        return stop
