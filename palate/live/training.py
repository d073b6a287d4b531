"""A new model from all that is in the store; it answers only if it is no worse than the one that does."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from palate.data.catalogue import Catalogue
from palate.data.interactions import Interactions
from palate.data.splits import Split, split_by_time, split_ratio
from palate.errors import BundleError, DataError
from palate.evaluation.intervals import Difference
from palate.evaluation.protocol import Exam
from palate.evaluation.report import Report
from palate.live.catalogue import all_told
from palate.live.weights import EVENT_WEIGHTS
from palate.models.base import Model, Recipe, Watch
from palate.models.saved import load
from palate.models.weights import heaviest
from palate.store.events import Store
from palate.store.versions import Version, Versions

LOG = logging.getLogger("palate.live")
METRIC = "NDCG@10"
SHARE = 0.1  # newest part of the events that a first model is measured on
ENOUGH = 200  # new events that a model can be measured on
TOLERANCE = 0.05  # part of the metric that a model may lose by chance


@dataclass(frozen=True)
class Trained:
    """The version made, whether it answers now, and why."""

    version: Version
    activated: bool
    why: str


def train(
    store: Store,
    versions: Versions,
    recipe: Recipe,
    weights: Mapping[str, float] = EVENT_WEIGHTS,
    *,
    keep: int = 5,
    watch: Watch | None = None,
) -> Trained:
    """Fit a recipe to all events, as a new version; activate it unless it is worse than the active one.

    Measured by NDCG@10 on the newest events: on half of those that came after the active model was trained if they
    are `ENOUGH`, so that neither has seen them; else on the newest tenth, both recipes fitted on the rest. Worse is a
    95% interval below 0, or a loss of more than a twentieth. `keep` versions are kept. Raises `DataError` for a store
    without an event of weight above 0.
    """
    log = store.log(weights)
    current = _active(versions)
    told = all_told(store)
    verdict = _compare(log, told, recipe, current)
    model = recipe.fit(log, told, watch=watch)
    about = {
        "recipe": type(recipe).__name__,
        "settings": recipe.settings(),
        "events": len(log),
        "users": len(log.users),
        "items": len(log.items),
        "cut_weights": heaviest(log)[1],
        "until": 0 if log.timestamp is None else int(log.timestamp.max()),
        **verdict.told(),
    }
    version = versions.add(model.save, about)
    if verdict.good:
        versions.activate(version.number)
    versions.keep(keep)
    LOG.info("model version %d %s: %s", version.number, "active" if verdict.good else "not activated", verdict.why)
    return Trained(version, verdict.good, verdict.why)


@dataclass(frozen=True)
class _Current:
    version: Version
    model: Model


@dataclass(frozen=True)
class _Verdict:
    good: bool
    why: str
    report: Report | None = None
    difference: Difference | None = None
    against: int | None = None

    def told(self) -> dict[str, Any]:
        told: dict[str, Any] = {"verdict": self.why}
        if self.report is not None:
            told["people"] = len(self.report.users)
            told["metrics"] = {name: _interval(self.report, name) for name in (METRIC, "Recall@10", "coverage@10")}
        if self.difference is not None:
            told["against"] = self.against
            told["difference"] = [self.difference.mean, self.difference.low, self.difference.high]
        return told


def _interval(report: Report, metric: str) -> list[float]:
    bounds = report.interval(metric) if metric in report.per_user else ()
    return [report[metric], *bounds]


def _active(versions: Versions) -> _Current | None:
    number = versions.active()
    if number is None:
        return None
    try:
        return _Current(versions.get(number), load(versions.path(number)))
    except BundleError as error:
        LOG.error("the active model, version %d, cannot be compared with: %s", number, error)
        return None


def _compare(log: Interactions, told: Catalogue, recipe: Recipe, current: _Current | None) -> _Verdict:
    fresh = None if current is None else _fresh(log, current)
    try:
        exam = Exam.of(fresh or _newest(log))
        report = exam.grade(recipe, 10, catalogue=told)
    except DataError as error:
        return _Verdict(True, f"there was too little to measure it on ({error})")
    if current is None:
        return _Verdict(True, "it is the first", report)
    other = exam.grade(current.model if fresh else current.model.recipe, 10, catalogue=told)
    difference = report.minus(other, METRIC)
    number = current.version.number
    worse = difference.high < 0 or difference.mean < -TOLERANCE * other[METRIC]
    how = "worse than" if worse else "no worse than"
    why = f"{METRIC} {report[METRIC]:.4f} is {how} the {other[METRIC]:.4f} of version {number}: {difference}"
    return _Verdict(not worse, why, report, difference, number)


def _fresh(log: Interactions, current: _Current) -> Split | None:
    """Cut in the middle of what the active model has not seen; None if that is too little."""
    until = current.version.about.get("until")
    if log.timestamp is None or not isinstance(until, int):
        return None
    new = int((log.timestamp > until).sum())
    if new < ENOUGH:
        return None
    try:
        return split_by_time(log, test=new / 2 / len(log))
    except DataError:
        return None


def _newest(log: Interactions) -> Split:
    try:
        return split_by_time(log, test=SHARE)
    except DataError:  # all events have one time
        return split_ratio(log, test=SHARE)
