"""Settings of one family: asked of a sampler, tried as they are or within a combination, and noted."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from palate.choosing.samplers import Sampler, sampler_of, settings_of
from palate.choosing.spaces import Family, Settings, changed
from palate.models.base import Recipe


@dataclass(frozen=True)
class Place:
    """A recipe whose settings are sought, and what is tried with each of its changes: itself, or a combination."""

    family: Family
    recipe: Recipe
    within: Callable[[Recipe], Recipe] = lambda changed: changed


class Hunt:
    """The settings of one family: the recipe that they change, and the best metric so far."""

    def __init__(self, place: Place, seed: int, known: Iterable[tuple[Recipe, float]]) -> None:
        self.best = -math.inf
        self._place = place
        self._sampler: Sampler = sampler_of(place.family, seed)
        for recipe, value in known:
            if type(recipe) is type(place.recipe):
                self.note(settings_of(place.family, recipe), value)

    def ask(self) -> Proposal:
        """Return a recipe to try."""
        settings = self._sampler.ask()
        return Proposal(self, settings, self._place.within(changed(self._place.recipe, settings)))

    def note(self, settings: Settings, value: float) -> None:
        """Take the metric of settings."""
        self.best = max(self.best, value)
        self._sampler.note(settings, value)


class Proposal:
    """Settings that were asked for, and the recipe with them."""

    def __init__(self, hunt: Hunt, settings: Settings, recipe: Recipe) -> None:
        self.hunt, self.settings, self.recipe = hunt, settings, recipe

    def note(self, value: float) -> None:
        """Take the metric."""
        self.hunt.note(self.settings, value)
