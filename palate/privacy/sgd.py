"""Item vectors by stochastic gradient descent with noise: DP-SGD (Abadi et al. 2016), a user at a time.

Each step takes each user with the chance `SAMPLING`, whatever the others (Poisson). A user who is taken finds the own
vector u with the item vectors held still, and keeps it. The gradient of that user's loss by the item vectors is s uᵀ,
s the slopes by the scores. Both sides are brought to one length, in whole numbers q and r, Σ q² and Σ r² <= L², so
that no bound on gradients has to be chosen (Bu et al. 2023). The sum of a step has a term for each user taken, made
of that user's events and of what was released before:

    gradients  Σ_u q_u r_uᵀ    ‖q rᵀ‖_F = ‖q‖ ‖r‖ <= L²

All that is made of the noisy sums is free: item vectors go along the sum of all steps, so that noise averages out.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
from scipy.linalg import svdvals
from scipy.optimize import brentq
from scipy.sparse import csr_array

from palate.arrays import Doubles, Floats, Longs
from palate.kernels.clipped import add_gradients
from palate.models.embedding import Embedding
from palate.models.guarantee import Release
from palate.models.negative_sampling import NegativeSample, SharedSampler
from palate.privacy.ledger import INTERVAL, Ledger
from palate.privacy.mechanisms import STEPS
from palate.privacy.noise import Source, rounded_gaussian
from palate.privacy.released import COUNTS, ROUNDING, Hopeless, Plan, Released, hopeless, listed
from palate.privacy.spectrum import Axes

TIMES, SAMPLING = 20, 0.5  # steps, and the chance of a user to be taken in each
DIM = 16  # dimensions at most: each adds noise
LENGTH = 2.0  # of an item vector, the root of the mean of squares
NEGATIVES = 2048  # items, the same for all users of a step
ROUNDS, RATE = 4, 2.5  # steps to a user's vector, and their rate
SECOND = 0.1  # of the users: about as strong is the second axis of the gradients
CLOSE = 2e-3  # of the noise of a step: how near the least it is
SPARE = 10 * ROUNDING  # of ε, set aside for rounding: up to 100 million draws
FINE = 2.0**17  # steps of the lattice in the noise of a number, about: the table of draws is kept small


def releases(plan: Plan, epsilon: float, delta: float) -> tuple[Release, ...]:
    """Return the entries of the ledger: counts and number as of any fit, then the steps with all that is left."""
    before = plan.releases()[:2]
    return (*before, steps_of(noise_for(before, epsilon, delta)))


def steps_of(noise: float) -> Release:
    """Return all steps as an entry of the ledger."""
    return Release("sampled gaussian", noise, TIMES, SAMPLING, what="gradients of the item vectors")


@lru_cache(maxsize=64)
def noise_for(before: tuple[Release, ...], epsilon: float, delta: float) -> float:
    """Return nearly the least noise with which the steps are (ε, δ)-private together with the releases `before`.

    Raises `MissingExtra` without dp-accounting.
    """
    goal = epsilon - min(SPARE, epsilon / 100)

    def beyond(log_noise: float, interval: float = INTERVAL * max(1.0, epsilon)) -> float:
        spent = Ledger((*before, steps_of(float(np.exp(log_noise))))).epsilon(delta, interval)
        return float(np.log(spent / goal))

    low = high = float(np.log(SAMPLING * np.sqrt(TIMES * COUNTS) * before[0].noise))
    while beyond(low) <= 0:
        low -= 0.2
    while beyond(high) > 0:
        high += 0.2
    least = float(brentq(beyond, low, high, xtol=CLOSE))
    while beyond(least, INTERVAL) > 0:
        least += CLOSE
    return float(np.exp(least))


def release_vectors(
    X: csr_array, plan: Plan, noise: float, source: Source, recipe: Embedding, *, refuse: str
) -> Released:
    """Release item vectors learned from users' likes X (U, I), 1 where a user likes an item: axes of strength 1.

    noise   of a step, in units of its sensitivity
    refuse  as in `palate.privacy.released.release`
    """
    kept, counts, users = listed(X, plan, source, refuse)
    own = csr_array(X[:, kept])
    recipe = replace(recipe, dim=min(recipe.dim, DIM)).resolved()
    least = needed(noise, len(kept), recipe.dim)
    if refuse and users < least:
        raise Hopeless(hopeless(refuse, users, least))
    rng = np.random.default_rng(recipe.seed)  # of what is no secret: where vectors begin, and the negatives
    samples = SharedSampler(NEGATIVES, len(kept)).samples(rng)
    vectors, total = scaled(rng.standard_normal((len(kept), recipe.dim))), np.zeros((len(kept), recipe.dim))
    for _ in range(TIMES):
        taken = drawn(own.shape[0], source)
        total -= noisy_gradients(own, taken, vectors, next(samples), noise, source, recipe)
        vectors = scaled(total)
    if refuse and axes_above(total, noise) < 2:
        raise Hopeless(f"{hopeless(refuse, users, least)}: no second axis of taste is above the noise")
    axes = Axes(vectors.astype(np.float64), np.ones(recipe.dim))
    return Released(kept, counts, axes, (float(counts.sum()) / users) ** 2)


def drawn(users: int, source: Source) -> Longs:
    """Return the users of a step: each with the chance `SAMPLING`, by 32 bits."""
    words = np.frombuffer(source.bytes(4 * users), np.uint32)
    return np.flatnonzero(words < SAMPLING * 2.0**32)


def exact_gradients(
    X: csr_array, taken: Longs, vectors: Floats, sample: NegativeSample, recipe: Embedding, length: int
) -> Longs:
    """Σ_u q_u r_uᵀ over the users taken, (I, D), each side of a term at most `length` long."""
    total = np.zeros(vectors.shape, np.int64)
    rows = X.indptr.astype(np.int64), X.indices.astype(np.int32)
    weight, scale = float(sample.log_weight[0]), float(1 / np.sqrt(recipe.dim))
    add_gradients(taken, *rows, vectors, sample.items, weight, scale, recipe.l2 or 0.0, ROUNDS, RATE, length, total)
    return total


def noisy_gradients(
    X: csr_array,
    taken: Longs,
    vectors: Floats,
    sample: NegativeSample,
    noise: float,
    source: Source,
    recipe: Embedding,
) -> Doubles:
    """Return the gradients of a step with noise, (I, D), in units of their sensitivity."""
    length = int(np.clip(np.sqrt(FINE / noise), 8, STEPS))
    exact = exact_gradients(X, taken, vectors, sample, recipe, length)
    return (exact + rounded_gaussian(noise * length**2, exact.size, source).reshape(exact.shape)) / length**2


def scaled(total: Doubles) -> Floats:
    """Return vectors along a sum of gradients (I, D), `LENGTH` long: the scale of a sum is that of its noise."""
    return np.ascontiguousarray(total * (LENGTH / np.sqrt(np.square(total).sum(axis=1).mean())), np.float32)


def edge_of(items: int, dim: int) -> float:
    """Return the largest singular value of noise of variance 1 alone, √I + √D (Marchenko and Pastur 1967)."""
    return float(np.sqrt(items) + np.sqrt(dim))


def axes_above(total: Doubles, noise: float) -> int:
    """Return how many axes of the sum of all steps (I, D) stand out of its noise."""
    return int((svdvals(total) > noise * np.sqrt(TIMES) * edge_of(*total.shape)).sum())


def needed(noise: float, items: int, dim: int) -> float:
    """Return how many users make a second axis, of `SECOND` of the users, stand out of the noise of all steps."""
    return float(noise * edge_of(items, dim) / (SAMPLING * np.sqrt(TIMES) * SECOND))
