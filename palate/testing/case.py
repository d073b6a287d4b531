"""What a rule is checked on: a recipe, fitted to a small log; and the way in which a rule says what breaks it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from palate.arrays import Doubles
from palate.data.histories import Histories
from palate.data.interactions import Interactions
from palate.data.vocabulary import Id
from palate.models.base import Model, Recipe
from palate.testing.logs import block_events, catalogue_of, log_of


class Broken(Exception):
    """A rule does not hold; the message says where."""


@dataclass(frozen=True)
class Case:
    """A recipe under check, its model of the block log, and that log's histories."""

    recipe: Recipe

    def fit(self, log: Interactions, recipe: Recipe | None = None) -> Model:
        """Fit to a log and a catalogue of its items, which most recipes leave alone."""
        return (recipe or self.recipe).fit(log, catalogue_of(log))

    @cached_property
    def log(self) -> Interactions:
        """The block log."""
        return log_of(block_events())

    @cached_property
    def model(self) -> Model:
        """The model of the block log, fitted once."""
        return self.fit(self.log)

    @cached_property
    def histories(self) -> Histories:
        """The histories of the block log, over the items of the model."""
        return self.log.histories().on(self.model.items)


def expect(holds: bool, message: str) -> None:
    """Raise `Broken` unless it holds."""
    if not holds:
        raise Broken(message)


def expect_equal(found: object, wanted: object, what: str) -> None:
    """Raise `Broken` unless the two are equal."""
    expect(found == wanted, f"{what}: found {found!r}, expected {wanted!r}")


def expect_close(found: ArrayLike, wanted: ArrayLike, what: str, tolerance: float = 0.0) -> None:
    """Raise `Broken` unless two arrays are equal within a tolerance."""
    one, other = np.asarray(found, np.float64), np.asarray(wanted, np.float64)
    close = one.shape == other.shape and np.allclose(one, other, rtol=tolerance, atol=tolerance / 10)
    expect(close, f"{what}: the arrays differ, {_difference(one, other)}")


def expect_error(kind: type[Exception], call: Callable[[], object], what: str) -> None:
    """Raise `Broken` unless the call raises an error of this kind."""
    try:
        call()
    except kind:
        return
    except Exception as error:
        raise Broken(f"{what}: must raise {kind.__name__}, raised {type(error).__name__}: {error}") from error
    raise Broken(f"{what}: must raise {kind.__name__}, raised nothing")


def expect_finite(scores: ArrayLike, what: str) -> None:
    """Raise `Broken` unless all numbers are finite."""
    wrong = np.count_nonzero(~np.isfinite(np.asarray(scores)))
    expect(not wrong, f"{what}: {wrong:,} scores are not finite")


def lists_of(histories: Histories) -> list[list[Id]]:
    """Item ids of each history."""
    start = histories.rows.start
    ids = histories.items.names(histories.rows.column).to_list()
    return [ids[start[b] : start[b + 1]] for b in range(len(histories))]


def _difference(one: Doubles, other: Doubles) -> str:
    if one.shape != other.shape:
        return f"of shapes {one.shape} and {other.shape}"
    return f"by {np.abs(one - other).max()} at most"
