"""Early stopping: fit while the validation part still gains."""

from __future__ import annotations

from palate.data.catalogue import Catalogue
from palate.data.splits import Split
from palate.errors import check
from palate.evaluation.metrics import METRICS
from palate.evaluation.protocol import Exam
from palate.models.base import Model, Progress, Recipe, Watch


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
    fitted as it is. Raises `DataError` for a split without a validation part.
    """
    check(patience >= 1, "patience", patience, "is a number of epochs, 1 or more")
    name, _, k = metric.partition("@")
    check(name in METRICS and k.isdigit(), "metric", metric, f"is one of {', '.join(METRICS)} with a k, as NDCG@10")
    search = _Search(Exam.of(split, "valid"), metric, int(k), patience, watch)
    last = recipe.fit(split.train, catalogue, watch=search)
    return last if search.best is None else search.best


class _Search:
    """The watch that grades every epoch; it keeps the best model and says when to stop."""

    def __init__(self, exam: Exam, metric: str, k: int, patience: int, watch: Watch | None) -> None:
        self.exam, self.metric, self.k, self.patience, self.watch = exam, metric, k, patience, watch
        self.best: Model | None = None
        self.best_value = float("-inf")
        self.without_gain = 0

    def __call__(self, progress: Progress) -> bool:
        stopped = self.watch is not None and self.watch(progress) is True
        if progress.model is None:
            return stopped
        model = progress.model
        value = self.exam.grade(model, self.k)[self.metric]
        self.without_gain += 1
        if value > self.best_value:
            self.best, self.best_value, self.without_gain = model, value, 0
        return stopped or self.without_gain >= self.patience
