"""How vectors are trained: sample by sample, or by blocks of users against a shared sample of the catalogue."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np

from palate.arrays import Floats, Ints
from palate.bundles.bundle import Part
from palate.compute.threads import ThreadTeam
from palate.data.ragged import Ragged
from palate.errors import SettingError
from palate.kernels import blocks
from palate.kernels.draws import Sampler
from palate.kernels.sampling import Events, SgdStep, sgd_kernel
from palate.models.base import Model
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

    @abstractmethod
    def draw(self) -> object:
        """Draw what an epoch draws by chance, and nothing else."""

    def arrays(self) -> dict[str, Floats]:
        """Return the arrays that change, by name."""
        return {"users": self.users, "items": self.items}


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
        order = self._order()
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

    def _order(self) -> Ints:
        return self.rng.permutation(len(self.log)).astype(np.int32)

    def draw(self) -> None:
        """Draw an order of the users, and a sample for each block."""
        for _ in range(0, len(self._order()), self.block_users):
            next(self.samples)

    def arrays(self) -> dict[str, Floats]:
        """Return the arrays that change, by name."""
        return {**super().arrays(), "user_squares": self.user_squares, "item_squares": self.item_squares}

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
        key = self.draw()
        for low in range(0, N, SLICE_SAMPLES):
            high = min(low + SLICE_SAMPLES, N)
            step = SgdStep(self.loss, self.negatives, rate(low / N), self.l2, self.scale, key)

            def work(_: int, first: int, last: int) -> float:
                return self.kernel(self.users, self.items, self.events, self.sampler, step, first, last)  # noqa: B023

            yield high - low, team.run(work, low, high)

    def draw(self) -> np.uint64:
        """Draw the key of an epoch."""
        return np.uint64(self.rng.integers(1 << 63))


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


@dataclass
class Descent(Generic[M]):
    """Gradient descent as the epoch loop asks for it; `made` makes a model of copies of (users, items)."""

    work: SgdTask
    schedule: LinearDecay
    made: Callable[[Floats, Floats], M]
    mean_loss: float = 0.0

    def __post_init__(self) -> None:
        self.samples = len(self.work.log.column)

    def epoch(self, team: ThreadTeam, number: int) -> Iterator[int]:
        """Go once over the log. Raises `SettingError` when the loss is lost."""
        total = 0.0
        for samples, loss in self.work.epoch(team, self.schedule.at(number)):
            total += loss
            yield samples
        self.mean_loss = total / self.samples
        if not np.isfinite(total):
            rule = f"the loss is {self.mean_loss} in epoch {number + 1}; lower it"
            raise SettingError(f"learning_rate={self.schedule.learning_rate}: {rule}")

    def loss(self) -> float:
        """Mean over the samples of the last epoch."""
        return self.mean_loss

    def model(self) -> M:
        """Return a model of the vectors as they are."""
        return self.made(self.work.users, self.work.items)

    def state(self) -> Mapping[str, Part]:
        """Return the vectors and the sums of squares of Adagrad."""
        return self.work.arrays()

    def resume(self, state: Mapping[str, Any], epochs: int) -> None:
        """Take them up; what was drawn by chance is drawn again."""
        for name, array in self.work.arrays().items():
            array[:] = state[name]
        for _ in range(epochs):
            self.work.draw()
