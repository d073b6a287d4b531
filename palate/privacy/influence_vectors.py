"""Influence on vectors of least squares: IALS is trained again, Hybrid goes on from where it is."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from palate.arrays import Bools, Doubles, Floats, aligned_copy
from palate.compute.threads import ThreadTeam, cores
from palate.data.interactions import Interactions
from palate.data.vocabulary import Vocabulary
from palate.kernels.least_squares import residuals
from palate.models.factors import FactorModel
from palate.models.hybrid import Hybrid, HybridModel
from palate.models.ials import IALS, AlsState, IALSModel
from palate.models.prior import ContentPrior
from palate.privacy.influence import Left, Logs, again, leave, popularity_of, still_there, unchanged
from palate.privacy.receipts import Removal

MOST_EPOCHS = 12  # of an IALS that goes on
LEAST, SLOWEST = 0.05, 0.95  # share of the way left at which it ends; part of the rest that an epoch leaves at most
ASKED = 256  # users, and items, whose scores say so
WAY = "share of the way that the scores of their items have still to go, by how the last epochs moved them"
HELD = "the vectors of the items go on without them, what content says of an item stays"


@leave.register
def _(recipe: IALS, model: IALSModel, logs: Logs) -> Left:
    """Train again, from the same start: to go on from the vectors would train them further, and take as long."""
    if not still_there(model.items, model.popularity, popularity_of, logs):
        return unchanged(recipe, model)
    return again(unresolved(recipe, logs.fitted[0]), logs)


def unresolved(recipe: IALS, log: Interactions) -> IALS:
    """Return the recipe with None again in place of what followed this log."""
    l2, alpha = recipe.l2, recipe.unseen_weight
    for free in (replace(recipe, l2=a, unseen_weight=b) for a, b in ((None, None), (None, alpha), (l2, None))):
        if free.resolved(log) == recipe:
            return free
    return recipe


@leave.register
def _(recipe: Hybrid, model: HybridModel, logs: Logs) -> Left:
    """Do as for the vectors within, each drawn by its content as the training left it."""
    base = model.base
    if not isinstance(base, IALSModel):
        return leave.dispatch(object)(recipe, model, logs)
    if not still_there(model.items, base.popularity, popularity_of, logs):
        return unchanged(recipe, model)
    known = np.flatnonzero(logs.there).astype(np.int32)
    narrow = replace(
        base,
        items=base.items.select(known),
        item_vectors=aligned_copy(base.item_vectors[known]),
        popularity=base.popularity[known],
    )
    before, after = (narrowed(log, narrow.items) for log in logs.fitted)
    free = Pull(np.zeros_like(narrow.item_vectors), recipe.strength)
    _, slope = slopes(state_of(narrow.recipe, narrow, before, free))
    dim = narrow.item_vectors.shape[1]
    pull = Pull(np.ascontiguousarray(slope[:, :dim]), recipe.strength)  # items stand still but for what leaves
    work = state_of(narrow.recipe, narrow, after, pull)
    distance = settle(work, narrow.recipe, touched(logs)[known])
    fresh = made_of(narrow, work, after)
    axes = pull.axes.astype(np.float32)
    vectors = aligned_copy(base.item_vectors @ axes)
    vectors[known] = fresh.item_vectors
    popularity = np.zeros_like(base.popularity)
    popularity[known] = fresh.popularity
    wide = replace(fresh, items=base.items, item_vectors=vectors, popularity=popularity)
    gone = replace(model, models=(wide,), weights=np.ascontiguousarray(model.weights @ axes))
    return Left(gone, Removal("Hybrid", "approximate", distance, f"{WAY}; {HELD}"))


@dataclass(eq=False)
class Pull(ContentPrior):
    """A prior that stays: what draws each item's vector beside its events, (I, D).

    axes  by which the vectors were turned since
    """

    def __init__(self, vectors: Floats, strength: float) -> None:
        super().__init__(np.zeros((0, 0), np.float32), np.zeros(0, np.int64), strength)
        self.vectors, self.axes = vectors, np.eye(vectors.shape[1])

    def term(self, vectors: Floats) -> Floats:
        """Return it for the item vectors of a round."""
        term = np.zeros_like(vectors)
        term[:, : self.vectors.shape[1]] = self.vectors @ self.axes
        return aligned_copy(term)

    def turn(self, axes: Doubles) -> None:
        """Follow the vectors."""
        self.axes = self.axes @ axes[: len(self.axes), : len(self.axes)]


def state_of(recipe: IALS, model: IALSModel, log: Interactions, prior: ContentPrior | None = None) -> AlsState:
    """Return the state of a training that has come to the vectors of a model."""
    return AlsState.of(recipe, log, prior, (users_of(model, log), model.item_vectors))


def users_of(model: FactorModel, log: Interactions) -> Floats:
    """Return the vectors of the users of a log, (U, D), 0 for one that the model does not know."""
    row = model.users.recode(log.users)
    return np.asarray(model.user_vectors[np.maximum(row, 0)] * (row >= 0)[:, None], np.float32)


def made_of(model: IALSModel, work: AlsState, log: Interactions) -> IALSModel:
    """Return the model of a state."""
    dim = model.recipe.dim
    users, items = (aligned_copy(side[:, :dim]) for side in (work.users, work.items))
    popularity, spectrum = log.item_weights(), work.spectrum[:dim]
    return IALSModel(model.recipe, model.items, log.users, users, items, popularity, spectrum, work.unit)


def settle(work: AlsState, recipe: IALS, theirs: Bools) -> float:
    """Go on until the scores of the users' items, (I,), are where they tend to; returns the share of the way left.

    Each epoch goes about the same part of the rest, so that the last two say how much that is.
    """
    users = np.linspace(0, len(work.users) - 1, min(ASKED, len(work.users))).astype(np.int64)
    places = np.flatnonzero(theirs)[:ASKED]

    def asked() -> Floats:
        return np.asarray(work.users[users] @ work.items[places].T)

    first = last = asked()
    before, left = np.inf, 0.0
    with ThreadTeam(recipe.threads or cores()) as team:
        for epoch in range(MOST_EPOCHS):
            work.epoch(team, recipe.steps)
            now = asked()
            moved, whole, last = _size(now - last), _size(now - first), now
            part = min(moved / before, SLOWEST) if before else 0.0
            left = moved * part / (1 - part) / whole if whole else 0.0
            before = moved
            if epoch >= 2 and left <= LEAST:
                break
    return left


def slopes(work: AlsState) -> tuple[Floats, Floats]:
    """Half of the gradient of the objective by the users' vectors (U, D) and by the items' (I, D)."""
    found = []
    users, items = work.users, work.items
    sides = (users, items, work.rows, work.user_ridge), (items, users, work.columns, work.item_ridge)
    for side, other, rows, ridge in sides:
        slope = np.zeros_like(side)
        residuals(side, other, rows.start, rows.column, rows.weight, slope)
        slope += np.float32(work.unseen_weight) * (side @ (other.T @ other)) + ridge[:, None] * side
        term = work.prior_term(side)
        found.append(slope - term if len(term) else slope)
    return found[0], found[1]


def touched(logs: Logs) -> Bools:
    """Which items have an event of the users, (I,)."""
    log = logs.before
    there = np.zeros(len(log.items), np.bool_)
    for row in logs.rows:
        there[log.item[log.start[row] : log.start[row + 1]]] = True
    return there


def narrowed(log: Interactions, items: Vocabulary) -> Interactions:
    """Return a log whose events are all on these items, by their rows."""
    row = items.recode(log.items)
    return replace(log, items=items, item=row[log.item])


def _size(*parts: Floats) -> float:
    return float(np.sqrt(sum(float(np.vdot(each, each)) for each in parts)))
