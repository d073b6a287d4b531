"""How vectors are trained: sample by sample, or by blocks of people against a shared sample of the catalogue."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from palate.arrays import Doubles, Floats, Ints
from palate.data.ragged import Ragged
from palate.errors import SettingError
from palate.kernels import blocks
from palate.kernels.draws import Sampler
from palate.kernels.sampling import Events, Step, sgd_kernel
from palate.models.base import Model, Progress, Watch
from palate.models.crew import Crew

SLICE_SAMPLES = 100_000  # between two looks at the clock, the watch and Ctrl-C
BLOCK_SAMPLES = 3_000  # events in a block of people, about


@dataclass(frozen=True)
class Catch:
    """A sample of the catalogue: S distinct items, and the logarithms of 1 / their chances of being in it."""

    items: Ints
    log_weight: Floats

    def places(self, n_items: int) -> Ints:
        """Place of each item in the sample, or -1, (n_items,)."""
        slot = np.full(n_items, -1, np.int32)
        slot[self.items] = np.arange(len(self.items), dtype=np.int32)
        return slot


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
        who: Ints,
        log: Ragged,
        catch: Catch,
        slot: Ints,
        scale: float,
    ) -> Slopes:
        """For people with vectors X (B, D) and histories log[who] against a sample with vectors Q (S, D).

        slot (I,) holds the places of the sample.
        """
        factor = np.float32(scale)
        E: Floats = np.matmul(X * factor, Q.T, dtype=np.float32)
        own = blocks.own_scores(X, items, who, log.start, log.column, scale)
        share, loss = blocks.softmax_rows(E, catch.log_weight, own, who, log.start, log.column, log.weight, slot)
        share *= factor
        own *= factor
        return cls(E, own, share, loss)

    def by_user(self, Q: Floats, items: Floats, who: Ints, log: Ragged) -> tuple[Floats, Floats]:
        """Gradient by the people's vectors, (B, D), and the weight of their positives, (B,)."""
        move: Floats = np.matmul(self.sampled, Q, dtype=np.float32)
        move *= self.share[:, None]
        return move, blocks.add_own(move, items, self.own, who, log.start, log.column, log.weight)


@dataclass(frozen=True)
class SharedSampler:
    """Draws S distinct items: windows of a shuffled catalogue, or by chance q (I,) where given.

    With chance q, item i is in a sample with chance 1 - (1 - q_i)^S.
    """

    size: int
    n_items: int
    chance: Doubles | None = None

    def catches(self, rng: np.random.Generator) -> Iterator[Catch]:
        """Yield samples without end."""
        if self.size >= self.n_items:
            return self._whole()
        return self._windows(rng) if self.chance is None else self._draws(rng, self.chance)

    def _whole(self) -> Iterator[Catch]:
        everything = Catch(np.arange(self.n_items, dtype=np.int32), np.zeros(self.n_items, np.float32))
        while True:
            yield everything

    def _windows(self, rng: np.random.Generator) -> Iterator[Catch]:
        deck = np.arange(self.n_items, dtype=np.int32)
        log_weight = np.full(self.size, np.log(self.n_items / self.size), np.float32)
        while True:
            rng.shuffle(deck)
            for low in range(0, self.n_items - self.size + 1, self.size):
                yield Catch(deck[low : low + self.size].copy(), log_weight)

    def _draws(self, rng: np.random.Generator, chance: Doubles) -> Iterator[Catch]:
        upto = np.cumsum(chance)
        with np.errstate(divide="ignore"):  # an item that is never drawn has no weight
            log_weight = -np.log(-np.expm1(self.size * np.log1p(-np.minimum(chance, 1 - 1e-9)))).astype(np.float32)
        while True:
            found = np.searchsorted(upto, rng.random(self.size) * upto[-1], side="right")
            items = np.unique(np.minimum(found, self.n_items - 1)).astype(np.int32)
            yield Catch(items, log_weight[items])


@dataclass
class Descent(ABC):
    """Vectors in training: users (U, D) and items (I, D) are changed in place."""

    users: Floats
    items: Floats
    log: Ragged
    rng: np.random.Generator
    l2: float
    scale: float

    @abstractmethod
    def epoch(self, crew: Crew, rate: Callable[[float], float]) -> Iterator[tuple[int, float]]:
        """Go once over the log; yields (samples, their summed loss). `rate` is the learning rate at a share of it."""


@dataclass
class BlockDescent(Descent):
    """Softmax against samples shared by blocks of people; row-wise Adagrad."""

    sampler: SharedSampler

    def __post_init__(self) -> None:
        self.user_squares = np.zeros(len(self.users), np.float32)
        self.item_squares = np.zeros(len(self.items), np.float32)
        self.catches = self.sampler.catches(self.rng)
        self.desks: dict[int, tuple[Ints, Ints]] = {}  # work space of each thread
        people = round(BLOCK_SAMPLES * len(self.log) / max(1, len(self.log.column)))
        self.people = min(max(people, 32), 1024, -(-len(self.log) // 16))  # products want rows, Adagrad wants steps

    def epoch(self, crew: Crew, rate: Callable[[float], float]) -> Iterator[tuple[int, float]]:
        """Go once over the people in random order, a slice of blocks at a time."""
        order = self.rng.permutation(len(self.log)).astype(np.int32)
        starts = range(0, len(order), self.people)
        slice_blocks = max(crew.most, SLICE_SAMPLES // BLOCK_SAMPLES)
        lengths = self.log.lengths
        for low in range(0, len(starts), slice_blocks):
            todo = [order[s : s + self.people] for s in starts[low : low + slice_blocks]]
            catches = [next(self.catches) for _ in todo]
            pace = rate(low / len(starts))

            def work(thread: int, first: int, last: int) -> float:
                return sum(self.step(thread, todo[n], catches[n], pace) for n in range(first, last))  # noqa: B023

            yield int(sum(lengths[who].sum() for who in todo)), crew.run(work, 0, len(todo))

    @np.errstate(over="ignore", invalid="ignore")  # a rate too large: the loss tells
    def step(self, thread: int, who: Ints, catch: Catch, rate: float) -> float:
        """One step for the people `who` (B,) against one sample; returns their summed loss."""
        slot, touched = self._desk(thread)
        S = len(catch.items)
        touched[:S] = catch.items
        slot[catch.items] = np.arange(S, dtype=np.int32)
        X, Q = self.users[who], self.items[catch.items]  # (B, D), (S, D)
        slopes = Slopes.of(X, Q, self.items, who, self.log, catch, slot, self.scale)
        move, amount = slopes.by_user(Q, self.items, who, self.log)
        start, column, weight = self.log.start, self.log.column, self.log.weight
        gradient, item_amount, n = blocks.gather_own(X, slopes.own, who, start, column, weight, slot, touched, S)
        gradient[:S] += slopes.sampled.T @ (X * slopes.share[:, None])  # (S, D)
        blocks.descend(self.users, self.user_squares, who, move, amount, rate, self.l2)
        blocks.descend(self.items, self.item_squares, touched[:n], gradient, item_amount, rate, self.l2)
        blocks.release(slot, touched, n)
        return slopes.loss

    def _desk(self, thread: int) -> tuple[Ints, Ints]:
        if thread not in self.desks:
            I = len(self.items)
            self.desks[thread] = np.full(I, -1, np.int32), np.empty(I, np.int32)
        return self.desks[thread]


@dataclass
class SampleDescent(Descent):
    """SGD on each event with negatives of its own; lock-free over the threads."""

    loss: int
    negatives: int
    user: Ints
    sampler: Sampler

    def __post_init__(self) -> None:
        self.events = Events(self.user, self.log.column, self.log.weight)
        self.kernel = sgd_kernel(self.users.shape[1], self.negatives)

    def epoch(self, crew: Crew, rate: Callable[[float], float]) -> Iterator[tuple[int, float]]:
        """Go once over the events in random order, a slice at a time."""
        N = len(self.log.column)
        key = np.uint64(self.rng.integers(1 << 63))
        for low in range(0, N, SLICE_SAMPLES):
            high = min(low + SLICE_SAMPLES, N)
            step = Step(self.loss, self.negatives, rate(low / N), self.l2, self.scale, key)

            def work(_: int, first: int, last: int) -> float:
                return self.kernel(self.users, self.items, self.events, self.sampler, step, first, last)  # noqa: B023

            yield high - low, crew.run(work, low, high)


@dataclass(frozen=True)
class Pace:
    """Epochs, with a learning rate that falls in a line to 0, on some number of threads (None: measured)."""

    epochs: int
    learning_rate: float
    threads: int | None

    def at(self, epoch: int) -> Callable[[float], float]:
        """Learning rate at a share of an epoch."""
        return lambda share: self.learning_rate * (1 - (epoch + share) / self.epochs)


M = TypeVar("M", bound=Model)


def train(descent: Descent, pace: Pace, model: Callable[[Floats, Floats], M], watch: Watch | None) -> M:
    """Run the epochs and return the model of the last full one.

    `model` makes it of copies of (users, items), which go on changing. Ctrl-C ends the work after
    the first epoch without an error. Raises `SettingError` when the loss is lost.
    """
    kept: M | None = None
    whole = False  # whether the vectors are those of a full epoch
    try:
        with Crew(pace.threads) as crew:
            for epoch in range(pace.epochs):
                whole = False
                progress = _epoch(descent, pace, epoch, crew, watch)
                whole = True
                if not np.isfinite(progress.loss or 0.0):
                    rule = f"the loss is {progress.loss} in epoch {epoch + 1}; lower it"
                    raise SettingError(f"learning_rate={pace.learning_rate}: {rule}")
                kept = None  # before the next copy: only two live at a time
                kept = model(descent.users, descent.items)
                if watch is not None and watch(replace(progress, model=kept)):
                    break
    except KeyboardInterrupt:
        if kept is None and not whole:
            raise
    return kept or model(descent.users, descent.items)


def _epoch(descent: Descent, pace: Pace, epoch: int, crew: Crew, watch: Watch | None) -> Progress:
    """One epoch; returns the progress at its end."""
    N = len(descent.log.column)
    began, done, loss, rate = time.perf_counter(), 0, 0.0, 0.0
    for samples, value in descent.epoch(crew, pace.at(epoch)):
        done, loss = done + samples, loss + value
        rate = done / (time.perf_counter() - began)
        if watch is not None and done < N:
            watch(Progress(epoch + 1, pace.epochs, (epoch + done / N) / pace.epochs, rate))
    return Progress(epoch + 1, pace.epochs, (epoch + 1) / pace.epochs, rate, loss / N)
