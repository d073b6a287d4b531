"""What is released of a log for a private fit: a list of items, their counts, and a Gram matrix of low rank."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array
from scipy.special import ndtr, ndtri

from palate.arrays import Doubles, Floats, Longs
from palate.errors import PalateError
from palate.models.guarantee import Release
from palate.privacy.ledger import gaussian_noise
from palate.privacy.mechanisms import STEPS, Rows, noisy_counts, noisy_gram, noisy_number, noisy_products
from palate.privacy.noise import Source
from palate.privacy.spectrum import Axes, above_noise, completed

USERS, COUNTS, GRAM = 0.01, 0.03, 0.25  # shares of 1 / σ²; the rest is for the products
ROUNDING = 1e-5  # of ε, set aside for what lies between the tables of `palate.privacy.noise` and a Gaussian
HEAD = 6.0  # users a σ of the Gram matrix for each item of the head
HEAD_ITEMS = 60, 2000  # at least, at most
AXES, MOST_AXES = 13, 400  # times HEAD: users a σ for each axis, as each adds noise to the products; at most
MANY = 50  # axes, of which the weak ones say less
EVEN = 0.15  # an item of count c counts c^-EVEN in a row: rare ones say more of a taste
WHITEN = 0.6  # an axis of strength λ counts λ^-WHITEN in the products: weak tastes beside strong ones
CUT = 0.6  # a user's place on the axes is cut to so many times the length that it has in the mean
CONTENT = 0.1  # of the trace of the Gram matrix: the strength of public content beside it
SECOND = 0.025  # of the users: about as strong is the second axis of many logs
POPULARITY_ALONE = "expected to be worse than popularity"


class Hopeless(PalateError, ValueError):
    """The noise hides what a model would learn."""


@dataclass(frozen=True, eq=False)
class Released:
    """kept (J,): rows of the items listed; counts (J,); axes (J, K) of the Gram matrix.

    The matrix is that of users' rows, each of length 1. likes: of a user, about, in the mean. many: whether
    more than `MANY` axes came out of the log.
    """

    kept: Longs
    counts: Doubles
    axes: Axes
    likes: float
    many: bool = False


@dataclass(frozen=True)
class Plan:
    """How much noise each release has, in units of its sensitivity; threshold: the least count of a listed item."""

    users: float
    counts: float
    gram: float
    products: float
    delta: float  # the chance that an item of one user alone comes on the list
    threshold: float

    @classmethod
    def of(cls, epsilon: float, delta: float, *, public: bool, counts_alone: bool = False) -> Plan:
        """Split a budget. A private list of items takes half of δ."""
        spare = 0.0 if public else delta / 2
        noise = gaussian_noise(epsilon - min(ROUNDING, epsilon / 100), delta - spare)
        share = 1.0 if counts_alone else COUNTS
        rest = 1 - USERS - COUNTS - GRAM
        own = noise / np.sqrt(share)
        least = -np.inf if public else threshold(own, spare)
        return cls(noise / np.sqrt(USERS), own, noise / np.sqrt(GRAM), noise / np.sqrt(rest), spare, least)

    def releases(self, *, counts_alone: bool = False) -> tuple[Release, ...]:
        """Return the entries of the ledger."""
        listed = Release("gaussian", self.counts, delta=self.delta, what="counts of items")
        more = (
            ("number of users", self.users),
            ("Gram matrix of the most chosen items", self.gram),
            ("products of items and axes", self.products),
        )
        return (listed, *(() if counts_alone else (Release("gaussian", noise, what=what) for what, noise in more)))


def threshold(noise: float, delta: float) -> float:
    """Return the count below which no item is listed, so that one user alone brings items on the list with δ at most.

    An item of one user alone has a count of q / STEPS, q a whole number, and comes above T with the probability
    f(q) = Φ((q / STEPS - T) / σ). As Σ q² <= STEPS², the chances of all such items add up to max_q f(q) STEPS² / q².
    """
    q = np.arange(1, STEPS + 1)
    low, high = 0.0, 1 + noise * float(-ndtri(delta / STEPS**2))
    for _ in range(60):
        middle = (low + high) / 2
        chance = float((ndtr((q / STEPS - middle) / noise) * STEPS**2 / q**2).max())
        low, high = (low, middle) if chance <= delta else (middle, high)
    return high


def release_counts(X: csr_array, plan: Plan, source: Source) -> tuple[Longs, Doubles]:
    """Return the items listed, (J,), and their noisy counts (J,), of users' likes X (U, I).

    An item that no user's whole numbers reach is not listed unless all are: `plan.threshold` is -inf.
    """
    rows = Rows.of(X)
    counts = noisy_counts(rows, plan.counts, source)
    listed = counts > plan.threshold
    if np.isfinite(plan.threshold):
        listed &= np.asarray(rows.matrix.sum(axis=0)) > 0
    kept = np.flatnonzero(listed)
    return kept, counts[kept]


def listed(X: csr_array, plan: Plan, source: Source, refuse: str) -> tuple[Longs, Doubles, float]:
    """Return as `release_counts` does, and about how many users like an item listed, 1 or more."""
    kept, counts = release_counts(X, plan, source)
    if not len(kept):
        raise Hopeless(f"{refuse or 'private fit'}: no item was chosen often enough to be listed; give a public list")
    return kept, counts, max(noisy_number(Rows.of(csr_array(X[:, kept])), plan.users, source), 1.0)


def release(X: csr_array, plan: Plan, source: Source, content: Floats | None, *, refuse: str) -> Released:
    """Release what a fit needs of users' likes X (U, I), 1 where a user likes an item; content (I, C) is public.

    refuse  what the error begins with where too little stands out of the noise; "" fits popularity alone then.
    """
    kept, counts, users = listed(X, plan, source, refuse)
    least = needed(plan.gram)
    if refuse and users < least:
        raise Hopeless(hopeless(refuse, users, least))
    weighted = weigh(csr_array(X[:, kept]), evened(counts, plan.counts))
    head = head_of(counts, users / plan.gram)
    own, rows = Rows.of(weighted), Rows.of(csr_array(weighted[:, head]))
    found = above_noise(noisy_gram(rows, plan.gram, source), plan.gram, axes_for(head, users / plan.gram))
    if refuse and len(found.strength) < 2:
        raise Hopeless(f"{hopeless(refuse, users, least)}: no second axis of taste is above the noise")
    likes = (float(counts.sum()) / users) ** 2  # a row of n likes adds √n to the counts
    if not len(found.strength):
        return Released(kept, counts, Axes(np.zeros((len(kept), 0)), np.zeros(0)), likes)
    axes = np.zeros((len(kept), len(found.strength)))
    axes[head] = found.vectors * found.strength**-WHITEN
    length = np.square(found.vectors).sum(axis=0)  # of an axis, a cosine²
    most = CUT * float(np.sqrt((found.strength ** (1 - 2 * WHITEN) * length).sum() / users))
    products = noisy_products(own, rows.projected(axes[head], most), plan.products, source)
    whole = completed(products * most, axes)
    joined = whole if content is None else with_content(whole, content[kept])
    return Released(kept, counts, joined, likes, len(whole.strength) > MANY)


def head_of(counts: Doubles, worth: float) -> Longs:
    """Return the items, in their order, that the Gram matrix is made of: those of the largest counts.

    worth  users / σ of the Gram matrix: the more, the rarer the items that are seen above a noise that grows by √I
    """
    least, most = HEAD_ITEMS
    size = int(np.clip(worth / HEAD, least, most))
    return np.sort(np.argsort(-counts, kind="stable")[:size])


def axes_for(head: Longs, worth: float) -> int:
    """Return how many axes of the Gram matrix of a head are kept, at most; `worth` is that of `head_of`."""
    return min(MOST_AXES, max(2, len(head) // AXES, int(worth / HEAD) // AXES))


def evened(counts: Doubles, noise: float) -> Doubles:
    """Return what an item of each noisy count weighs in a row, (J,); well below the noise all weigh alike."""
    size = np.maximum(counts, 0) + noise
    return np.asarray((size / size.mean()) ** -EVEN, np.float64)


def weigh(X: csr_array, weights: Doubles) -> csr_array:
    """Return X (U, J), its columns times weights (J,)."""
    return csr_array((X.data * weights[X.indices], X.indices, X.indptr), shape=X.shape)


def needed(noise: float) -> float:
    """Return how many users make a second axis, of SECOND of the users, stand out of the noise of their head.

    The head has n / (HEAD σ) items; its noise reaches √(2 n σ / HEAD), which is SECOND n at n = 2 σ / HEAD SECOND².
    """
    return 2 * noise / HEAD / SECOND**2


def hopeless(refuse: str, users: float, least: float) -> str:
    """Say that too little stands out, and how many users it would take at least."""
    about = float(f"{least:.1g}")
    return f"about {users:,.0f} users and {refuse}: {POPULARITY_ALONE}; needs about {about:,.0f}"


def with_content(axes: Axes, content: Floats) -> Axes:
    """Return the axes of the Gram matrix plus that of the items' content (J, C), scaled to `CONTENT` of its trace."""
    own = content.astype(np.float64)
    scale = np.sqrt(CONTENT * axes.strength.sum() / max(float(np.square(own).sum()), 1e-300))
    return axes.joined(own * scale)
