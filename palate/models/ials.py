"""Implicit matrix factorisation by alternating least squares: each side in turn gets its best vectors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np

from palate.arrays import AnyArray, Array, Floats, Ints, Longs, aligned, aligned_copy
from palate.bundles.bundle import Part
from palate.compute.products import gram, turn
from palate.compute.threads import ThreadTeam, cores
from palate.data.catalogue import Catalogue
from palate.data.histories import Histories
from palate.data.interactions import Interactions
from palate.data.ragged import Ragged
from palate.errors import check
from palate.kernels.least_squares import rooted_rows, row_solver, scaled_weights, squared_error
from palate.kernels.rows import gather, group_rows, row_penalties
from palate.kernels.simd import WIDTH
from palate.models.base import Watch, refuse_empty
from palate.models.factors import FactorModel, FactorRecipe
from palate.models.penalties import readable, relative_noise
from palate.models.registry import register
from palate.models.weights import check_half_life, faded
from palate.training.checkpoint import Checkpoint
from palate.training.loop import fit

if TYPE_CHECKING:  # which import scipy.linalg
    from palate.models.posterior import Posterior
    from palate.models.prior import ContentPrior

PENALTY = 0.19  # λ of the mean row over its events, for the noise of MovieLens latest-small
UNSEEN = 16.0  # weight of all pairs, in weights of the events: what suits MovieLens and Gowalla
FAR = 1e6  # times the mean weight of the training, or so little of it: as far as an event of a history counts
STEEP = 1e3  # between the directions of a system: beyond it floats solve it to less than four digits
EXACT = 32  # steps that solve a row to the precision of floats


@dataclass(frozen=True, kw_only=True)
class IALS(FactorRecipe):
    """Settings of iALS (Hu, Koren and Volinsky 2008, with the penalty and start of Rendle et al. 2022).

    Minimises Σ_(u,i)∈S w (s_ui - 1)² + α Σ_ui s_ui² + Σ_u λ_u |x_u|² + Σ_i λ_i |q_i|², s_ui = x_u·q_i, over the
    events S; an event of weight below 0 is drawn to 0 with its strength instead.

    unseen_weight  α, the weight of each pair of a user and an item; None makes all pairs together weigh 16 times
          as much as the events, up to α = 1
    l2, l2_scaling  λ_u = l2 (|S_u| + α I)^l2_scaling, and λ_i likewise (Rendle et al. 2022, sec. 3); l2=None follows
          the log: λ of a mean row is 0.19 times its events, times (`penalties.noise` / 0.21)^⅓, whatever α and dim
    fold_l2  times λ_u, where a history gets its vector: more makes rankings smoother, and leans to popular items
    steps  of conjugate gradients for each row in each half epoch
    init_std  standard deviation of the first vectors, times 1/√dim
    half_life_days  an event counts half as much that many days before the newest; None for no decay
    threads  None takes every core
    checkpoint  a folder written after each epoch; a fit that finds one goes on from it, to the same result
    """

    dim: int = 64
    epochs: int = 10
    unseen_weight: float | None = None
    l2: float | None = None
    l2_scaling: float = 1.0
    fold_l2: float = 1.0
    steps: int = 2
    init_std: float = 0.1
    half_life_days: float | None = None
    seed: int = 0
    threads: int | None = None
    checkpoint: str | None = None
    takes_prior: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name in ("dim", "epochs", "steps"):
            check(getattr(self, name) >= 1, name, getattr(self, name), "must be 1 or more")
        for name in ("fold_l2", "init_std"):
            check(0 < getattr(self, name) < np.inf, name, getattr(self, name), "must be above 0")
        check(self.l2 is None or 0 < self.l2 < np.inf, "l2", self.l2, "must be above 0, or None")
        alpha = self.unseen_weight
        check(alpha is None or 0 < alpha < np.inf, "unseen_weight", alpha, "must be above 0, or None")
        check(0 <= self.l2_scaling < np.inf, "l2_scaling", self.l2_scaling, "must be 0 or more")
        check_half_life(self.half_life_days)
        check(0 <= self.seed < 2**63, "seed", self.seed, "must be from 0 to 2^63 - 1")
        check(self.threads is None or self.threads >= 1, "threads", self.threads, "must be 1 or more, or None")

    def fit(
        self,
        log: Interactions,
        catalogue: Catalogue | None = None,
        *,
        watch: Watch | None = None,
        start: IALSModel | None = None,
    ) -> IALSModel:
        """Fit to the log's events. Ctrl-C ends it with the vectors of the last full epoch.

        start  a model of as many dimensions, fitted to an older log: its vectors are where the fit begins, so that an
               epoch or two do
        """
        refuse_empty(log)
        vectors = None if start is None else self._begun(log, start)
        return self.alternate(AlsState.of(self, log, vectors=vectors), log, watch, *(vectors or ()))

    def _begun(self, log: Interactions, model: IALSModel) -> tuple[Floats, Floats]:
        """Return vectors of users and items to begin with: each user's best one of the model, 0 for new items."""
        dim = model.item_vectors.shape[1]
        check(dim == self.dim, "start", model, f"has {dim} dimensions; it must have {self.dim}, as dim says")
        row = model.items.recode(log.items)
        check(bool((row >= 0).any()), "start", model, "knows no item of the log")
        known = np.where((row >= 0)[:, None], model.item_vectors[row], np.float32(0))
        return model.vectors(log.histories().on(model.items)), np.asarray(known, np.float32)

    def fit_with_prior(self, log: Interactions, prior: ContentPrior, *, watch: Watch | None = None) -> IALSModel:
        """Fit to the log's events with the prior in the objective; W is the best one in each epoch."""
        refuse_empty(log)
        others = prior.content, np.array([prior.strength])
        return self.alternate(AlsState.of(self, log, prior), log, watch, *others)

    def alternate(
        self, work: AlsState, log: Interactions, watch: Watch | None, *others: AnyArray | None
    ) -> IALSModel:
        """Train vectors that stand at their beginning; `others` are fitted to beside the log."""
        task, team = AlsTask(self.resolved(log), work, log), ThreadTeam(self.threads or cores())
        return fit(task, team, self.epochs, watch=watch, checkpoint=Checkpoint.of(self, log, *others))

    def resolved(self, log: Interactions) -> IALS:
        """Return the recipe with what follows the log in place of None."""
        noise = relative_noise(log) if self.l2 is None else 1.0
        return self.resolved_for(len(log.users), len(log.items), len(log), noise)

    def resolved_for(self, users: int, items: int, events: int, noise: float) -> IALS:
        """Return the recipe for a log of so many users, items and events, and this `relative_noise`."""
        alpha = self.unseen_weight
        if alpha is None:
            alpha = min(1.0, UNSEEN * events / (users * items))
        if self.l2 is not None:
            return replace(self, unseen_weight=alpha)
        sizes = (events + alpha * users * items) ** 2 / (users * items)  # |S_u| + α I, times that of items
        mean = events / np.sqrt(users * items)
        l2 = PENALTY * np.cbrt(noise) * mean / sizes ** (self.l2_scaling / 2)
        return replace(self, unseen_weight=alpha, l2=readable(l2))

    def ridge(self, start: Longs, weight: Floats, columns: int) -> Floats:
        """Penalty λ of rows of these starts (B + 1,) and weights (N,), which could have so many columns, (B,)."""
        return row_penalties(start, weight, self.l2 or 0.0, (self.unseen_weight or 0.0) * columns, self.l2_scaling)


@dataclass
class AlsState:
    """The state of alternating least squares: users (U, D) and items (I, D), D whole registers, are changed in place.

    Both may be turned together without changing a score. Before a side is solved they are turned so that the Gram
    matrix of the other side is diagonal, its `spectrum` (D,): see kernels/least_squares.py.
    """

    users: Floats
    items: Floats
    rows: Ragged  # of each user
    columns: Ragged  # of each item
    user_ridge: Floats
    item_ridge: Floats
    unseen_weight: float
    unit: float
    spectrum: Floats
    prior: ContentPrior | None = None  # of the items

    @classmethod
    def of(
        cls,
        asked: IALS,
        log: Interactions,
        prior: ContentPrior | None = None,
        vectors: tuple[Floats, Floats] | None = None,
    ) -> AlsState:
        """Begin with these vectors of users and items, at random by default."""
        recipe = asked.resolved(log)
        weight = faded(log, recipe.half_life_days)
        unit = float(np.abs(weight).mean(dtype=np.float64))  # events weigh 1 in the mean
        rows = Ragged(log.start, log.item, weight if unit == 1 else (weight / unit).astype(np.float32))
        start, order = group_rows(log.item, len(log.items))
        columns = Ragged(start, gather(log.user, order), gather(rows.weight, order))
        rng = np.random.default_rng(recipe.seed)
        width = -(-recipe.dim // WIDTH) * WIDTH
        sides = []
        size = np.float32(recipe.init_std / np.sqrt(recipe.dim))
        for side, count in enumerate((len(rows), len(columns))):
            begin = aligned(count, width)
            begin[:, : recipe.dim] = (
                rng.standard_normal((count, recipe.dim), np.float32) * size if vectors is None else vectors[side]
            )
            sides.append(begin)
        item_ridge = recipe.ridge(columns.start, columns.weight, len(rows))
        item_ridge += np.float32(prior.strength if prior else 0)
        ridges = recipe.ridge(rows.start, rows.weight, len(columns)), item_ridge
        users, items = sides
        alpha = recipe.unseen_weight or 0.0
        return cls(users, items, rows, columns, *ridges, alpha, unit, np.zeros(width, np.float32), prior)

    def epoch(self, team: ThreadTeam, steps: int) -> None:
        """Improve the items, then the users, who so end at their best."""
        self.half(team, self.items, self.users, self.columns, self.item_ridge, steps)
        self.half(team, self.users, self.items, self.rows, self.user_ridge, steps)

    def half(self, team: ThreadTeam, side: Floats, other: Floats, rows: Ragged, ridge: Floats, steps: int) -> None:
        """Improve the vectors of one side, the other held still."""
        values, axes = (part[..., ::-1] for part in np.linalg.eigh(gram(team, other)))  # columns of filling last
        for vectors in (side, other):
            turn(team, vectors, axes.astype(np.float32))
        if self.prior is not None:
            self.prior.turn(axes)
        self.spectrum = (self.unseen_weight * np.maximum(values, 0)).astype(np.float32)
        solve = row_solver(side.shape[1])
        columns = rows.column, rows.weight
        prior_term = self.prior_term(side)

        def work(_: int, first: int, last: int) -> float:
            low, high = np.searchsorted(rows.start[:-1], [first, last])  # threads get equal numbers of events
            solve(side, other, rows.start, *columns, self.spectrum, ridge, prior_term, steps, low, high)
            return 0.0

        team.run(work, 0, len(rows.column) + 1)

    def prior_term(self, side: Floats) -> Floats:
        """Term of the prior for the vectors of a side, (B, D), or (0, D) where there is none."""
        return side[:0] if self.prior is None or side is not self.items else self.prior.term(side)

    def loss(self) -> float:
        """Objective a unit of weight."""
        rows = self.rows
        seen = squared_error(self.users, self.items, rows.start, rows.column, rows.weight, rows.liked)
        unseen = self.unseen_weight * float(np.vdot(self.users.T @ self.users, self.items.T @ self.items))
        penalty = sum(
            float(ridge @ np.einsum("nd,nd->n", vectors, vectors))
            for ridge, vectors in ((self.user_ridge, self.users), (self.item_ridge, self.items))
        )
        prior = 0.0 if self.prior is None else self.prior.loss(self.items)
        return (seen + unseen + penalty + prior) / float(np.abs(rows.weight).sum(dtype=np.float64))


@dataclass
class AlsTask:
    """Alternating least squares as the epoch loop asks for it: for a resolved recipe, in a state."""

    recipe: IALS
    work: AlsState
    log: Interactions

    def __post_init__(self) -> None:
        self.samples, self.popularity = len(self.log), self.log.item_weights()

    def epoch(self, team: ThreadTeam, _: int) -> Iterator[int]:
        """Improve both sides."""
        self.work.epoch(team, self.recipe.steps)
        yield self.samples

    def loss(self) -> float:
        """Objective a unit of weight."""
        return self.work.loss()

    def model(self) -> IALSModel:
        """Return a model of the vectors as they are."""
        log, dim = self.log, self.recipe.dim
        users, items = (aligned_copy(side[:, :dim]) for side in (self.work.users, self.work.items))
        rest = self.popularity, self.work.spectrum[:dim], self.work.unit
        return IALSModel(self.recipe, log.items, log.users, users, items, *rest)

    def state(self) -> Mapping[str, Part]:
        """Return the vectors, and what the prior has learned."""
        prior = {} if self.work.prior is None else self.work.prior.state()
        return {"users": self.work.users, "items": self.work.items, "spectrum": self.work.spectrum, **prior}

    def resume(self, state: Mapping[str, Any], epochs: int) -> None:
        """Take up such vectors."""
        for name in ("users", "items", "spectrum"):
            getattr(self.work, name)[:] = state[name]
        if self.work.prior is not None:
            self.work.prior.resume(state)


@dataclass(frozen=True, eq=False)
class IALSModel(FactorModel):
    """item_vectors (I, D) in axes where α Σ q qᵀ is diagonal: `spectrum` (D,); user_vectors (U, D).

    unit  weight of an event that counted 1 in the training; popularity (I,), weights of the events
    """

    recipe: IALS
    spectrum: Annotated[Floats, Array("dim", least=0)]
    unit: float

    def fault(self) -> str:
        """Say what is wrong with `unit`."""
        return "" if self.unit > 0 else f"unit is {self.unit}; it must be above 0"

    def vectors(self, histories: Histories) -> Floats:
        """Return (B, D): each history's best vector, by one solve."""
        start, column, weight = histories.rows.start, histories.rows.column, self.scaled(histories.rows.weight)
        items, count = self.item_vectors, len(start) - 1
        vectors = np.zeros((count, items.shape[1]), np.float32)
        ridge = self.recipe.ridge(start, weight, len(items)) * np.float32(self.recipe.fold_l2)
        solve = row_solver(items.shape[1])
        solve(vectors, items, start, column, weight, self.spectrum, ridge, vectors[:0], EXACT, 0, count)
        return vectors

    def scaled(self, weight: Floats) -> Floats:
        """Weights (N,) that the training gave such events, within what float32 solves."""
        return scaled_weights(weight, self.unit, FAR)

    def diagonal(self, past: Ragged, weight: Floats) -> Floats:
        """Return Λ of one row with these weights (N,), its penalty included, (D,)."""
        ridge = self.recipe.ridge(past.start, weight, len(self.item_vectors))
        return np.asarray(self.spectrum + ridge * self.recipe.fold_l2)

    def posterior(self, history: Histories) -> Posterior:
        """Return the Gaussian whose mean is the vector of the fold-in."""
        from palate.models.posterior import Posterior  # which imports scipy.linalg

        past = history.on(self.items).rows
        weight = self.scaled(past.weight)
        rows, scale = np.empty((len(weight), self.item_vectors.shape[1])), np.ones_like(self.spectrum)
        rooted_rows(weight, past.column, self.item_vectors, scale, rows)
        return Posterior(self.diagonal(past, weight).astype(np.float64), rows, self.item_vectors)

    def cold_spread(self, history: Histories, strength: float) -> float:
        """Return the standard deviation of the score of a cold-start item, its vector drawn to one by κ, `strength`.

        Its objective has the Hessian 2(α Σ_u x_u x_uᵀ + (λ + κ) I) for the item as `Posterior` has one for a user.
        """
        users = len(self.user_vectors)
        ridge = self.recipe.ridge(np.zeros(2, np.int64), np.zeros(0, np.float32), users)[0]
        A = np.float32(self.recipe.unseen_weight or 0) * self.user_gram
        A.flat[:: len(A) + 1] += ridge + np.float32(strength)
        from scipy.linalg.lapack import dposv  # takes a tenth of a second, which no fit shall cost

        x = self.vectors(history)[0].astype(np.float64)
        return float(np.sqrt(0.5 * x @ dposv(A.astype(np.float64), x)[1]))

    @cached_property
    def user_gram(self) -> Floats:
        """Return Σ_u x_u x_uᵀ, (D, D)."""
        return np.asarray(self.user_vectors.T @ self.user_vectors)

    def contributions(self, past: Ragged, items: Ints) -> Floats:
        """Exact parts of the scores, (N, J); Hu et al. 2008, sec. 5.

        The score is q_i·A⁻¹ Σ_j w_j q_j, with A = Λ + Σ_j |w_j| q_j q_jᵀ; event j's part is w_j q_j·A⁻¹ q_i. With
        rows √|w_j| Λ^-½ q_j, V, that is √w_j of V (I + Vᵀ V)⁻¹ Λ^-½ q_i = (I + V Vᵀ)⁻¹ V Λ^-½ q_i: of N events and D
        dimensions the fewer say how large a system is solved.
        """
        from scipy.linalg.lapack import dposv, sposv  # as above

        weight, count = self.scaled(past.weight), len(past.column)
        if not count:
            return np.zeros((0, len(items)), np.float32)
        root = np.asarray(1 / np.sqrt(self.diagonal(past, weight)), np.float32)
        asked = (self.item_vectors[items] * root).T  # (D, J)
        many = count > len(asked)
        solvers = {np.float32: sposv, np.float64: dposv}
        for precision in solvers:
            V = np.empty((count, len(asked)), precision)
            gain = rooted_rows(weight, past.column, self.item_vectors, root, V)
            K = V.T @ V if many else V @ V.T
            if np.vdot(K, K) < STEEP**2:
                break
        K.flat[:: len(K) + 1] += 1
        solved = solvers[precision](K.T, asked if many else V @ asked, overwrite_a=True)[1]
        return np.asarray(gain * (V @ solved if many else solved), np.float32)


register(IALS, IALSModel)
