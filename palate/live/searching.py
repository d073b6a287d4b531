"""The recipe of a service's next training where none is named: a whole search, then a little one each time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from palate.bundles.bundle import About
from palate.choosing.choice import chosen_recipe, refined_recipe
from palate.choosing.report import ChoiceReport
from palate.choosing.session import StepWatch
from palate.live.training import Training
from palate.models.base import Recipe
from palate.models.registry import as_recipe
from palate.ranking.staged import Pipeline
from palate.store.versions import CHOICE

JOURNAL = "search.db"  # in the folder of the models


@dataclass(frozen=True)
class Chosen:
    """A recipe, facts for its version, and the report where a search was made."""

    recipe: Recipe
    about: About
    report: ChoiceReport | None


@dataclass(frozen=True)
class Searching:
    """How a service searches.

    settings  of `palate.choosing.choice.chosen_recipe`: `minutes` of a whole search among them
    share     of the seconds of a training that later searches take, around the recipe in use; None: whole searches
    """

    settings: About
    share: float | None = None

    def chosen(self, training: Training, watch: StepWatch | None = None) -> Chosen:
        """Search a little around the recipe in use where a whole search has found it, and else all recipes.

        What a training gives that is too little for a search is saved for the next one.
        """
        start, before = in_use(training)
        share = self.share
        if share is None or start is None or before.get("minutes", 0.0) < self.settings["minutes"]:
            return self._whole(training, watch)
        latest = max(training.versions.list(), key=lambda version: version.number).about
        seconds = share * float(latest.get("seconds", 0.0)) + float(latest.get(CHOICE, {}).get("saved", 0.0))
        settings = {name: value for name, value in self.settings.items() if name != "minutes"}
        report = refined_recipe(
            training.log,
            training.catalogue,
            start,
            seconds=seconds,
            journal=self._journal(training),
            watch=watch,
            live=True,
            **settings,
        )
        if report is None:
            return Chosen(start, {CHOICE: {**before, "saved": round(seconds, 3)}}, None)
        return Chosen(
            report.recipe, {CHOICE: {**report.to_brief(), "minutes": before["minutes"], "saved": 0.0}}, report
        )

    def _whole(self, training: Training, watch: StepWatch | None) -> Chosen:
        recipe, report = chosen_recipe(
            training.log,
            training.catalogue,
            journal=self._journal(training),
            watch=watch,
            live=True,
            **self.settings,
        )
        return Chosen(
            recipe, {CHOICE: {**report.to_brief(), "minutes": self.settings["minutes"], "saved": 0.0}}, report
        )

    def _journal(self, training: Training) -> Path:
        folder = training.versions.folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder / JOURNAL


def in_use(training: Training) -> tuple[Recipe | None, About]:
    """Return the recipe of the active version without its stages, and what the version keeps of its search."""
    current = training.current
    if current is None or current.recipe is None:
        return None, {}
    recipe = as_recipe(current.recipe.recipe) if isinstance(current.recipe, Pipeline) else current.recipe
    return recipe, current.version.about.get(CHOICE, {})
