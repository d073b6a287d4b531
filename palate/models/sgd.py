"""How vectors are trained: sample by sample, or by blocks of users against a shared sample of the catalogue."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from palate.arrays import Floats, Ints
from palate.compute.threads import ThreadTeam
from palate.data.ragged import Ragged
from palate.errors import SettingError
from palate.kernels import blocks
from palate.kernels.clock import clock
from palate.kernels.draws import Sampler
from palate.kernels.sampling import Events, SgdStep, sgd_kernel
from palate.models.base import Model, Progress, Watch
from palate.models.negative_sampling import NegativeSample, SharedSampler

SLICE_SAMPLES = 100_000  # between two looks at the clock, the watch and Ctrl-C
BLOCK_SAMPLES = 3_000  # events in a block of users, about


@dataclass(frozen=True)
class Slopes:
    """Slopes of a block's loss by u·p: of sample k share[b] sampled[b, k], of positive p own[p]."""

    sampled: Floats  # (B, S)
    own: Floats  # (P,)
    share: Floats  # (B,)
    loss: float

    @classmethod
    def of(
        cls,
        X: Floats,
        Q: Floats,
        items: Floats,
        rows: Ints,
        log: Ragged,
        sample: NegativeSample,
        slot: Ints,
        scale: float,
    ) -> Slopes:
        """For users with vectors X (B, D) and histories log[rows] against a sample with vectors Q (S, D).

        slot (I,) holds the places of the sample.
        """
        factor = np.float32(scale)
        E: Floats = np.matmul(X * factor, Q.T, dtype=np.float32)
        own = blocks.own_scores(X, items, rows, log.start, log.column, scale)
        share, loss = blocks.softmax_rows(E, sample.log_weight, own, rows, log.start, log.column, log.weight, slot)
        share *= factor
        own *= factor
        return cls(E, own, share, loss)

    def by_user(self, Q: Floats, items: Floats, rows: Ints, log: Ragged) -> tuple[Floats, Floats]:
        """Gradient by the users' vectors, (B, D), and the weight of their positives, (B,)."""
        move: Floats = np.matmul(self.sampled, Q, dtype=np.float32)
        move *= self.share[:, None]
        return move, blocks.add_own(move, items, self.own, rows, log.start, log.column, log.weight)


@dataclass
class SgdTask(ABC):
    """Vectors in training: users (U, D) and items (I, D) are changed in place."""

    users: Floats
    items: Floats
    log: Ragged
    rng: np.random.Generator
    l2: float
    scale: float

    @abstractmethod
    def epoch(self, team: ThreadTeam, rate: Callable[[float], float]) -> Iterator[tuple[int, float]]:
        """Go once over the log; yields (samples, their summed loss). `rate` is the learning rate at a share of it."""


@dataclass
class BlockSgd(SgdTask):
    """Softmax against samples shared by blocks of users; row-wise Adagrad."""

    sampler: SharedSampler

    def __post_init__(self) -> None:
        self.user_squares = np.zeros(len(self.users), np.float32)
        self.item_squares = np.zeros(len(self.items), np.float32)
        self.samples = self.sampler.samples(self.rng)
        self.workspaces: dict[int, tuple[Ints, Ints]] = {}  # work space of each thread
        block_users = round(BLOCK_SAMPLES * len(self.log) / max(1, len(self.log.column)))
        # Matrix products want many rows, Adagrad wants many steps.
        self.block_users = min(max(block_users, 32), 1024, -(-len(self.log) // 16))

    def epoch(self, team: ThreadTeam, rate: Callable[[float], float]) -> Iterator[tuple[int, float]]:
        """Go once over the users in random order, a slice of blocks at a time."""
        order = self.rng.permutation(len(self.log)).astype(np.int32)
        starts = range(0, len(order), self.block_users)
        slice_blocks = max(team.most, SLICE_SAMPLES // BLOCK_SAMPLES)
        lengths = self.log.lengths
        for low in range(0, len(starts), slice_blocks):
            todo = [order[s : s + self.block_users] for s in starts[low : low + slice_blocks]]
            samples = [next(self.samples) for _ in todo]
            schedule = rate(low / len(starts))

            def work(thread: int, first: int, last: int) -> float:
                return sum(self.step(thread, todo[n], samples[n], schedule) for n in range(first, last))  # noqa: B023

            yield int(sum(lengths[rows].sum() for rows in todo)), team.run(work, 0, len(todo))

    @np.errstate(over="ignore", invalid="ignore")  # a rate too large: the loss shows it
    def step(self, thread: int, rows: Ints, sample: NegativeSample, rate: float) -> float:
        """One step for the users `rows` (B,) against one sample; returns their summed loss."""
        slot, touched = self._workspace(thread)
        S = len(sample.items)
        touched[:S] = sample.items
        slot[sample.items] = np.arange(S, dtype=np.int32)
        X, Q = self.users[rows], self.items[sample.items]  # (B, D), (S, D)
        slopes = Slopes.of(X, Q, self.items, rows, self.log, sample, slot, self.scale)
        move, amount = slopes.by_user(Q, self.items, rows, self.log)
        start, column, weight = self.log.start, self.log.column, self.log.weight
        gradient, item_amount, n = blocks.gather_own(X, slopes.own, rows, start, column, weight, slot, touched, S)
        gradient[:S] += slopes.sampled.T @ (X * slopes.share[:, None])  # (S, D)
        blocks.descend(self.users, self.user_squares, rows, move, amount, rate, self.l2)
        blocks.descend(self.items, self.item_squares, touched[:n], gradient, item_amount, rate, self.l2)
        blocks.release(slot, touched, n)
        return slopes.loss

    def _workspace(self, thread: int) -> tuple[Ints, Ints]:
        if thread not in self.workspaces:
            I = len(self.items)
            self.workspaces[thread] = np.full(I, -1, np.int32), np.empty(I, np.int32)
        return self.workspaces[thread]


@dataclass
class SampleSgd(SgdTask):
    """SGD on each event with negatives of its own; lock-free over the threads."""

    loss: int
    negatives: int
    user: Ints
    sampler: Sampler

    def __post_init__(self) -> None:
        self.events = Events(self.user, self.log.column, self.log.weight)
        self.kernel = sgd_kernel(self.users.shape[1], self.negatives)

    def epoch(self, team: ThreadTeam, rate: Callable[[float], float]) -> Iterator[tuple[int, float]]:
        """Go once over the events in random order, a slice at a time."""
        N = len(self.log.column)
        key = np.uint64(self.rng.integers(1 << 63))
        for low in range(0, N, SLICE_SAMPLES):
            high = min(low + SLICE_SAMPLES, N)
            step = SgdStep(self.loss, self.negatives, rate(low / N), self.l2, self.scale, key)

            def work(_: int, first: int, last: int) -> float:
                return self.kernel(self.users, self.items, self.events, self.sampler, step, first, last)  # noqa: B023

            yield high - low, team.run(work, low, high)


@dataclass(frozen=True)
class LinearDecay:
    """Epochs, with a learning rate that falls in a line to 0, on some number of threads (None: measured)."""

    epochs: int
    learning_rate: float
    threads: int | None

    def at(self, epoch: int) -> Callable[[float], float]:
        """Learning rate at a share of an epoch."""
        return lambda share: self.learning_rate * (1 - (epoch + share) / self.epochs)


M = TypeVar("M", bound=Model)


def train(task: SgdTask, schedule: LinearDecay, model: Callable[[Floats, Floats], M], watch: Watch | None) -> M:
    """Run the epochs and return the model of the last full one.

    `model` makes it of copies of (users, items), which go on changing. Ctrl-C ends the work after
    the first epoch without an error. Raises `SettingError` when the loss is lost.
    """
    kept: M | None = None
    whole = False  # whether the vectors are those of a full epoch
    try:
        with ThreadTeam(schedule.threads) as team:
            for epoch in range(schedule.epochs):
                whole = False
                progress = _epoch(task, schedule, epoch, team, watch)
                whole = True
                if not np.isfinite(progress.loss or 0.0):
                    rule = f"the loss is {progress.loss} in epoch {epoch + 1}; lower it"
                    raise SettingError(f"learning_rate={schedule.learning_rate}: {rule}")
                kept = None  # before the next copy: only two live at a time
                kept = model(task.users, task.items)
                if watch is not None and watch(replace(progress, model=kept)):
                    break
    except KeyboardInterrupt:
        if kept is None and not whole:
            raise
    return kept or model(task.users, task.items)


def _epoch(task: SgdTask, schedule: LinearDecay, epoch: int, team: ThreadTeam, watch: Watch | None) -> Progress:
    """One epoch; returns the progress at its end."""
    N = len(task.log.column)
    began, done, loss, rate = clock(), 0, 0.0, 0.0
    for samples, value in task.epoch(team, schedule.at(epoch)):
        done, loss = done + samples, loss + value
        rate = done / (clock() - began)
        if watch is not None and done < N:
            watch(Progress(epoch + 1, schedule.epochs, (epoch + done / N) / schedule.epochs, rate))
    return Progress(epoch + 1, schedule.epochs, (epoch + 1) / schedule.epochs, rate, loss / N)
