"""Models out of a released Gram matrix: each closed form that needs nothing else of the log."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import Any, TypeAlias

import numpy as np

from palate.arrays import Doubles, Floats
from palate.compute.memory import refuse_beyond
from palate.data.vocabulary import Vocabulary
from palate.errors import SettingError, check
from palate.models.base import Model, Recipe
from palate.models.ease import EASE
from palate.models.embedding import Embedding, EmbeddingModel
from palate.models.ials import IALS, UNSEEN, IALSModel
from palate.models.item_knn import ItemKNN
from palate.models.item_to_item import DenseItemModel, SparseItemModel
from palate.models.popularity import Popularity, PopularityModel
from palate.models.slist import SLIST
from palate.privacy.released import Released

RIDGE = 0.5  # times the mean of the diagonal: the noise left in the axes wants a ridge that follows it
STEEP = 60.0  # in place of RIDGE where many axes came out of the log, of which the weak ones say less
L2 = 0.008  # of IALS where none is given; it scales the vectors, and no list
LEVEL, SMALL = 0.4, 0.2  # how far rows of axes are brought to one length; of the mean length, added to each
BLOCK = 512  # items at once
VECTORS = (
    "dim",
    "l2",
    "seed",
)  # settings of an Embedding that a private fit takes; the others are `palate.privacy.sgd`'s


def ease(recipe: EASE, items: Vocabulary, released: Released, popularity: Floats) -> DenseItemModel:
    """B = H of `closed`, its diagonal 0."""
    weights = closed(released)
    weights[np.diag_indices_from(weights)] = 0
    return DenseItemModel(recipe, items, popularity, weights)


def slist(recipe: SLIST, items: Vocabulary, released: Released, popularity: Floats) -> DenseItemModel:
    """B = H of `closed`: whole sequences alone, whose products are the Gram matrix."""
    return DenseItemModel(recipe, items, popularity, closed(released))


def closed(released: Released) -> Floats:
    """H = (G + λ)⁻¹ G = V h Vᵀ, h = strength / (strength + λ), an entry over (√H_ii √H_jj)^LEVEL, (I, I).

    EASE's B_ij is H_ij / (1 - H_jj) for i ≠ j (Steck 2019). Of low rank no H_jj is near 1, and all have noise: they
    are left out, and popular items, of which H_jj is large, are brought near the others instead.
    """
    near = released.axes.vectors * np.sqrt(shares(released))
    size = np.sqrt((near**2).sum(axis=1))
    near /= (size + SMALL * size.mean())[:, None] ** LEVEL
    return product(near, near)


def item_knn(recipe: ItemKNN, items: Vocabulary, released: Released, popularity: Floats) -> SparseItemModel:
    """Keep the best cosines G_ij / √(G_ii G_jj) of each item j, the mean of the diagonal added to it."""
    square = (released.axes.vectors**2) @ released.axes.strength
    near = released.axes.vectors * np.sqrt(released.axes.strength) / np.sqrt(square + square.mean() + 1e-12)[:, None]
    I = len(near)
    few = max(1, min(recipe.neighbours, I - 1))
    found, value = np.zeros((I, few), np.int64), np.zeros((I, few), np.float32)
    for low in range(0, I, BLOCK):
        block = near[low : low + BLOCK] @ near.T
        block[np.arange(len(block)), np.arange(low, low + len(block))] = -np.inf
        best = np.argpartition(-block, few - 1, axis=1)[:, :few]
        found[low : low + BLOCK], value[low : low + BLOCK] = best, np.take_along_axis(block, best, axis=1)
    kept = np.isfinite(value) & (value > 0)
    target = np.nonzero(kept)[0]
    order = np.lexsort((target, found[kept]))
    start = np.append(0, np.cumsum(np.bincount(found[kept], minlength=I))).astype(np.int64)
    return SparseItemModel(
        recipe, items, popularity, start, target[order].astype(np.int32), value[kept][order].astype(np.float32)
    )


def ials(recipe: IALS, items: Vocabulary, released: Released, popularity: Floats) -> IALSModel:
    """Vectors with Q Qᵀ = t G; a user's vector is solved for at request, as of any IALS model.

    No user side is trained: it would not be released anyway, and its solution for a given item side is exact. t makes
    the penalty of the recipe as strong, beside the unseen items, as `RIDGE` is for EASE.
    """
    alpha = recipe.unseen_weight or float(np.clip(UNSEEN * released.likes / len(items), 1e-3, 1.0))
    l2 = recipe.l2 or L2
    whole = replace(recipe, unseen_weight=alpha, l2=l2)  # one that follows the log would say of it
    axes, strength = released.axes.vectors[:, : recipe.dim], released.axes.strength[: recipe.dim]
    if not len(strength):
        axes, strength = np.zeros((len(items), 1)), np.ones(1)
    penalty = l2 * (alpha * len(items)) ** recipe.l2_scaling
    strength = strength * penalty * len(items) / (alpha * RIDGE * strength.sum())
    no_users = np.zeros((0, len(strength)), np.float32)
    vectors = np.ascontiguousarray(axes * np.sqrt(strength), np.float32)
    spectrum = (alpha * strength).astype(np.float32)
    return IALSModel(whole, items, Vocabulary.of([]), no_users, vectors, popularity, spectrum, 1.0)


def embedding(recipe: Embedding, items: Vocabulary, released: Released, popularity: Floats) -> EmbeddingModel:
    """Return the vectors that were released; a user's vector is folded in when asked, as of any Embedding model."""
    vectors = np.ascontiguousarray(released.axes.vectors, np.float32)
    whole = replace(recipe, dim=vectors.shape[1]).resolved()
    no_users, no_hashes = np.zeros((0, whole.dim), np.float32), np.zeros(0, np.uint64)
    return EmbeddingModel(whole, items, Vocabulary.of([]), no_users, vectors, popularity, no_hashes)


def by_popularity(recipe: Popularity, items: Vocabulary, _: Released, popularity: Floats) -> PopularityModel:
    """Return the counts alone."""
    return PopularityModel(recipe, items, popularity)


def shares(released: Released) -> Doubles:
    """H = strength / (strength + λ) of each axis, (K,)."""
    strength = released.axes.strength
    ridge = STEEP if released.many else RIDGE
    return np.asarray(strength / (strength + ridge * strength.sum() / len(released.counts)))


def product(left: Doubles, right: Doubles) -> Floats:
    """Return left rightᵀ, (I, I). Raises `SettingError` where it does not fit into memory."""
    I = len(left)
    refuse_beyond(8 * I * I, f"all weights between {I:,} items", "Private(IALS(), ...) takes far less")
    return np.asarray(np.matmul(left.astype(np.float32), right.T.astype(np.float32)))


Maker: TypeAlias = Callable[[Any, Vocabulary, Released, Floats], Model]
# Recipes that can be fitted privately, and the settings that would read more of a log than is released.
MAKERS: Mapping[type[Recipe], tuple[Maker, Mapping[str, object]]] = {
    EASE: (ease, {"binary": True, "neighbours": None, "half_life_days": None}),
    Embedding: (embedding, {each.name: each.default for each in fields(Embedding) if each.name not in VECTORS}),
    IALS: (ials, {"half_life_days": None}),
    ItemKNN: (item_knn, {"similarity": "cosine", "binary": True, "half_life_days": None}),
    Popularity: (by_popularity, {"half_life_days": None}),
    SLIST: (slist, {"alpha": 1.0, "whole_decay": 1.0, "walk": 0.0, "beta": 0.0, "half_life_days": None}),
}


def check_private(recipe: Recipe) -> None:
    """Raise `SettingError` for a recipe, or a setting of one, that has no private fit."""
    if type(recipe) not in MAKERS:
        names = ", ".join(sorted(each.__name__ for each in MAKERS))
        rule = f"has no private fit; recipes that have one are {names}"
        raise SettingError(f"recipe={type(recipe).__name__}(): {rule}")
    for name, value in MAKERS[type(recipe)][1].items():
        own = getattr(recipe, name)
        check(own == value, f"{type(recipe).__name__}.{name}", own, f"must be {value!r} in a private fit")


def fitted(recipe: Recipe, items: Vocabulary, released: Released) -> Model:
    """Return the model of a recipe out of what was released."""
    return MAKERS[type(recipe)][0](recipe, items, released, np.maximum(released.counts, 0).astype(np.float32))
