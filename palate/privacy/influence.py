"""How the influence of users leaves a model: one function for each kind of recipe, and the logs they read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, singledispatch

import numpy as np

from palate.arrays import AnyArray, Floats, Longs
from palate.data.interactions import Interactions
from palate.data.vocabulary import Vocabulary
from palate.errors import DataError
from palate.models.base import Model, Recipe
from palate.models.weights import within
from palate.privacy.receipts import Removal

CLOSE = 1e-4  # relative: sums of the same weights in another order
AGAIN = "fitted again to the log without them"


@dataclass(frozen=True, eq=False)
class Logs:
    """The log that a model was fitted to, `before`, and the users that leave it, by their ids as text."""

    before: Interactions
    gone: frozenset[str]

    @cached_property
    def after(self) -> Interactions:
        """The log without them; all items stay."""
        return self.before.without(self.gone)

    @cached_property
    def fitted(self) -> tuple[Interactions, Interactions]:
        """Both logs with the weights that a fit sees."""
        return within(self.before), within(self.after)

    @cached_property
    def rows(self) -> Longs:
        """Rows of the users that leave, (K,)."""
        stay = np.zeros(len(self.before.users), np.bool_)
        stay[self.before.users.others(self.gone)] = True
        return np.flatnonzero(~stay)

    @property
    def teach(self) -> bool:
        """Whether an event of weight above 0 is left."""
        log = self.before
        theirs = sum(np.count_nonzero(log.liked[log.start[row] : log.start[row + 1]]) for row in self.rows)
        return bool(np.count_nonzero(log.liked) > theirs)

    def on(self, items: Vocabulary) -> Logs:
        """Return the logs by the rows of `items`; raises `DataError` for an item that is not among them."""
        log = self.before
        if log.items is items or log.items.ids.equals(items.ids):
            return self
        row = items.recode(log.items)
        unknown = np.flatnonzero((row < 0) & (np.bincount(log.item, minlength=len(row)) > 0))
        if len(unknown):
            raise DataError(f"item {log.items.ids[int(unknown[0])]!r} of the log: the model does not know it; {RULE}")
        return replace(self, before=replace(log, items=items, item=row[log.item]))


RULE = "the log must be the one that the model was fitted to, without users that it has forgotten before"


@dataclass(frozen=True, eq=False)
class Left:
    """The model without the influence, and how that is so."""

    model: Model
    removal: Removal


@singledispatch
def leave(recipe: Recipe, model: Model, logs: Logs) -> Left:  # noqa: ARG001  the others read the logs
    """Take the influence of users out of a model of this recipe, that keeps nothing of them alone any more.

    Raises `DataError` where the log is not the one that the model was fitted to.
    """
    measure = "what all users taught together is in the weights; palate fit, or palate train, makes a model without"
    return Left(model, Removal(type(recipe).__name__, "retrain", None, measure))


def again(recipe: Recipe, logs: Logs) -> Left:
    """Fit again: where the fit is sums over the log, it costs no more."""
    return Left(recipe.fit(logs.after), Removal(type(recipe).__name__, "exact", 0.0, AGAIN))


def still_there(items: Vocabulary, kept: AnyArray, of: Callable[[Interactions], AnyArray], logs: Logs) -> bool:
    """Whether the users are still in sums over the items, (I,), that a model keeps; `of` makes them of a log.

    Raises `DataError` where they are those of another log.
    """
    before = of(logs.before)
    if agree(kept, before):
        return True
    if agree(kept, of(logs.after)):
        return False
    row = int(np.argmax(np.abs(kept - before)))
    weights = f"its events weigh {before[row]:g} in the log, {kept[row]:g} in the model"
    raise DataError(f"item {items.ids[row]!r}: {weights}; {RULE}")


def agree(some: AnyArray, others: AnyArray) -> bool:
    """Whether sums are equal but for the order in which they were added up."""
    return bool((np.abs(some - others) <= CLOSE * np.maximum(np.abs(some), np.abs(others))).all())


def popularity_of(log: Interactions) -> Floats:
    """Sum of each item's event weights, as a fit sees them, (I,)."""
    return within(log).item_weights()


def unchanged(recipe: Recipe, model: Model) -> Left:
    """Return the model as it is: the users have left it before."""
    return Left(model, Removal(type(recipe).__name__, "exact", 0.0, "nothing of them was in the model"))


def counted(many: Mapping[str, int]) -> dict[str, int]:
    """Return the counts that are not 0."""
    return {name: count for name, count in many.items() if count}
