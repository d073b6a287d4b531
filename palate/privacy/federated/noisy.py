"""Federated `Private`: each client adds a share of the noise before its masks, so that no server need be trusted.

The releases, their noise and what is made of them are those of `palate.privacy.released` with a public list of items.
Of a sum over clients, of which `least` are present, each adds whole numbers round(g), g ~ N(0, σ² / least): together
they have σ or more. A sum of rounded Gaussians of 1,000 steps or more is a rounded Gaussian but for a share of
exp(-2 π² 10⁶) (Kairouz, Liu and Steinke 2021, theorem 5, for discrete ones). A user must be at one client alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from palate.arrays import Doubles, Longs
from palate.data.interactions import Interactions
from palate.errors import DataError
from palate.models.guarantee import Guarantee
from palate.models.item_to_item import positives
from palate.privacy.federated.group import Again, Group
from palate.privacy.federated.messages import Message
from palate.privacy.federated.words import ROUNDING
from palate.privacy.federated.work import Known, Part
from palate.privacy.fitted import fitted
from palate.privacy.mechanisms import STEPS, Rows, exact_counts, exact_gram, exact_products
from palate.privacy.noise import SystemSource, rounded_gaussian
from palate.privacy.private import DELTA, Private, PrivateModel
from palate.privacy.released import (
    CUT,
    MANY,
    WHITEN,
    Hopeless,
    Released,
    axes_for,
    evened,
    head_of,
    hopeless,
    needed,
    weigh,
)
from palate.privacy.spectrum import Axes, above_noise, completed

WHOLE = np.full(1, 2.0**63 - ROUNDING)  # in whose steps whole numbers stay what they are
NARROW = 1e3  # standard deviation of a client's noise, in steps, at least
ATTEMPTS = 20


def fineness(sigma: float, least: int) -> int:
    """Return by how much a lattice is refined so that each client's share of the noise spans enough steps of it."""
    return max(1, int(np.ceil(NARROW * np.sqrt(least) / sigma)))


def noised(exact: Longs, sigma: Doubles, least: int) -> Part:
    """Return whole numbers (N,) on the finer lattice, with a client's share of noise of σ (N,), few values."""
    fine = fineness(float(sigma.min(initial=np.inf)), least)
    values = exact * fine
    for each in np.unique(sigma):
        chosen = sigma == each
        values[chosen] += rounded_gaussian(each * fine / np.sqrt(least), int(chosen.sum()), SystemSource())
    return Part(values[None, :].astype(np.float64), WHOLE, WHOLE, 64)


def gram_noise(items: int, noise: float) -> Doubles:
    """Return the noise of each number of the lower triangle of a Gram matrix of items, (N,)."""
    row, column = np.tril_indices(items)
    return np.where(row == column, 1.0, np.sqrt(0.5)) * noise * STEPS**2


class PrivateWork:
    """A client's side."""

    def __init__(self, recipe: Private, log: Interactions) -> None:
        self.recipe, self.plan = recipe, recipe.plan
        likes = positives(log, binary=True)
        likes.sort_indices()
        self.likes = csr_array(likes.astype(np.float64))
        self.rows = Rows.of(self.likes)
        self.answered: set[str] = set()

    def part(self, what: str, facts: Mapping[str, Any], arrays: tuple[NDArray[Any], ...]) -> Part:
        """Answer "counts", "users", "likes" (the Gram matrix of the head) and "products", each once."""
        makers: dict[str, Callable[..., tuple[Longs, Doubles]]] = {
            "counts": self.counts,
            "users": self.users,
            "likes": self.gram,
            "products": self.products,
        }
        if what not in makers:
            raise DataError(f"{what!r} is asked for; a private client answers {', '.join(makers)}")
        if what in self.answered:
            raise DataError(f"{what!r} is asked for again; the budget holds for one answer")
        self.answered.add(what)
        return noised(*makers[what](facts, *arrays), facts["least"])

    def counts(self, facts: Mapping[str, Any]) -> tuple[Longs, Doubles]:
        """Return the counts of the items and their noise."""
        exact = exact_counts(self.rows)
        return exact, np.full(len(exact), self.plan.counts * STEPS)

    def users(self, facts: Mapping[str, Any]) -> tuple[Longs, Doubles]:
        """Return the number of users and its noise."""
        exact = np.count_nonzero(np.diff(self.rows.matrix.indptr))
        return np.array([exact], np.int64), np.full(1, self.plan.users)

    def gram(self, facts: Mapping[str, Any], head: Doubles, factors: Doubles) -> tuple[Longs, Doubles]:
        """Return the Gram matrix of some items and its noise, the lower triangle; factors (I,) are those of items."""
        if len(factors) != self.likes.shape[1] or not ((factors > 0) & (factors < np.inf)).all():
            raise DataError(f"factors of the server: {len(factors)}; they must be {self.likes.shape[1]} above 0")
        weighted = weigh(self.likes, factors)
        self.head = np.unique(head.astype(np.int64))
        self.rows, self.near = Rows.of(weighted), Rows.of(csr_array(weighted[:, self.head]))
        exact = exact_gram(self.near)
        return exact[np.tril_indices(len(exact))], gram_noise(len(exact), self.plan.gram)

    def products(self, facts: Mapping[str, Any], axes: Doubles) -> tuple[Longs, Doubles]:
        """Return the products of all items with users' places on the axes (H, K) and their noise, (I K,)."""
        if axes.ndim != 2 or len(axes) != len(self.head) or not 0 < facts["most"] < np.inf:
            raise DataError(f"axes of the server: {axes.shape} for {len(self.head)} items, cut at {facts['most']}")
        exact = exact_products(self.rows, self.near.projected(axes, facts["most"])).reshape(-1)
        return exact, np.full(len(exact), self.plan.products * STEPS**2)

    def model(self, facts: Mapping[str, Any], arrays: tuple[NDArray[Any], ...], known: Known) -> PrivateModel:
        """Return the model out of what was released."""
        counts, vectors, strength = arrays
        rows = known.rows
        axes, many = Axes(vectors[rows], strength), len(strength) > MANY
        released = Released(np.arange(len(rows)), counts[rows], axes, facts["likes"], many)
        recipe = self.recipe
        delta = DELTA if recipe.delta is None else recipe.delta
        guarantee = Guarantee(recipe.epsilon, delta, recipe.releases(), public=True)
        return PrivateModel(recipe, known.items, (fitted(recipe.inner, known.items, released),), guarantee)


class PrivateTraining:
    """The server's side, over I items: `release` of `palate.privacy.released`, each sum over clients."""

    def __init__(self, recipe: Private, items: int) -> None:
        self.recipe, self.plan, self.items = recipe, recipe.plan, items

    def run(self, group: Group) -> Message:
        """Sum up what is released, once, since each answer costs; a sum goes on without those who leave."""
        with group.session(4):
            try:
                return self.released(group)
            except Again as lost:
                raise Again(f"{lost}; a private training is not done again, since its budget is spent") from None

    def sum(self, group: Group, asked: Message, sigma: Doubles) -> Doubles:
        """Return a sum with noise σ (N,), in the lattice's steps."""
        found = group.sum(asked, (1, len(sigma)), WHOLE, 64, whole=False)[0]
        return np.asarray(found / fineness(float(sigma.min()), group.least))

    def released(self, group: Group) -> Message:
        """Return the message of the model."""
        plan, I, name = self.plan, self.items, f"epsilon={self.recipe.epsilon:g}"
        counts = self.sum(group, Message("counts"), np.full(I, plan.counts * STEPS)) / STEPS
        users = max(float(self.sum(group, Message("users"), np.full(1, plan.users))[0]), 1.0)
        least = needed(plan.gram)
        if self.recipe.refuse and users < least:
            raise Hopeless(hopeless(name, users, least))
        head = head_of(counts, users / plan.gram)
        asked = Message("likes", {}, (head.astype(np.float64), evened(counts, plan.counts)))
        triangle = self.sum(group, asked, gram_noise(len(head), plan.gram))
        gram = np.zeros(2 * (len(head),))
        gram[np.tril_indices(len(head))] = triangle / STEPS**2
        found = above_noise(gram + np.tril(gram, -1).T, plan.gram, axes_for(head, users / plan.gram))
        if len(found.strength) < (2 if self.recipe.refuse else 1):
            raise Hopeless(f"{hopeless(name, users, least)}: no second axis of taste is above the noise")
        axes = np.zeros((I, len(found.strength)))
        axes[head] = found.vectors * found.strength**-WHITEN
        length = np.square(found.vectors).sum(axis=0)
        most = CUT * float(np.sqrt((found.strength ** (1 - 2 * WHITEN) * length).sum() / users))
        facts, likes = {"most": most}, (float(counts.sum()) / users) ** 2
        noise = np.full(axes.size, plan.products * STEPS**2)
        products = self.sum(group, Message("products", facts, (axes[head],)), noise).reshape(axes.shape) / STEPS**2
        whole = completed(products * most, axes)
        return Message("model", {"likes": likes}, (counts, whole.vectors, whole.strength))
