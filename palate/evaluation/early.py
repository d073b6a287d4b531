"""Early stopping: fit while the validation part still gains."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from palate.bundles.bundle import MANIFEST, read_bundle, write_bundle
from palate.data.catalogue import Catalogue
from palate.data.interactions import Interactions
from palate.data.splits import Split
from palate.errors import check, require, whole
from palate.evaluation.metrics import METRICS
from palate.evaluation.protocol import Exam
from palate.models.base import Model, Progress, Recipe, Watch
from palate.models.registry import load


def fit_until_best(
    recipe: Recipe,
    split: Split,
    catalogue: Catalogue | None = None,
    *,
    metric: str = "NDCG@10",
    patience: int = 3,
    watch: Watch | None = None,
) -> Model:
    """Fit on train and return the model of the epoch that was best on the validation part.

    The fit ends after `patience` epochs without gain, or when `watch` returns True. A recipe without epochs is
    fitted as it is. With a recipe that keeps a `checkpoint` the best model is kept beside it, in a folder of that
    name and `.best`: a killed search goes on to the same result. Raises `DataError` for a split without a validation
    part.
    """
    return best_epoch(recipe, split, catalogue, metric=metric, patience=patience, watch=watch)[0]


def best_epoch(
    recipe: Recipe,
    split: Split,
    catalogue: Catalogue | None = None,
    *,
    metric: str = "NDCG@10",
    patience: int = 3,
    watch: Watch | None = None,
) -> tuple[Model, int]:
    """Fit as `fit_until_best`; returns the number of the epoch too, 0 for a recipe without epochs."""
    whole("patience", patience)
    name, _, k = metric.partition("@")
    check(name in METRICS and k.isdigit(), "metric", metric, f"is one of {', '.join(METRICS)} with a k, as NDCG@10")
    require(recipe.needs())
    checkpoint = getattr(recipe, "checkpoint", None)
    folder = None if checkpoint is None else Path(f"{checkpoint}.best")
    search = _Search(Exam.of(split, "valid"), metric, int(k), patience, watch, folder)
    last = recipe.fit(split.train, catalogue, watch=search)
    if search.best is None:
        return last, 0
    search.best.remember(last.log)
    return search.best, search.best_epoch


def fit_epochs(
    recipe: Recipe, log: Interactions, catalogue: Catalogue | None, epochs: int, watch: Watch | None = None
) -> Model:
    """Fit a recipe to a log for so many of its epochs; 0: all. A `checkpoint` is kept beside that of a search."""
    checkpoint = getattr(recipe, "checkpoint", None)
    own = {} if checkpoint is None else {"checkpoint": f"{checkpoint}.whole"}
    aside = replace(recipe, **own)

    def seen(progress: Progress) -> bool:
        stopped = watch is not None and watch(progress) is True
        return stopped or (progress.model is not None and progress.epoch == epochs)

    return aside.fit(log, catalogue, watch=seen if epochs else watch)


class _Search:
    """The watch that grades every epoch; it keeps the best model and says when to stop."""

    best: Model | None
    best_value: float
    best_epoch: int

    def __init__(
        self, exam: Exam, metric: str, k: int, patience: int, watch: Watch | None, folder: Path | None
    ) -> None:
        self.exam, self.metric, self.k, self.patience, self.watch = exam, metric, k, patience, watch
        self.folder = folder
        self._forget()
        if folder is not None and (folder / MANIFEST).is_file():
            kept = read_bundle(folder).about.get("best", {})
            if kept.get("metric") == metric:
                self.best, self.best_value, self.best_epoch = load(folder), kept["value"], kept["epoch"]

    def _forget(self) -> None:
        self.best, self.best_value, self.best_epoch = None, float("-inf"), 0

    def __call__(self, progress: Progress) -> bool:
        stopped = self.watch is not None and self.watch(progress) is True
        if progress.model is None:
            return stopped
        if progress.epoch == 1:
            self._forget()  # that of another fit
        model = progress.model
        value = self.exam.grade(model, self.k)[self.metric]
        if value > self.best_value:
            self.best, self.best_value, self.best_epoch = model, value, progress.epoch
            self._keep(model)
        return stopped or progress.epoch - self.best_epoch >= self.patience

    def _keep(self, model: Model) -> None:
        if self.folder is not None:
            parts, about = model.written()
            best = {"metric": self.metric, "value": self.best_value, "epoch": self.best_epoch}
            write_bundle(self.folder, parts, about | {"best": best})
