"""EASE, ItemKNN and SLIST on a cluster: products of items are sums over users, which travel block by block."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TypeAlias

import numpy as np
from scipy.sparse import csr_array, vstack

from palate.arrays import Doubles, Floats, Ints, Longs
from palate.cluster.host import CHUNK
from palate.cluster.shard import Placed, Shard
from palate.compute.threads import parallel_for
from palate.errors import check
from palate.kernels.gram import gram_rows
from palate.kernels.neighbours import best_rows
from palate.kernels.sequences import solve_columns
from palate.models.ease import EASE, gram_weights, refuse_too_large
from palate.models.item_knn import ItemKNN
from palate.models.item_to_item import DenseItemModel, SparseItemModel, positives
from palate.models.neighbours import Neighbours, arrays
from palate.models.sequences import Products, Sequences, too_small
from palate.models.slist import SLIST, penalties
from palate.privacy.federated.ease import penalty

ENTRY = 8  # bytes of an entry of a sparse row
Rows: TypeAlias = tuple[Longs, Ints, Floats]  # start, column and value of sparse rows


def blocks_of(items: int, entry: int) -> Iterator[tuple[int, int]]:
    """Yield the edges of blocks of rows of as many entries of so many bytes, within a `CHUNK` if all are there."""
    step = max(1, (CHUNK - ENTRY * items) // (entry * items))
    yield from ((low, min(low + step, items)) for low in range(0, items, step))


def summed(data: Placed, name: str, low: int, high: int) -> csr_array:
    """Return the sum over the workers of their rows [low, high), (high - low, I)."""
    parts = data.gang.again(lambda: data.gang.each(name, low, high))
    total = csr_array((high - low, len(data.items)), dtype=np.float32)
    for start, column, value in parts:
        total = total + csr_array((value, column, start), shape=total.shape)
    return total


class GramWork:
    """A worker's side of EASE: X (U, I), 1 where a user likes an item."""

    def __init__(self, shard: Shard, recipe: EASE) -> None:
        X = positives(shard.log, recipe.binary)
        self.sides = (*arrays(csr_array(X.T.tocsr())), *arrays(X))

    def gram(self, low: int, high: int) -> Floats:
        """Return rows [low, high) of the lower triangle of XᵀX, (high - low, high)."""
        gram = np.zeros((high - low, high), np.float32)
        gram_rows(gram, *self.sides, low, low, high)
        return gram


def fit_ease(recipe: EASE, data: Placed) -> DenseItemModel:
    """Fit to a log that is placed on the workers."""
    gang, I = data.gang, len(data.items)
    check(recipe.neighbours is None, "EASE.neighbours", recipe.neighbours, "must be None on a cluster")
    check(recipe.binary or recipe.l2 is not None, "EASE.l2", None, "must be given on a cluster with binary=False")
    refuse_too_large((len(data.users), I))
    likes = data.totals().likes.astype(np.float32)
    gang.become(GramWork, recipe)
    gram = np.zeros((I, I), np.float32)
    for low, high in blocks_of(I, 4):
        shape = (high - low, high)
        gram[low:high, :high] = gang.again(lambda: gang.sum("gram", low, high, shape=shape))  # noqa: B023
    popularity = gram.diagonal().copy() if recipe.binary else likes
    l2 = recipe.l2 or penalty(gram)
    gram[np.diag_indices(I)] += np.float32(l2)
    return DenseItemModel(replace(recipe, l2=l2), data.items, popularity, *gram_weights(gram, l2))


class NeighbourWork:
    """A worker's side of ItemKNN."""

    def __init__(self, shard: Shard, recipe: ItemKNN) -> None:
        self.recipe, self.X = recipe, positives(shard.log, recipe.binary)

    def sums(self) -> Doubles:
        """Return n_i, what its similarity divides by, and Σ_u x_ui of each item, (3, I)."""
        return np.vstack([self.recipe.item_sums(self.X), self.X.sum(axis=0)])


class ProductWork:
    """A worker's side of ItemKNN, once the sums of all users are known: T and S of `ItemKNN.sides`."""

    def __init__(self, work: NeighbourWork, sums: Doubles) -> None:
        target, self.source = work.recipe.sides(work.X, sums)
        self.target = target.T.tocsr()

    def rows(self, low: int, high: int) -> Rows:
        """Return rows [low, high) of TᵀS."""
        return arrays(csr_array(self.target[low:high] @ self.source))


def fit_neighbours(recipe: ItemKNN, data: Placed) -> SparseItemModel:
    """Fit to a log that is placed on the workers."""
    gang, I = data.gang, len(data.items)
    gang.become(NeighbourWork, recipe)
    sums = gang.again(lambda: gang.sum("sums", shape=(3, I), kind=np.float64))
    gang.become(ProductWork, sums[:2])
    found = Neighbours.empty(I, max(1, min(recipe.neighbours, I - 1)))
    rare = recipe.rare(sums[0])
    for low, high in blocks_of(I, ENTRY):
        own = found.block(low, high)
        sides = (*arrays(summed(data, "rows", low, high)), rare, own.size, own.item, own.value, low)
        parallel_for(lambda first, last: best_rows(*sides, first, last), high - low)  # noqa: B023
    return SparseItemModel(recipe, data.items, sums[2].astype(np.float32), *arrays(found.weights()))


class SequenceWork:
    """A worker's side of SLIST: P and Cᵀ of its users' sequences."""

    def __init__(self, shard: Shard, recipe: SLIST) -> None:
        self.liked = np.bincount(shard.log.item[shard.log.liked], minlength=len(shard.log.items)).astype(np.float64)
        self.sequences, self.tables = Sequences.of(shard.log, recipe.longest), recipe.tables()
        P = self.sequences.inputs(self.tables)
        self.P = csr_array((P.value, P.column, P.start), shape=2 * (len(P.diagonal),))

    def popularity(self) -> Doubles:
        """Return the liked events of each item, (1, I)."""
        return self.liked[None]

    def inputs(self, low: int, high: int) -> Rows:
        """Return rows [low, high) of P."""
        return arrays(self.P[low:high])

    def targets(self, low: int, high: int) -> Rows:
        """Return rows [low, high) of Cᵀ, the items of each in the order in which the target's events meet them."""
        return self.sequences.target_block(self.tables, low, high)


def fit_sequences(recipe: SLIST, data: Placed) -> DenseItemModel | SparseItemModel:
    """Fit to a log that is placed on the workers."""
    gang, I = data.gang, len(data.items)
    gang.become(SequenceWork, recipe)
    popularity = gang.again(lambda: gang.sum("popularity", shape=(1, I), kind=np.float64))[0].astype(np.float32)
    matrix = csr_array(vstack([summed(data, "inputs", low, high) for low, high in blocks_of(I, ENTRY)], "csr"))
    P = Products(*arrays(matrix), matrix.diagonal())
    if recipe.neighbours is None:
        recipe.refuse_too_large(I)
        back = np.zeros((I, I), np.float32)
        for low, high in blocks_of(I, ENTRY):
            back[low:high] = summed(data, "targets", low, high).toarray()
        return recipe.dense(data.items, popularity, P, back)
    found = Neighbours.empty(I, min(recipe.neighbours, I))
    scale: Floats = 1 / np.sqrt(P.diagonal + penalties(P.diagonal, recipe.l2, recipe.l2_power))
    products = (P.start, P.column, P.value, scale)
    for low, high in blocks_of(I, ENTRY):
        own = found.block(low, high)
        sides = (*in_order(data, low, high), *products, own.size, own.item, own.value)
        parallel_for(lambda first, last: solve_columns(*sides, first, last), high - low)  # noqa: B023
    if not np.isfinite(found.value).all():
        raise too_small()
    return recipe.sparse(data.items, popularity, found.weights())


def in_order(data: Placed, low: int, high: int) -> Rows:
    """Return rows [low, high) of Cᵀ; items stand in the order in which a fit in one process meets them.

    So of sources that explain as much, the same are taken.
    """
    I = len(data.items)
    parts = data.gang.again(lambda: data.gang.each("targets", low, high))
    key = np.concatenate(
        [np.repeat(np.arange(high - low), np.diff(start)) * I + column for start, column, _ in parts]
    )
    known, first, place = np.unique(key, return_index=True, return_inverse=True)
    value = np.bincount(place, np.concatenate([value for *_, value in parts]), len(known)).astype(np.float32)
    order = np.lexsort((first, known // I))
    start = np.searchsorted(known // I, np.arange(high - low + 1)).astype(np.int64)
    return start, (known % I)[order].astype(np.int32), value[order]
