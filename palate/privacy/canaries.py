"""Canaries: what many trainings with and without one user show of ε, from below."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from palate.data.catalogue import Catalogue
from palate.data.interactions import Interactions
from palate.data.vocabulary import Vocabulary
from palate.errors import DataError
from palate.models.base import Recipe
from palate.privacy.distinguishing import least_epsilon
from palate.privacy.released import Hopeless

USERS, ITEMS = 200, 100  # of a log, at most: privacy is promised for any log, and a small one hides least
TRAININGS = 100  # half with the canary


@dataclass(frozen=True)
class Bound:
    """The least ε that trainings leave possible, 95% of times, at a δ; `most` they could have shown."""

    epsilon: float
    delta: float
    most: float
    trainings: int


def canaries(
    recipe: Recipe,
    log: Interactions,
    catalogue: Catalogue | None = None,
    *,
    trainings: int = TRAININGS,
    delta: float = 1e-5,
    seed: int = 0,
) -> Bound:
    """Bound ε from below by trainings on a small part of a log, half of them with one user more.

    That user likes two items that no other does, and the attacker, who knows all else, looks at the score of the one
    by the other. A fit that is refused shows that it is. Raises `DataError` for a log of fewer than three items.
    """
    draw = np.random.default_rng(seed)
    without, user, items = planted(log, draw)
    half = max(2, trainings // 2)
    found = np.empty((2, half))
    for n in range(half):
        again = reseeded(recipe, int(draw.integers(1 << 31)))
        for side, known in enumerate((user, without)):
            found[side, n] = shown(again, known, catalogue, items)
    apart = np.arange(half, dtype=np.float64)
    most = least_epsilon(apart + half, apart, delta)
    return Bound(least_epsilon(found[0], found[1], delta), delta, most, 2 * half)


def planted(log: Interactions, draw: np.random.Generator) -> tuple[Interactions, Interactions, tuple[int, int]]:
    """Return a small part of a log without the canary and with it, and the canary's two items, by their rows."""
    counts = log.item_counts()
    if np.count_nonzero(counts) < 3:
        raise DataError(f"{log!r}: {np.count_nonzero(counts)} items; canaries need 3 or more")
    head = np.argsort(-counts, kind="stable")[: min(ITEMS, np.count_nonzero(counts))]
    some = draw.permutation(len(log.users))[:USERS]
    kept = np.isin(log.user, some) & np.isin(log.item, head[:-2]) & log.liked
    items = log.items.select(np.sort(head).astype(np.int32))
    row = items.recode(log.items)
    own = tuple(int(each) for each in row[head[-2:]])
    user, item = log.user[kept], row[log.item[kept]]
    names = Vocabulary.of([*map(str, range(len(log.users))), "canary"])
    with_user = np.append(user, [len(log.users)] * 2).astype(np.int32)
    more = Interactions.of(names, items, with_user, np.append(item, own).astype(np.int32))
    return Interactions.of(names, items, user, item.astype(np.int32)), more, (own[0], own[1])


def shown(recipe: Recipe, log: Interactions, catalogue: Catalogue | None, items: tuple[int, int]) -> float:
    """Return the score of one of the canary's items by the other in a model; below all where the fit is refused."""
    try:
        model = recipe.fit(log, None if catalogue is None else catalogue.among(log.items))
    except Hopeless:
        return -np.inf
    one, other = (log.items.ids[item] for item in items)
    row = int(model.items.codes([other])[0])
    return float(model.scores(model.histories([[one]]))[0, row]) if row >= 0 else -np.inf


def reseeded(recipe: Recipe, seed: int) -> Recipe:
    """Return a recipe with another seed, where it has one: what is left to chance is drawn anew for each pair."""
    own = {} if getattr(recipe, "seed", None) is None else {"seed": seed}
    return replace(recipe, **own)
