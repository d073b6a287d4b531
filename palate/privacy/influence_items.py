"""Influence on models that are sums over users: it leaves exactly, up to rounding."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.sparse import csr_array

from palate.arrays import Doubles, Floats, Longs
from palate.data.interactions import Interactions
from palate.kernels.gram import rescale_rows
from palate.kernels.positives import first_positives
from palate.models.content import Content, ContentModel
from palate.models.ease import EASE, penalty_of
from palate.models.infinite_ae import InfiniteAE, InfiniteAEModel
from palate.models.item_knn import ItemKNN
from palate.models.item_to_item import DenseItemModel, ItemModel, positives
from palate.models.popularity import Popularity, PopularityModel
from palate.models.session_knn import SessionKNN, SessionKNNModel
from palate.models.slist import SLIST
from palate.privacy.influence import Left, Logs, again, leave, popularity_of, still_there, unchanged
from palate.privacy.receipts import Removal

PROBES = 2  # columns of the weights that the distance is measured on
COLUMNS = 512  # of the weights read as doubles at once
MEASURE = "largest error of the weights to {} items, by one step of refinement against the log without them"


@leave.register
def _(recipe: Popularity, model: PopularityModel, logs: Logs) -> Left:
    """Count again."""
    if not still_there(model.items, model.item_scores, lambda log: recipe.fit(log).item_scores, logs):
        return unchanged(recipe, model)
    return again(recipe, logs)


@leave.register(ItemKNN)
@leave.register(SLIST)
def _(recipe: ItemKNN | SLIST, model: ItemModel, logs: Logs) -> Left:
    """Sum again: the fit is a pass over the log."""

    def sums(log: Interactions) -> Floats:
        if isinstance(recipe, ItemKNN):
            return _sums(positives(log, recipe.binary, recipe.half_life_days))
        return np.bincount(log.item[log.liked], minlength=len(log.items)).astype(np.float32)

    there = still_there(model.items, model.popularity, sums, logs)
    return again(recipe, logs) if there else unchanged(recipe, model)


@leave.register
def _(recipe: InfiniteAE, model: InfiniteAEModel, logs: Logs) -> Left:
    """Count the popularity again: the weights were solved anew when the histories left."""
    gone = replace(model, popularity=popularity_of(logs.after))
    return Left(gone, Removal(type(recipe).__name__, "exact", 0.0, "solved again without their histories"))


@leave.register
def _(recipe: SessionKNN, model: SessionKNNModel, logs: Logs) -> Left:  # noqa: ARG001  its sessions left with them
    """Keep the sessions of the others again, by their age beside the newest one."""
    return again(recipe, logs)


@leave.register
def _(recipe: Content, model: ContentModel, logs: Logs) -> Left:
    """Sum the users' profiles again: the rows of the items are read of no user."""

    def sums(log: Interactions) -> Floats:
        return _sums(positives(log, binary=True))

    if not still_there(model.items, model.popularity, sums, logs):
        return unchanged(recipe, model)
    X = positives(logs.fitted[1], binary=True)
    known = logs.there
    weights = np.ascontiguousarray(recipe.taste(X[:, known], model.vectors[known]), np.float32)
    gone = replace(model, weights=weights, popularity=_sums(X))
    return Left(gone, Removal("Content", "exact", 0.0, "the users' sums were made again without theirs"))


def _sums(X: csr_array) -> Floats:
    return np.asarray(X.sum(axis=0), np.float32)


@leave.register
def _(recipe: EASE, model: ItemModel, logs: Logs) -> Left:
    """Take the users' rows out of the inverse by Woodbury's identity: K I² operations for K of them."""

    def sums(log: Interactions) -> Floats:
        return _sums(positives(log, recipe.binary, recipe.half_life_days))

    plain = recipe.binary and recipe.half_life_days is None
    change = Change.plain(logs) if plain else Change.weighted(recipe, logs)
    l2 = following(recipe, change)
    if not isinstance(model, DenseItemModel) or model.inverse is None or 2 * change.rank > len(model.items):
        there = still_there(model.items, model.popularity, sums, logs)
        return again(replace(recipe, l2=l2), logs) if there else unchanged(recipe, model)
    if not np.allclose(model.popularity, change.before, rtol=1e-4):
        there = still_there(model.items, model.popularity, sums, logs)
        assert not there
        return unchanged(recipe, model)
    lighter = downdated(model, model.inverse, change) if l2 == recipe.l2 else None
    if lighter is None:
        return again(replace(recipe, l2=l2), logs)
    probes = np.argsort(-change.touched, kind="stable")[:PROBES]
    distance = error_of(lighter, change, l2, probes)
    return Left(lighter, Removal("EASE", "exact", distance, MEASURE.format(len(probes))))


def following(recipe: EASE, change: Change) -> float:
    """Return the penalty of a fit without the users: one that followed the log follows the log without them."""
    l2, sizes, squares = recipe.l2 or 0.0, _sizes(change.X), _squares(change.X)
    if l2 != penalty_of(sizes, change.before, squares):
        return l2
    users = np.append(np.delete(sizes, change.rows), _sizes(change.come))
    left = squares - _squares(change.gone) + _squares(change.come)
    return penalty_of(users, change.after, left) if users.any() else l2


def _sizes(X: csr_array) -> Doubles:
    return np.asarray(X.sum(axis=1), np.float64)


def _squares(X: csr_array) -> float:
    return float(np.square(X.data).sum(dtype=np.float64))


@dataclass(frozen=True, eq=False)
class Change:
    """X (U, I) of a log; its rows (K,) that go, and those that come in another form, (C, I)."""

    X: csr_array
    rows: Longs
    come: csr_array

    @classmethod
    def plain(cls, logs: Logs) -> Change:
        """Each pair counts 1, so that no other row changes."""
        log = logs.before
        shape = len(log.users), len(log.items)
        X = csr_array((first_positives(log.start, log.item, log.liked), log.item, log.start), shape=shape)
        return cls(X, logs.rows, X[:0])

    @classmethod
    def weighted(cls, recipe: EASE, logs: Logs) -> Change:
        """Weights that fade or are cut may change in other rows, too."""
        X, fresh = (positives(log, recipe.binary, recipe.half_life_days) for log in logs.fitted)
        stay = np.setdiff1d(np.arange(X.shape[0]), logs.rows)
        differ = np.asarray(abs(X[stay] - fresh).sum(axis=1)).ravel() > 0
        return cls(X, np.append(logs.rows, stay[differ]), csr_array(fresh[np.flatnonzero(differ)]))

    @cached_property
    def gone(self) -> csr_array:
        """Rows that go, (K, I)."""
        return csr_array(self.X[self.rows])

    @cached_property
    def before(self) -> Doubles:
        """Sums of the columns, (I,)."""
        return np.bincount(self.X.indices, self.X.data, minlength=self.X.shape[1]).astype(np.float64, copy=False)

    @cached_property
    def after(self) -> Doubles:
        """Sums of the columns when they left, (I,)."""
        return np.asarray(self.before - self.gone.sum(axis=0) + self.come.sum(axis=0), np.float64)

    @property
    def touched(self) -> Doubles:
        """Popularity of the items whose sums change, (I,), 0 for the others."""
        there = np.zeros(self.X.shape[1], np.bool_)
        there[self.gone.indices] = True
        return np.where(there, self.after, 0)

    @property
    def rank(self) -> int:
        """How many rows go or come."""
        return len(self.rows) + int(self.come.shape[0])

    @property
    def vectors(self) -> Doubles:
        """Rows that go, then those that come, (K + C, I)."""
        return np.vstack([self.gone.toarray(), self.come.toarray()]).astype(np.float64)

    def products(self, vectors: Doubles) -> Doubles:
        """Gram matrix of the log without them times vectors, (I, N)."""
        whole, gone, come = (each.T @ (each @ vectors) for each in (self.X, self.gone, self.come))
        return np.asarray(whole - gone + come)


def downdated(model: DenseItemModel, diagonal: Floats, change: Change) -> DenseItemModel | None:
    """Return the model of P' = (A - GᵀG + CᵀC)⁻¹, A⁻¹ = P, G and C the rows that go and come; None where it is lost.

    With V = [G; C] and S = diag(∓1): P' = P - PVᵀ (S + V P Vᵀ)⁻¹ V P. P itself is (I - B) diag(P), symmetric, so that
    V P = (V - V B) ∘ diag(P) reads only the rows of B that the users touched.
    """
    d, B = diagonal.astype(np.float64), model.weights
    V = change.vectors
    items = np.flatnonzero(V.any(axis=0))
    few = np.ascontiguousarray(V[:, items])
    half = np.empty_like(V)  # V P, (K, I)
    for low in range(0, len(d), COLUMNS):
        block = slice(low, low + COLUMNS)
        half[:, block] = (V[:, block] - few @ B[items, block].astype(np.float64)) * d[block]
    signs = np.repeat([-1.0, 1.0], [change.gone.shape[0], change.come.shape[0]])
    small = np.diag(signs) + half @ V.T
    try:
        solved = np.linalg.solve((small + small.T) / 2, half)  # (K, I)
    except np.linalg.LinAlgError:
        return None
    after = d - np.einsum("ki,ki->i", half, solved)
    if not (np.isfinite(after) & (after > 0)).all():
        return None
    rescaled, ratio = solved / after, d / after
    weights = np.empty_like(B)
    product = np.empty((int(np.clip(len(V), 16, 128)), len(d)))  # stays in the cache
    for low in range(0, len(d), len(product)):
        part = slice(low, min(low + len(product), len(d)))
        more = np.matmul(half[:, part].T, rescaled, out=product[: part.stop - low])
        rescale_rows(B[part], ratio, more, weights[part])
    weights[np.diag_indices_from(weights)] = 0
    popularity = change.after.astype(np.float32)
    return replace(model, popularity=popularity, weights=weights, inverse=after.astype(np.float32))


def error_of(model: DenseItemModel, change: Change, l2: float, probes: np.ndarray) -> float:
    """Largest error of the weights to some items, (N,): one step of refinement shows it to the first order."""
    assert model.inverse is not None
    d = model.inverse.astype(np.float64)
    columns = -model.weights[:, probes].astype(np.float64) * d[probes]
    place = probes, np.arange(len(probes))
    columns[place] = d[probes]
    left = -(change.products(columns) + l2 * columns)
    left[place] += 1
    step = d[:, None] * left - model.weights @ (d[:, None] * left).astype(np.float32)
    better = columns + step
    difference = columns / columns[place] - better / better[place]
    return float(np.abs(difference).max(initial=0.0))
