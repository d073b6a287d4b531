"""Vectors for users and items, trained by negative sampling and ranked by their dot product: the heart.

The score of user i for item j is s_ij = u_i·p_j / √dim.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated, Any

import numpy as np

from palate.arrays import Array, Doubles, Floats, Hashes, Ints, aligned, aligned_copy
from palate.compute.threads import ThreadTeam
from palate.data.catalogue import Catalogue
from palate.data.histories import Histories
from palate.data.interactions import Interactions
from palate.data.ragged import Ragged
from palate.errors import check
from palate.kernels.draws import Sampler, alias_table, filters
from palate.kernels.losses import BPR, LOGISTIC, SOFTMAX
from palate.kernels.simd import WIDTH
from palate.models.base import Watch, refuse_empty
from palate.models.factors import FactorModel, FactorRecipe
from palate.models.folding import BlockFolding, Folding, SampleFolding
from palate.models.negative_sampling import SharedSampler
from palate.models.penalties import readable, relative_noise
from palate.models.registry import register
from palate.models.sgd import BlockSgd, Descent, LinearDecay, SampleSgd, SgdTask
from palate.training.checkpoint import Checkpoint
from palate.training.loop import fit

LOSS_CODES = {"softmax": SOFTMAX, "sampled_softmax": SOFTMAX, "logistic": LOGISTIC, "bpr": BPR}
SAMPLERS = ("uniform", "popularity", "unseen")
FOLD_USERS = 512  # folded in at once: 16 MB of scores
FOLD_ITEMS = 8192  # negatives of the fold-in: the whole catalogue up to here

DIM = 64  # for which the penalties are given, and a log as MovieLens latest-small
# What won on the validation parts of MovieLens and Gowalla: docs/models.md has the figures.
DEFAULTS: dict[str, dict[str, Any]] = {
    "softmax": {
        "negatives": 4096,
        "epochs": 30,
        "learning_rate": 0.4,
        "l2": 0.02,
        "sampler": "uniform",
        "user_power": 0.25,
    },
    "sampled_softmax": {
        "negatives": 30,
        "epochs": 40,
        "learning_rate": 0.2,
        "l2": 0.01,
        "sampler": "unseen",
        "user_power": 0.5,
    },
    "logistic": {
        "negatives": 30,
        "epochs": 40,
        "learning_rate": 0.15,
        "l2": 0.005,
        "sampler": "unseen",
        "user_power": 0.5,
    },
    "bpr": {
        "negatives": 10,
        "epochs": 40,
        "learning_rate": 0.5,
        "l2": 0.006,
        "sampler": "unseen",
        "user_power": 0.5,
    },
}


@dataclass(frozen=True, kw_only=True)
class Embedding(FactorRecipe):
    """Settings of the embedding model.

    loss  "logistic", the founding formula: -w [log σ(s_ij) + Σ_k log σ(-s_ik)] over K sampled items k;
          "softmax" (default), sampled softmax with the logQ correction (Bengio and Senécal 2008; Yi et al. 2019)
          over one sample shared by a block of users; "sampled_softmax", the same with K negatives of its own for
          each event; "bpr", -w Σ_k log σ(s_ij - s_ik) / K (Rendle et al. 2009).
    sampler  "uniform"; "popularity", probability proportional to popularity^alpha; "unseen", uniform over items the
          user has no event on. The shared sample never counts a user's own items as negatives.
    negatives, epochs, learning_rate, l2, sampler, user_power: None takes what won on validation for the loss
          (docs/models.md); l2 also follows dim and the log, times (64 / dim)^⅓ (`penalties.noise` / 0.21)
    user_power  an event of a user whose weights add up to n counts n^-user_power as much: 0, each event the
          same; 1, each user the same. Weights are scaled to a mean of 1.
    threads  None measures how many are fastest; with 1, the same seed gives bit-equal vectors.
    checkpoint  a folder written after each epoch; a fit that finds one goes on from it, with threads=1 to the same
          result
    """

    dim: int = 64
    negatives: int | None = None
    epochs: int | None = None
    learning_rate: float | None = None
    l2: float | None = None
    loss: str = "softmax"
    sampler: str | None = None
    alpha: float = 0.75
    user_power: float | None = None
    init_std: float = 0.1
    seed: int = 0
    threads: int | None = None
    checkpoint: str | None = None

    def __post_init__(self) -> None:
        check(self.dim >= 1, "dim", self.dim, "must be 1 or more")
        check(self.loss in LOSS_CODES, "loss", self.loss, f"must be one of {', '.join(LOSS_CODES)}")
        rule = f"must be one of {', '.join(SAMPLERS)}, or None"
        check(self.sampler is None or self.sampler in SAMPLERS, "sampler", self.sampler, rule)
        for name, least in (("negatives", 1), ("epochs", 1), ("threads", 1)):
            value = getattr(self, name)
            check(value is None or value >= least, name, value, f"must be {least} or more, or None")
        for name in ("learning_rate", "init_std"):
            value = getattr(self, name)
            check(value is None or 0 < value < np.inf, name, value, "must be above 0")
        for name in ("l2", "alpha", "user_power"):
            value = getattr(self, name)
            check(value is None or 0 <= value < np.inf, name, value, "must be 0 or more")
        check(0 <= self.seed < 2**63, "seed", self.seed, "must be from 0 to 2^63 - 1")

    def resolved(self, log: Interactions | None = None) -> Embedding:
        """Return the recipe with each None (but threads) replaced by the figure it stands for, for the usual log."""
        return self.resolved_for(1.0 if log is None else relative_noise(log))

    def resolved_for(self, noise: float) -> Embedding:
        """Return the recipe for a log of this `relative_noise`."""
        factor = float(np.cbrt(DIM / self.dim)) * noise
        chosen = {**DEFAULTS[self.loss], "l2": readable(factor * DEFAULTS[self.loss]["l2"])}
        return replace(self, **{name: value for name, value in chosen.items() if getattr(self, name) is None})

    def fit(
        self, log: Interactions, catalogue: Catalogue | None = None, *, watch: Watch | None = None
    ) -> EmbeddingModel:
        """Train on the log's events of weight above 0. Ctrl-C ends it with the vectors of the last full epoch."""
        refuse_empty(log)
        recipe = self.resolved(log)
        rows = log.rows.clipped()
        popularity = log.item_weights()
        history_hashes = log.rows.fingerprints()

        def model(users: Floats, items: Floats) -> EmbeddingModel:
            user_vectors, item_vectors = (aligned_copy(side[:, : recipe.dim]) for side in (users, items))
            return EmbeddingModel(
                recipe, log.items, log.users, user_vectors, item_vectors, popularity, history_hashes
            )

        schedule = LinearDecay(recipe.epochs or 1, recipe.learning_rate or 0.0, recipe.threads)
        task = Descent(recipe.sgd_task(replace(log, weight=rows.weight), popularity), schedule, model)
        team, checkpoint = ThreadTeam(recipe.threads), Checkpoint.of(self, log)
        return fit(task, team, schedule.epochs, watch=watch, checkpoint=checkpoint)

    def sgd_task(self, log: Interactions, popularity: Floats) -> SgdTask:
        """Vectors at random and the way to train them, for a resolved recipe."""
        rng = np.random.default_rng(self.seed)
        rows = Ragged(log.start, log.item, balanced(log, self.user_power or 0.0))
        users, items = self._initial(rng, len(log.users)), self._initial(rng, len(log.items))
        K, l2, scale = self.negatives or 1, self.l2 or 0.0, float(1 / np.sqrt(self.dim))
        if self.loss == "softmax":
            return BlockSgd(users, items, rows, rng, l2, scale, self.shared_sampler(popularity))
        sampler = self.own_sampler(popularity)._replace(start=log.start, column=log.item)
        if self.sampler == "unseen":
            sampler = sampler._replace(filter=filters(log.start, log.item, len(log.items)))
        return SampleSgd(users, items, rows, rng, l2, scale, LOSS_CODES[self.loss], K, log.user, sampler)

    def probability(self, popularity: Floats) -> Doubles | None:
        """Chances q (I,) of the items to be drawn, None where they are equal; popularity (I,)."""
        if self.sampler != "popularity":
            return None
        power: Doubles = popularity.astype(np.float64) ** self.alpha
        power /= power.sum()
        return power

    def shared_sampler(self, popularity: Floats) -> SharedSampler:
        """Sampler of the "softmax" loss, for a resolved recipe."""
        return SharedSampler(self.negatives or 1, len(popularity), self.probability(popularity))

    def own_sampler(self, popularity: Floats) -> Sampler:
        """Sampler of the other losses, for a resolved recipe; the rows to reject are still to be given."""
        probability = self.probability(popularity)
        q = np.full(len(popularity), 1 / len(popularity)) if probability is None else probability
        with np.errstate(divide="ignore"):  # an item that is never drawn
            log_kq = np.log((self.negatives or 1) * q).astype(np.float32)
        table = np.zeros(0, np.uint64) if probability is None else alias_table(probability)
        return Sampler(table, log_kq, np.zeros(1, np.int64), np.zeros(0, np.int32), np.zeros(0, np.uint16))

    def _initial(self, rng: np.random.Generator, rows: int) -> Floats:
        """Draw normal vectors, filled up with columns of 0 to whole vector registers."""
        width = self.dim if self.loss == "softmax" else -(-self.dim // WIDTH) * WIDTH
        vectors = aligned(rows, width)
        vectors[:, : self.dim] = rng.standard_normal((rows, self.dim), dtype=np.float32)
        vectors *= np.float32(self.init_std)
        return vectors


def balanced(log: Interactions, power: float) -> Floats:
    """Weights of the events (N,): w n_u^-power, n_u the user's sum of weights, scaled to a mean of 1."""
    mean = float(log.weight.mean(dtype=np.float64))
    even = log.weight if mean == 1 else (log.weight / mean).astype(np.float32)
    if power == 0:
        return even
    sums = np.add.reduceat(np.append(even, np.float32(0)), log.start[:-1], dtype=np.float64)
    sums[np.diff(log.start) == 0] = 0
    with np.errstate(divide="ignore"):
        factor = np.where(sums > 0, sums**-power, 0)
    weight = even * np.repeat(factor, np.diff(log.start))
    return np.asarray(weight / weight.mean(), np.float32)


def relative(rows: Ragged) -> Ragged:
    """Return rows whose largest weight is 1, those below 0 being 0, which is all the same to a `Folding`."""
    clipped = rows.clipped()
    top = np.zeros(len(rows), np.float32)
    np.maximum.at(top, np.repeat(np.arange(len(rows)), rows.lengths), clipped.weight)
    return replace(clipped, weight=clipped.weight / np.repeat(np.where(top > 0, top, np.float32(1)), rows.lengths))


@dataclass(frozen=True, eq=False)
class EmbeddingModel(FactorModel):
    """user_vectors (U, D), item_vectors (I, D), popularity (I,): weights of the events.

    history_hashes (U,): of the histories trained on
    """

    recipe: Embedding
    history_hashes: Annotated[Hashes, Array("users")]

    @property
    def sizes(self) -> dict[str, int]:
        """Numbers that the words of its `Array` fields stand for."""
        return {**super().sizes, "dim": self.recipe.dim}

    @property
    def scale(self) -> float:
        """Factor of the dot product in a score, 1/√dim."""
        return float(1 / np.sqrt(self.recipe.dim))

    @cached_property
    def folding(self) -> Folding:
        """How histories that were not trained on get their vectors."""
        recipe, l2 = self.recipe, self.recipe.l2 or 0.0
        if recipe.loss != "softmax":
            sampler, loss = recipe.own_sampler(self.popularity), LOSS_CODES[recipe.loss]
            return SampleFolding(
                self.item_vectors,
                sampler,
                recipe.sampler == "unseen",
                loss,
                recipe.negatives or 1,
                self.scale,
                l2,
                recipe.seed,
            )
        counts = np.sqrt(self.popularity.astype(np.float64) + 1)  # many items, and the popular ones first
        shared = SharedSampler(FOLD_ITEMS, len(self.items), counts / counts.sum())
        sample = next(shared.samples(np.random.default_rng(recipe.seed)))
        return BlockFolding(self.item_vectors, sample, self.scale, l2)

    def vectors(self, histories: Histories) -> Floats:
        """Return (B, D): the trained vector where a known user's history is the one trained on, else folded in."""
        asked = histories.on(self.items)
        vectors = np.empty((len(asked), self.recipe.dim), np.float32)
        known = self.users.find(asked.users)
        trained = known >= 0
        trained[trained] = self.history_hashes[known[trained]] == asked.rows.fingerprints()[trained]
        vectors[trained] = self.user_vectors[known[trained]]
        fresh = np.flatnonzero(~trained)
        for low in range(0, len(fresh), FOLD_USERS):
            part = fresh[low : low + FOLD_USERS]
            vectors[part], _ = self.folding.vectors(relative(asked.rows.rows(part)))
        return vectors

    def contributions(self, past: Ragged, items: Ints) -> Floats:
        """Parts of the scores (see `Folding`), (N, J)."""
        _, influence = self.folding.vectors(relative(past))
        parts: Floats = influence[:, None] * (self.item_vectors[past.column] @ self.item_vectors[items].T)
        return parts * np.float32(self.scale)


register(Embedding, EmbeddingModel, renamed={"prints": "history_hashes"})
