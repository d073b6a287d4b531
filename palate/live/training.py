"""A new model from all that is in the store; it answers only if it is no worse than the one that does."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from palate.data.catalogue import Catalogue
from palate.data.interactions import Interactions
from palate.errors import PalateError
from palate.kernels.clock import clock
from palate.live.catalogue import stored_catalogue
from palate.live.checking import Check, Current, Verdict
from palate.live.forgetting import NEWEST, WEIGHTS, WITHOUT, forget, meanwhile
from palate.live.weights import EVENT_WEIGHTS
from palate.models.base import Recipe, Watch
from palate.models.registry import load, rebuilt
from palate.models.weights import heaviest
from palate.store.events import Store
from palate.store.ledger import spend
from palate.store.recording import now
from palate.store.versions import Version, Versions

LOG = logging.getLogger("palate.live")
UNMEASURED = "private: what a check found on users' events would be told beside the model"


@dataclass(frozen=True)
class Trained:
    """The version made, whether it answers now, and why."""

    version: Version
    activated: bool
    why: str


@dataclass(frozen=True, eq=False)
class Training:
    """What a training reads, once: all events, the attributes of items, and how often users were forgotten before.

    newest  seq of the last event; weights: of event types
    """

    store: Store
    versions: Versions
    log: Interactions
    catalogue: Catalogue
    forgettings: int
    newest: int
    weights: Mapping[str, float]

    @classmethod
    def of(cls, store: Store, versions: Versions, weights: Mapping[str, float] = EVENT_WEIGHTS) -> Training:
        """Read a store."""
        forget(store, versions)
        without, newest = store.forgettings(), store.newest()
        log = store.log(weights, last=newest)
        return cls(store, versions, log, stored_catalogue(store), without, newest, weights)

    @property
    def current(self) -> Current | None:
        """The active version."""
        return _current(self.versions)

    def finish(
        self,
        recipe: Recipe,
        more: Mapping[str, object] = MappingProxyType({}),
        *,
        keep: int = 5,
        watch: Watch | None = None,
        lifetime: float | None = None,
    ) -> Trained:
        """Fit a recipe, and do what `train` says; `more` are facts that the version keeps beside the usual ones."""
        store, versions, catalogue = self.store, self.versions, self.catalogue
        guarantees = recipe.guarantees()
        if guarantees:
            spend(store, recipe.releases(), sum(each.epsilon for each in guarantees), lifetime)
        current, before, moment, began = self.current, versions.list(), now(), clock()
        fitted = recipe.fit(self.log, catalogue, watch=watch)
        model, log, without, left = meanwhile(store, fitted, self.log, self.forgettings)
        if guarantees:
            verdict = Verdict(True, UNMEASURED)
        else:
            verdict = Check(log, catalogue, recipe, model, current, before, moment).verdict()
        about = {
            "recipe": type(recipe).__name__,
            "settings": recipe.settings(),
            "events": len(log),
            "users": len(log.users),
            "items": len(log.items),
            "cut_weights": heaviest(log)[1],
            "until": 0 if log.timestamp is None else min(int(log.timestamp.max()), moment),
            "seconds": round(clock() - began, 3),
            WITHOUT: without,
            NEWEST: self.newest,
            WEIGHTS: dict(self.weights),
            **left,
            "activated": verdict.good,
            "verdict": verdict.why,
            **more,
            **verdict.figures,
        }
        version = versions.add(model.save, about)
        if verdict.good:
            versions.activate(version.number)
        versions.keep(keep)
        forget(store, versions)  # those who were forgotten meanwhile, too
        state = "active" if verdict.good else "not activated"
        LOG.info("model version %d %s: %s", version.number, state, verdict.why)
        return Trained(version, verdict.good, verdict.why)


def train(
    store: Store,
    versions: Versions,
    recipe: Recipe,
    weights: Mapping[str, float] = EVENT_WEIGHTS,
    *,
    keep: int = 5,
    watch: Watch | None = None,
    lifetime: float | None = None,
) -> Trained:
    """Fit a recipe to all events, as a new version; activate it unless it is worse than the active one.

    Measured by NDCG@10 on the newest events that can be asked about: on half of those that came after the active
    model was trained if they are 200 or more, so that neither has seen them; else on an older part, both recipes
    fitted on what came before it. Worse is a 95% interval below 0, or a loss of more than a twentieth. The model
    itself, fitted to all events, may be no worse than the check's own, and among versions of one recipe must show
    lists like theirs. What cannot be measured is not activated, but for the first. `keep` versions are kept, and of
    users that were forgotten they keep nothing (`forget`). Raises `DataError` for a store without an event of weight
    above 0.

    What a recipe, or those within it, releases with noise is entered into the store's ledger before the fit; raises
    `BudgetError` where that would go beyond the budget, `lifetime` or what was set before. Such a model is activated
    without a check.
    """
    return Training.of(store, versions, weights).finish(recipe, keep=keep, watch=watch, lifetime=lifetime)


def _current(versions: Versions) -> Current | None:
    number = versions.answering()
    if number is None:
        return None
    version = versions.get(number)
    try:
        model = load(versions.path(number))
    except PalateError as error:
        LOG.error("the active model, version %d, cannot be loaded: %s", number, error)
        model = None
    try:
        return Current(
            version, model, rebuilt({"name": version.about["recipe"], "settings": version.about["settings"]})
        )
    except (LookupError, TypeError, PalateError):
        return Current(version, model, None if model is None else model.recipe)
