"""What stages cost and gain: one model, with stages of rising strength behind it, as figures and as a picture."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import TypeAlias

from palate.data.catalogue import Catalogue
from palate.data.splits import Part, Split
from palate.errors import check
from palate.evaluation.lists import ListMetric
from palate.evaluation.picture import Curve, Spot, draw_curves
from palate.evaluation.protocol import Exam, ready
from palate.evaluation.report import Report
from palate.evaluation.tables import Grid
from palate.models.base import Model, Recipe
from palate.ranking.staged import Pipeline
from palate.ranking.stages import Stage

Strengths: TypeAlias = Mapping[float, Stage | str | Sequence[Stage | str]]  # stages by their strength


def sweep(
    subject: Model | Recipe | str,
    split: Split,
    curves: Mapping[str, Strengths],
    k: int = 10,
    *,
    part: Part = "test",
    catalogue: Catalogue | None = None,
    metrics: Iterable[ListMetric] = (),
) -> Sweep:
    """Evaluate a model alone, and with the stages of each curve at each strength behind it.

    curves  by name, as {"calibrate": {s: Calibrate("genres", s) for s in (0.2, 0.4, 0.6)}}
    part, catalogue, metrics  as `evaluate` takes them; a recipe is fitted once

    Raises `SettingError` where there is no curve, or one without a strength.
    """
    check(
        len(curves) > 0 and all(curves.values()), "curves", curves, "must have stages by strength, at least one each"
    )
    given, measured = ready(subject), tuple(metrics)
    exam = Exam.of(split, part)
    model = given.fit(split.train, catalogue) if isinstance(given, Recipe) else given

    def report(subject: Model) -> Report:
        return exam.grade(subject, k, catalogue=catalogue, metrics=measured)

    def staged(stages: Stage | str | Sequence[Stage | str]) -> Model:
        several = (stages,) if isinstance(stages, Stage | str) else tuple(stages)
        return Pipeline(model.recipe, several).behind(model, split.train, catalogue)

    found = {
        name: {strength: report(staged(stages)) for strength, stages in curve.items()}
        for name, curve in curves.items()
    }
    return Sweep(report(model), found)


@dataclass(frozen=True, eq=False)
class Sweep:
    """The report of the model alone, and those of its stages by curve and strength, all on the same users."""

    alone: Report
    curves: dict[str, dict[float, Report]]

    def plot(self, path: str | PathLike[str], against: Sequence[str]) -> None:
        """Draw NDCG against metrics of the lists, a panel each, into a PNG or SVG file.

        against  names of metrics, as "coverage", "intra_list_distance" or "calibration_kl(genres)"

        The bars are the 95% paired intervals of the difference to the model alone; those of all lists together, as
        coverage, have none. Raises `MissingExtra` without matplotlib, `SettingError` for an unknown metric.
        """
        check(len(against) > 0, "against", against, "must name a metric, or several")
        k = self.alone.cuts[0]
        panels = {
            f"{name}@{k}": [
                Curve(
                    curve,
                    [self._spot(self.alone, name, ""), *(self._spot(r, name, f"{s:g}") for s, r in each.items())],
                )
                for curve, each in self.curves.items()
            ]
            for name in against
        }
        subtitle = f"{self.alone.name}, {len(self.alone.users):,} users; bars: 95% paired intervals of the difference"
        draw_curves(path, panels, f"NDCG@{k}", f"{subtitle}; numbers: strength")

    def to_markdown(self, metrics: Sequence[str]) -> str:
        """Return NDCG and these metrics at each strength as a Markdown table."""
        name = f"NDCG@{self.alone.cuts[0]}"
        rows = [["alone", f"{self.alone[name]:.4f}", "", *(f"{self.alone[metric]:.4f}" for metric in metrics)]]
        rows += [
            [
                f"{curve} {strength:g}",
                f"{report[name]:.4f}",
                f"{report[name] / max(self.alone[name], 1e-300) - 1:+.1%}",
                *(f"{report[metric]:.4f}" for metric in metrics),
            ]
            for curve, each in self.curves.items()
            for strength, report in each.items()
        ]
        return Grid(["stage", name, "change", *metrics], rows).markdown()

    def _spot(self, report: Report, metric: str, label: str) -> Spot:
        ndcg = f"NDCG@{report.cuts[0]}"
        return Spot(label, report[metric], report[ndcg], self._bar(report, metric), self._bar(report, ndcg))

    def _bar(self, report: Report, metric: str) -> tuple[float, float] | None:
        full = f"{metric.split('@')[0]}@{report.cuts[0]}"
        if full not in report.per_user or report is self.alone:
            return None
        base, change = self.alone[full], report.minus(self.alone, full)
        return base + change.low, base + change.high
