"""What is done around every recipe: settings get their types before their check, and a fit that diverges says so."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar, cast

import numpy as np

from palate.data.catalogue import as_catalogue
from palate.data.interactions import Interactions
from palate.data.readers import as_log
from palate.data.times import seconds_text
from palate.errors import NotFinite, Package, require
from palate.kernels.clock import clock
from palate.models.settings import brief, settle
from palate.models.weights import within
from palate.training.progress import Budget

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

LOG = logging.getLogger("palate.models")
P = ParamSpec("P")
M = TypeVar("M", bound="Remembering")
R = TypeVar("R", bound="DataclassInstance")  # recipe
F = TypeVar("F", bound="Needing")  # recipe that is fitted


class Needing(Protocol):
    """What `sound` asks of a recipe."""

    def needs(self) -> tuple[Package, ...]:
        """Return the optional packages that a fit takes."""

    def guarantees(self) -> tuple[Any, ...]:
        """Return what is proven of private fits."""


class Executor(Protocol):
    """A cluster: fits recipes, and ranks for many users."""

    def fit(self, recipe: Any, log: object, catalogue: object = None, *, watch: Any = None) -> Any:
        """Return the model."""

    def rank(self, model: Any, histories: Any, depth: int, **question: Any) -> Any:
        """Return the lists of B histories as rows of the model's items, (B, depth), -1 past the end of a list."""


class Remembering(Protocol):
    """What `sound` asks of a model."""

    def remember(self, log: Interactions | None) -> None:
        """Let the model know its log."""


def settled(check_settings: Callable[[R], None]) -> Callable[[R], None]:
    """Return the `__post_init__` of a recipe that brings its settings into the types of its fields first."""

    @wraps(check_settings)
    def whole_check(recipe: R) -> None:
        settle(recipe)
        check_settings(recipe)

    return whole_check


def sound(fit: Callable[Concatenate[F, Interactions, P], M]) -> Callable[Concatenate[F, Interactions, P], M]:
    """Return the `fit` of a recipe to a log whose weights are `within` what is usual, or to what is read as one.

    It raises `MissingExtra` before any work, and `NotFinite` where numbers are lost on the way. A catalogue may be a
    frame; `progress=True` draws a bar, `seconds` are a `Budget`. The model knows its log, unless the fit is private.
    With an `executor` the work is done there, see `palate.cluster`.
    """

    @wraps(fit)
    def whole_fit(
        recipe: F,
        log: Interactions,
        *given: Any,
        progress: bool = False,
        seconds: float | None = None,
        executor: Executor | None = None,
        **named: Any,
    ) -> M:
        if seconds is not None:
            named["watch"] = Budget(seconds, named.get("watch"))
        if progress:
            from palate.models.bars import FitBar  # nothing else here needs rich

            with FitBar(f"fitting {type(recipe).__name__}") as bar:
                watched = named | {"watch": bar.beside(named.get("watch"))}
                return whole_fit(recipe, log, *given, executor=executor, **watched)
        if executor is not None:
            return cast("M", executor.fit(recipe, log, *given, **named))
        require(recipe.needs())
        events = as_log(log)
        if given:
            given = (as_catalogue(given[0]), *given[1:])
        elif "catalogue" in named:
            named["catalogue"] = as_catalogue(named["catalogue"])
        began = clock()
        try:
            with np.errstate(over="ignore", invalid="ignore"):  # it shows in the model, which is checked
                model = fit(recipe, within(events), *given, **named)
        except (NotFinite, np.linalg.LinAlgError) as error:
            way = "smaller weights, a lower learning rate or a larger l2 help"
            raise NotFinite(f"{type(recipe).__name__}: the fit diverged: {error}; {way}") from None
        LOG.info(
            "%s fitted to %s events in %s",
            brief(cast("Any", recipe)),
            f"{len(events):,}",
            seconds_text(clock() - began),
        )
        model.remember(None if recipe.guarantees() else events)
        return model

    return whole_fit  # type: ignore[return-value]
