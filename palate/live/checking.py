"""The verdict on a new model before it answers: measured itself, and against the one that does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from palate.bundles.bundle import About
from palate.data.catalogue import Catalogue
from palate.data.histories import Histories
from palate.data.interactions import Interactions
from palate.data.rankings import Rankings
from palate.errors import PalateError
from palate.evaluation.intervals import Difference
from palate.evaluation.protocol import Exam
from palate.evaluation.report import Report
from palate.live.questions import new_part, newest_part, until_now
from palate.models.base import Model, Recipe
from palate.store.versions import Version

METRIC = "NDCG@10"
K = 10
TOLERANCE = 0.05  # part of the metric that a model may lose by chance
SAMPLE = 200  # users whose lists are compared with those of the model before
OVERLAP = 1 / 3  # of the lowest overlap of versions before, which a new one must reach
SPREAD = 10.0  # times beyond the spread of the scores of versions before, where that of a new one may lie
NOTHING_ASKED = "no event can be asked about: each is the first of a user or item, a repeat, or of weight 0 or less"


@dataclass(frozen=True, eq=False)
class Current:
    """The active version; its model, None for a damaged one, and its recipe as it was asked for."""

    version: Version
    model: Model | None
    recipe: Recipe | None

    @property
    def until(self) -> int | None:
        """Time of the newest event that the model has seen, one that was still to come as the time of training."""
        until = self.version.about.get("until")
        return min(until, self.version.created) if isinstance(until, int) and self.model is not None else None


@dataclass(frozen=True)
class Verdict:
    """Whether a model may answer, why, and the figures that its version keeps."""

    good: bool
    why: str
    figures: About = field(default_factory=dict)

    def and_then(self, other: Verdict) -> Verdict:
        """Return both in one."""
        why = "; ".join(filter(None, (self.why, other.why)))
        return Verdict(self.good and other.good, why, {**self.figures, **other.figures})


@dataclass(frozen=True, eq=False)
class Check:
    """The check of a model of `recipe`, fitted to all of `log` and the attributes of items.

    current  the version that answers, None for the first of a store
    before   all versions that there are
    now      microseconds since 1970 UTC; no event is newer in the check
    """

    log: Interactions
    catalogue: Catalogue
    recipe: Recipe
    model: Model
    current: Current | None
    before: Sequence[Version]
    now: int

    def verdict(self) -> Verdict:
        """Measure the model. An error is a verdict too, and not a good one where another model answers."""
        sample = _sample(self.log)
        if not _finite(self.model, sample):
            return Verdict(False, "it has scores that are not finite")
        return self._measured().and_then(self._likened(sample))

    def _measured(self) -> Verdict:
        log = until_now(self.log, self.now)
        until = None if self.current is None else self.current.until
        fresh = None if until is None else new_part(log, until)
        exam = fresh or newest_part(log)
        if exam is None:
            return self._unmeasured(NOTHING_ASKED)
        try:
            report = exam.grade(self.recipe, K, catalogue=self.catalogue)
            compared = self._compared(exam, report, as_it_is=fresh is not None)
            return compared.and_then(self._itself(exam, report))
        except PalateError as error:
            return self._unmeasured(str(error))

    def _unmeasured(self, why: str) -> Verdict:
        if self.current is None:
            return Verdict(True, f"it is the first, and there was too little to measure it on ({why})")
        number = self.current.version.number
        return Verdict(False, f"it could not be measured ({why}), so version {number} stays")

    def _compared(self, exam: Exam, report: Report, *, as_it_is: bool) -> Verdict:
        """Compare the recipe, fitted to what came before, with the current model as it is, or with its recipe."""
        figures: dict[str, object] = {"people": len(report.users)}
        figures["metrics"] = {name: _interval(report, name) for name in (METRIC, "Recall@10", "coverage@10")}
        if self.current is None:
            return Verdict(True, f"it is the first: {METRIC} {report[METRIC]:.4f}", figures)
        number = self.current.version.number
        subject = self.current.model if as_it_is else self.current.recipe
        if subject is None:
            return Verdict(False, f"version {number} cannot be loaded, and its recipe is unknown", figures)
        # One recipe on the same events is one model, even where threads make each fit a little different.
        other = report if subject == self.recipe else exam.grade(subject, K, catalogue=self.catalogue)
        difference = report.minus(other, METRIC)
        worse = _worse(difference, other)
        how = "worse than" if worse else "no worse than"
        why = f"{METRIC} {report[METRIC]:.4f} is {how} the {other[METRIC]:.4f} of version {number}: {difference}"
        figures |= {"against": number, "difference": [difference.mean, difference.low, difference.high]}
        return Verdict(not worse, why, figures)

    def _itself(self, exam: Exam, report: Report) -> Verdict:
        """Measure the model that will answer: it has seen more than the check's own, also what the check asks for.

        Among the items of the check's own, since those that came later were never right. Of a first model only a
        clear loss counts: without it there is none.
        """
        itself = exam.grade(self.model, K, only=report.model.items.ids)
        difference = itself.minus(report, METRIC)
        worse = difference.high < 0 if self.current is None else _worse(difference, report)
        why = f"fitted to all events it reaches only {itself[METRIC]:.4f}: {difference}" if worse else ""
        return Verdict(not worse, why, {"itself": itself[METRIC]})

    def _likened(self, sample: Histories) -> Verdict:
        """Compare lists and scores with those that versions of the same recipe had."""
        lists = self.model.recommend(sample, K)
        spread, current = _spread(lists), self.current
        figures: dict[str, object] = {"spread": spread}
        if current is None or current.model is None or current.recipe != self.recipe:
            return Verdict(True, "", figures)  # another recipe is judged by measurement alone
        figures["overlap"] = overlap = _overlap(lists, current.model.recommend(sample, K))
        alike = [each.about for each in self.before if _same_recipe(each, current.version)]
        overlaps = [about["overlap"] for about in alike if "overlap" in about]
        spreads = [about["spread"] for about in alike if "spread" in about]
        if not overlaps:
            return Verdict(True, "", figures)
        if overlap < OVERLAP * min(overlaps):
            why = f"its lists share {overlap:.0%} with those of version {current.version.number}, where"
            return Verdict(False, f"{why} versions before shared {min(overlaps):.0%} or more", figures)
        if max(spreads) and not min(spreads) / SPREAD <= spread <= max(spreads) * SPREAD:
            why = f"its scores spread by {spread:.3g}, where those of versions before spread by"
            return Verdict(False, f"{why} {min(spreads):.3g} to {max(spreads):.3g}", figures)
        return Verdict(True, "", figures)


def _worse(difference: Difference, than: Report) -> bool:
    return difference.high < 0 or difference.mean < -TOLERANCE * than[METRIC]


def _interval(report: Report, metric: str) -> list[float]:
    bounds = report.interval(metric) if metric in report.per_user else ()
    return [report[metric], *bounds]


def _same_recipe(one: Version, other: Version) -> bool:
    """Whether both answered, and were asked for by the same recipe."""
    return bool(one.about.get("activated")) and all(
        one.about.get(name) == other.about.get(name) for name in ("recipe", "settings")
    )


def _sample(log: Interactions) -> Histories:
    """Histories of users of the log, as far apart as can be."""
    row = np.unique(np.linspace(0, len(log.users) - 1, min(SAMPLE, len(log.users))).astype(np.int64))
    return log.histories(log.users.ids.gather(row))


def _finite(model: Model, sample: Histories) -> bool:
    asked, step = model.histories(sample), model.batch_size()
    blocks = (asked.block(low, min(low + step, len(asked))) for low in range(0, len(asked), step))
    return all(bool(np.isfinite(model.scores(block)).all()) for block in blocks)


def _spread(lists: Rankings) -> float:
    """Take the standard deviation of the scores listed, 0 where nothing is left to list."""
    listed = lists.score[lists.item >= 0]
    return float(np.std(listed, dtype=np.float64)) if len(listed) else 0.0


def _overlap(one: Rankings, other: Rankings) -> float:
    """Mean share of the items that two lists of a user have in common; two empty lists say nothing."""
    pairs = [(set(mine), set(theirs)) for mine, theirs in zip(one.lists(), other.lists(), strict=True)]
    shares = [len(mine & theirs) / max(len(mine), len(theirs)) for mine, theirs in pairs if mine or theirs]
    return float(np.mean(shares)) if shares else 1.0
