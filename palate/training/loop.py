"""The epoch loop, the only one: progress, Ctrl-C, budgets, early stopping and checkpoints of every fit.

A task says what an epoch is. An executor says where it runs: a context manager, entered before the first epoch and
left after the last, whose value is what the task works with: a `ThreadTeam`, the device of a network, a cluster.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

from palate.bundles.bundle import Part
from palate.errors import OutOfTime
from palate.kernels.clock import clock
from palate.training.checkpoint import Checkpoint
from palate.training.progress import LOG, Progress

M = TypeVar("M")
M_co = TypeVar("M_co", covariant=True)  # model
On = TypeVar("On")
On_contra = TypeVar("On_contra", contravariant=True)  # what an executor gives


class Task(Protocol[On_contra, M_co]):
    """What is trained: a state that changes from epoch to epoch. `samples` is how many an epoch goes through."""

    @property
    def samples(self) -> int:
        """How many an epoch goes through."""

    def epoch(self, on: On_contra, number: int) -> Iterator[int]:
        """Do epoch `number`, from 0 on, in steps; yields the samples of each step when it is done."""

    def loss(self) -> float:
        """Mean loss of the epoch that was done last."""

    def model(self) -> M_co:
        """Return a model of the state, which goes on changing."""

    def state(self) -> Mapping[str, Part]:
        """Return all that the epochs to come depend on, beside the seed."""

    def resume(self, state: Mapping[str, Any], epochs: int) -> None:
        """Take up the state that was kept after so many epochs."""


def fit(
    task: Task[On, M],
    executor: AbstractContextManager[On],
    epochs: int,
    *,
    watch: Callable[[Progress[M]], bool | None] | None = None,
    checkpoint: Checkpoint | None = None,
) -> M:
    """Do the epochs that a checkpoint does not hold yet; returns the model of the last full one.

    `watch` is called as they go on, and may end the fit by True at the end of an epoch. Ctrl-C ends it with the
    model of the last full epoch, as `OutOfTime` does; either is passed on where there is none.
    """
    first, state = (0, {}) if checkpoint is None else checkpoint.read()
    kept: M | None = None
    if first:
        task.resume(state, first)
        kept = task.model()
    whole = bool(first)  # whether the state is that of a full epoch
    began, done, all_samples = clock(), 0, max(1, epochs * task.samples)

    def report(epoch: int, share: float, loss: float | None = None) -> bool:
        rate = done / max(clock() - began, 1e-9)
        model = None if loss is None else kept
        return watch is not None and bool(watch(Progress(epoch, epochs, share, rate, loss, model)))

    try:
        with executor as on:
            for number in range(first, epochs):
                whole = False
                for samples in task.epoch(on, number):
                    done += samples
                    share = first / epochs + done / all_samples
                    if share < (number + 1) / epochs:
                        report(number + 1, share)
                whole = True
                kept = None  # before the next one: only two live at a time
                kept = task.model()
                stop = watch is not None and report(number + 1, (number + 1) / epochs, task.loss())
                if checkpoint is not None:  # afterwards: an epoch that was not reported is done again
                    checkpoint.write(number + 1, task.state())
                if stop:
                    break
    except (KeyboardInterrupt, OutOfTime) as end:
        if kept is None and not whole:
            raise
        LOG.warning("%s: the last full epoch is kept", str(end) or "interrupted")
    return task.model() if kept is None else kept
