"""A little search around a recipe that is in use: what a training of a live service can afford beside its fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from palate.choosing.bench import Bench, Enough, Part
from palate.choosing.hunts import Hunt, Place
from palate.choosing.journal import text_of
from palate.choosing.spaces import changed, named
from palate.choosing.verdict import Record, Verdict
from palate.choosing.worker import POPULARITY
from palate.ending import lift
from palate.models.base import Recipe
from palate.models.registry import recipe_class

TRIALS = 4  # that the time must have room for, the recipe in use among them
SMALLEST = 20_000  # events of the smallest part of a log that says anything


def places(recipe: Recipe) -> list[Place]:
    """Return the recipe, or the recipes that it combines, as far as their settings can be sought."""
    own = named(type(recipe).__name__)
    if own is not None:
        return [Place(own, recipe)]
    parts: Sequence[Recipe] = getattr(recipe, "recipes", ())
    found = []
    for n, each in enumerate(parts):
        family = named(type(each).__name__)
        if family is not None:
            found.append(Place(family, each, _put(recipe, parts, n)))
    return found


def _put(recipe: Recipe, parts: Sequence[Recipe], n: int) -> Callable[[Recipe], Recipe]:
    return lambda other: changed(recipe, {"recipes": (*parts[:n], other, *parts[n + 1 :])})


class Refinement:
    """Trials around one recipe on the largest part of the log that the time has room for."""

    def __init__(self, bench: Bench, parts: Sequence[Part], start: Recipe, seed: int) -> None:
        self.bench, self.start, self._seed = bench, start, seed
        seconds = max(0.0, bench.left)
        able = [each for each in parts if TRIALS * bench.trial(start, each) <= bench.width * seconds]
        self.part = max(able, key=lambda each: each.number, default=None)

    def run(self, known: Sequence[tuple[Recipe, float]]) -> None:
        """Try the recipe in use, then others, until the time is over; nothing where it has no room for trials.

        known  what earlier searches found, on other logs: recipes, each with its metric over the best of its search
        """
        part = self.part
        if part is None:
            return
        try:
            first = self.bench.grade([self.start, recipe_class(POPULARITY)(), *self._promising(known)], part)
            if not first[0].outcome.error:
                self._hunt(part, first[0], known)
        except Enough:
            return
        except KeyboardInterrupt:
            lift()

    def _promising(self, known: Sequence[tuple[Recipe, float]]) -> list[Recipe]:
        """Return the recipe that was best in most of the searches before, where it is not the one in use."""
        best = [text_of(recipe) for recipe, share in known if share == 1.0]
        most = max(set(best), key=best.count, default=None)
        return [r for r, _ in known if text_of(r) == most and r != self.start][:1]

    def _hunt(self, part: Part, first: Record, known: Sequence[tuple[Recipe, float]]) -> None:
        own = first.outcome.mean
        results = [(self.start, own), *((recipe, share * own) for recipe, share in known)]
        hunts = [Hunt(each, self._seed, results) for each in places(self.start)]
        while hunts:
            batch = [hunt.ask() for hunt in (hunts * self.bench.width)[: self.bench.width]]
            able = [asked for asked in batch if not self.bench.refusal(asked.recipe, part)]
            if not able:
                return
            if not self.bench.grade([asked.recipe for asked in able], part):
                return  # all of them were tried before
            for asked in able:
                asked.note(self._of(asked.recipe, part))

    def _of(self, recipe: Recipe, part: Part) -> float:
        return next(r.outcome.mean for r in self.bench.records if r.recipe == recipe and r.part == part.number)

    def verdict(self) -> Verdict | None:
        """Take the best recipe that is clearly better than the one in use, else that; None without a trial of it."""
        ranked = [] if self.part is None else self.bench.best(self.part)
        own = next((each for each in ranked if each.recipe == self.start), None)
        if own is None:
            return None
        popular = next((each for each in ranked if each.name == POPULARITY), None)
        better = next((each for each in ranked if each is not own and each.minus(own).low > 0), None)
        if better is None:
            why = f"none of {len(ranked) - 1} others is clearly better than the recipe in use, which stays"
            return Verdict(own, ranked[0], popular, why)
        return Verdict(better, ranked[0], popular, f"it is better than the recipe in use by {better.minus(own)}")
