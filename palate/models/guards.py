"""What is done around every recipe: settings get their types before their check, and a fit that diverges says so."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar

import numpy as np

from palate.data.interactions import Interactions
from palate.data.readers import as_log
from palate.errors import NotFinite, Package, require
from palate.models.settings import settle
from palate.models.weights import within

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

P = ParamSpec("P")
M = TypeVar("M")  # model
R = TypeVar("R", bound="DataclassInstance")  # recipe
F = TypeVar("F", bound="Needing")  # recipe that is fitted


class Needing(Protocol):
    """What `sound` asks of a recipe."""

    def needs(self) -> tuple[Package, ...]:
        """Return the optional packages that a fit takes."""


def settled(check_settings: Callable[[R], None]) -> Callable[[R], None]:
    """Return the `__post_init__` of a recipe that brings its settings into the types of its fields first."""

    @wraps(check_settings)
    def whole_check(recipe: R) -> None:
        settle(recipe)
        check_settings(recipe)

    return whole_check


def sound(fit: Callable[Concatenate[F, Interactions, P], M]) -> Callable[Concatenate[F, Interactions, P], M]:
    """Return the `fit` of a recipe to a log whose weights are `within` what is usual, or to what is read as one.

    It raises `MissingExtra` before any work, and `NotFinite` where numbers are lost on the way. The model knows its
    log, unless the fit is private.
    """

    @wraps(fit)
    def whole_fit(recipe: F, log: Interactions, *given: P.args, **named: P.kwargs) -> M:
        require(recipe.needs())
        events = as_log(log)
        try:
            with np.errstate(over="ignore", invalid="ignore"):  # it shows in the model, which is checked
                model = fit(recipe, within(events), *given, **named)
        except (NotFinite, np.linalg.LinAlgError) as error:
            way = "smaller weights, a lower learning rate or a larger l2 help"
            raise NotFinite(f"{type(recipe).__name__}: the fit diverged: {error}; {way}") from None
        _remember(recipe, model, events)
        return model

    return whole_fit  # type: ignore[return-value]


def _remember(recipe: Any, model: Any, log: Interactions) -> None:
    """Let the model know its log, unless the fit is private; the models that it is made of know none."""
    for each in getattr(model, "models", ()):
        vars(each).pop("log", None)
    vars(model)["log"] = None if recipe.guarantees() else log
