"""iALS on a cluster: users stay with their worker, sums over users travel, (steps + 2) I D numbers each way an epoch.

    driver → workers            workers → driver                                            numbers each way
    items q, turned             r_i = Σ_u (max(w, 0) - |w| (x_u·q_i)) x_u, in 8 bytes           I D down, 2 I D up
    directions p, each step     A p_i                                                       I D down, I D up
    items, solved and turned    Gram matrix of the users, solved for these items            I D down, D² up

Start and steps are those of `IALS.fit`, and so is the result, but for the order in which floats are added.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn, cast

import numpy as np
from numpy.typing import NDArray

from palate.arrays import Doubles, Floats, Longs
from palate.cluster.gang import Gang
from palate.cluster.shard import Placed, Shard
from palate.data.ragged import Ragged
from palate.errors import SettingError
from palate.kernels.least_squares import squared_error
from palate.models.base import Watch
from palate.models.ials import IALS, IALSModel
from palate.models.user_sums import Turned, UserSums, gram_of, principal, solved_items
from palate.privacy.federated.work import Totals
from palate.training.loop import fit
from palate.training.progress import Progress

BLOCK = 1 << 16  # users whose first vectors are drawn at once


def user_starts(recipe: IALS, rows: Longs) -> Floats:
    """First vectors (U, D) of these rows of all users, as `IALS.fit` draws them: numbers before are drawn, too."""
    rng, out = np.random.default_rng(recipe.seed), np.empty((len(rows), recipe.dim), np.float32)
    last = int(rows[-1]) + 1 if len(rows) else 0
    for low in range(0, last, BLOCK):
        block = rng.standard_normal((min(BLOCK, last - low), recipe.dim), np.float32)
        first, end = np.searchsorted(rows, [low, low + BLOCK])
        out[first:end] = block[rows[first:end] - low]
    return out * np.float32(recipe.init_std / np.sqrt(recipe.dim))


def item_starts(recipe: IALS, users: int, items: int) -> Floats:
    """First vectors (I, D) of the items, drawn after those of so many users."""
    rng = np.random.default_rng(recipe.seed)
    for low in range(0, users, BLOCK):
        rng.standard_normal((min(BLOCK, users - low), recipe.dim), np.float32)
    return rng.standard_normal((items, recipe.dim), np.float32) * np.float32(recipe.init_std / np.sqrt(recipe.dim))


class IalsWork:
    """A worker's side: `saved` holds its users' vectors (U, D) before each epoch that may be done again."""

    def __init__(self, shard: Shard, recipe: IALS, unit: float) -> None:
        log, items = shard.log, len(shard.log.items)
        weight = log.weight if unit == 1 else (log.weight / unit).astype(np.float32)
        self.recipe, ridge = recipe, recipe.ridge(log.start, weight, items)
        self.sums = UserSums.of(Ragged(log.start, log.item, weight), items, ridge, recipe.threads or 1)
        self.saved: dict[int, Floats] = {0: user_starts(recipe, shard.rows)}
        self.users = self.saved[0]

    def first(self) -> Doubles:
        """Return the Gram matrix of the users before the first epoch, (D, D)."""
        return gram_of(self.saved[0])

    def residual(self, epoch: int, axes: Floats, items: Floats) -> Doubles:
        """Turn the users; return r, (I, D)."""
        self.users = self.saved[epoch] @ axes
        return self.sums.residual(self.users, items)

    def step(self, p: Floats) -> Floats:
        """Return A p, (I, D)."""
        return self.sums.applied(self.users, p).astype(np.float32)

    def solve(self, epoch: int, axes: Floats, turn: Floats, spectrum: Floats, items: Floats) -> Doubles:
        """Solve the users for the items (I, D), and return their Gram matrix, (D, D)."""
        turned: Floats = np.matmul(self.saved[epoch] @ axes, turn, dtype=np.float32)
        users = self.sums.solved(turned, items, spectrum, self.recipe.steps)
        self.saved, self.items = {epoch: self.saved[epoch], epoch + 1: users}, items
        return gram_of(users)

    def loss(self) -> float:
        """Return the users' part of the objective, but for unseen pairs."""
        rows, users = self.sums.rows, self.vectors()
        seen = squared_error(users, self.items, rows.start, rows.column, rows.weight, rows.liked)
        return float(seen) + float(self.sums.ridge @ np.einsum("nd,nd->n", users, users))

    def vectors(self, epochs: int | None = None) -> Floats:
        """Return the users' vectors after so many epochs, the last by default, (U, D)."""
        return self.saved[max(self.saved) if epochs is None else epochs]


@dataclass(frozen=True, eq=False)
class Fitted:
    """What the driver has of a model after so many epochs; the users are with the workers."""

    epochs: int
    items: Floats
    spectrum: Floats


@dataclass
class IalsTraining:
    """The driver's side: items (I, D) in axes where those of the users are, and α Σ q qᵀ is `spectrum` (D,)."""

    recipe: IALS
    data: Placed
    totals: Totals
    items: Floats
    gram: Doubles  # of the users
    ridge: Floats  # of the items
    spectrum: Floats = field(default_factory=lambda: np.zeros(0, np.float32))
    done: int = 0  # epochs

    @property
    def samples(self) -> int:
        """Events."""
        return round(self.totals.events)

    @classmethod
    def of(cls, asked: IALS, data: Placed) -> IalsTraining:
        """Begin where `IALS.fit` begins."""
        gang, totals, users, I = data.gang, data.totals(), len(data.users), len(data.items)
        recipe = asked.resolved_for(users, I, round(totals.events), 1.0 if asked.l2 else totals.noise)
        gang.become(IalsWork, recipe, totals.unit)
        gram = gang.again(lambda: gang.sum("first", shape=2 * (recipe.dim,), kind=np.float64))
        sizes = (totals.sizes / totals.unit).astype(np.float32)
        ridge = recipe.ridge(np.arange(I + 1, dtype=np.int64), sizes, users)
        return cls(recipe, data, totals, item_starts(recipe, users, I), gram, ridge)

    def epoch(self, gang: Gang, number: int) -> Iterator[int]:
        """Improve the items, then the users; an epoch that loses a worker is done again."""
        gang.spread()

        def work() -> tuple[Turned, Doubles, tuple[object, ...]]:
            new = self._items(number)
            axes = principal(self.gram)[1]
            args = (number, axes, new.turn, new.spectrum, gang.send(new.items))
            return new, gang.sum("solve", *args, shape=self.gram.shape, kind=np.float64), args

        new, self.gram, args = gang.again(work)
        gang.remember("solve", *args)
        self.items, self.spectrum, self.done = new.items, new.spectrum, number + 1
        yield self.samples

    def _items(self, number: int) -> Turned:
        gang, (I, D) = self.data.gang, self.items.shape

        def residual(x: Floats, axes: Floats) -> Doubles:
            return gang.sum("residual", number, axes, gang.send(x), shape=(I, D), kind=np.float64)

        def apply(p: Floats) -> NDArray[np.float32]:
            return gang.sum("step", gang.send(p), shape=(I, D))

        alpha = self.recipe.unseen_weight or 0.0
        return solved_items(self.items, self.gram, alpha, self.ridge, self.recipe.steps, residual, apply)

    def loss(self) -> float:
        """Objective a unit of weight."""
        items, alpha = self.items, self.recipe.unseen_weight or 0.0
        own = float(sum(self.data.gang.ask("loss"))) + float(self.ridge @ np.einsum("nd,nd->n", items, items))
        return (own + alpha * float(np.vdot(self.gram, gram_of(items)))) * self.totals.unit / self.totals.total

    def model(self) -> Fitted:
        """Return what the driver has of the model."""
        return Fitted(self.done, self.items, self.spectrum)

    def state(self) -> NoReturn:
        """Raise `SettingError`: the users' vectors lie with the workers."""
        raise SettingError("checkpoint: there is none on a cluster")

    def resume(self, state: Mapping[str, Any], epochs: int) -> None:
        """Do as `state`."""
        self.state()

    def whole(self, fitted: Fitted) -> IALSModel:
        """Return the model, with the vectors of all users."""
        data, recipe, gang = self.data, self.recipe, self.data.gang
        users = np.empty((len(data.users), recipe.dim), np.float32)

        def collect() -> None:
            sizes = [len(each) for each in data.rows]
            for n, low, high, cut in gang.cuts("vectors", sizes, 4 * recipe.dim, fitted.epochs):
                users[data.rows[n][low:high]] = cut

        gang.again(collect)
        likes, unit = self.totals.likes.astype(np.float32), self.totals.unit
        return IALSModel(recipe, data.items, data.users, users, fitted.items, likes, fitted.spectrum, unit)


def fit_ials(recipe: IALS, data: Placed, watch: Watch | None) -> IALSModel:
    """Fit to a log that is placed on the workers; `watch` sees epochs without their model."""
    training = IalsTraining.of(recipe, data)

    def seen(progress: Progress[Fitted]) -> bool | None:
        return None if watch is None else watch(replace(cast("Progress[Any]", progress), model=None))

    watched = None if watch is None else seen
    return training.whole(fit(training, nullcontext(data.gang), recipe.epochs, watch=watched))
