"""Several models on one split: a table, differences to the first, and a picture."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, replace
from os import PathLike

from rich.console import Group, RenderableType

from palate.data.catalogue import Catalogue, as_catalogue
from palate.data.splits import Part, Split
from palate.data.vocabulary import Id, Vocabulary
from palate.errors import SettingError, check
from palate.evaluation.intervals import Difference
from palate.evaluation.lists import ListMetric
from palate.evaluation.picture import Point, draw
from palate.evaluation.protocol import Exam, Hidden, ready
from palate.evaluation.report import Report
from palate.evaluation.tables import Grid, page, plain
from palate.models.bars import followed
from palate.models.base import Model, Recipe, Watch


def compare(
    subjects: Sequence[Recipe | Model | str] | Mapping[str, Recipe | Model | str],
    split: Split,
    k: int | Sequence[int] = (10, 20),
    *,
    part: Part = "test",
    catalogue: Catalogue | None = None,
    only: Iterable[Id] | None = None,
    relevant: Iterable[str] | None = None,
    keep_seen: bool = False,
    hide: Hidden | None = None,
    metrics: Iterable[ListMetric] = (),
    watch: Watch | None = None,
    progress: bool = False,
) -> Comparison:
    """Evaluate each recipe or model on the same users, in the order given; the first is what others are measured by.

    part, catalogue, only, relevant, keep_seen, hide, metrics, progress  as `evaluate` takes them

    Names are the keys of a mapping, else the recipes' own, with the settings in which two of a kind differ. Raises
    `MissingExtra`, before the first fit, for a recipe whose packages are not installed.
    """
    if isinstance(subjects, str) or not isinstance(subjects, Sequence | Mapping):
        raise SettingError(
            f"subjects is a {type(subjects).__name__}; give recipes or models in a list or by their names"
        )
    check(len(subjects) > 0, "subjects", subjects, "at least one recipe or model must be given")
    if isinstance(subjects, Mapping):
        named = {name: ready(subject) for name, subject in subjects.items()}
    else:
        named = _named([*map(ready, subjects)])
    exam = Exam.of(split, part, relevant=relevant, keep_seen=keep_seen, hide=hide)
    ranked = None if only is None else Vocabulary.series(only, "only")
    content, measured = as_catalogue(catalogue), tuple(metrics)
    reports = {}
    for name, subject in named.items():
        with followed(f"fitting {name}", watch, progress and isinstance(subject, Recipe)) as following:
            reports[name] = exam.grade(subject, k, catalogue=content, only=ranked, metrics=measured, watch=following)
    return Comparison(reports)


@dataclass(frozen=True, eq=False)
class Comparison:
    """Reports by name, all on the same users; the first is the yardstick."""

    reports: dict[str, Report]

    def __getitem__(self, name: str) -> Report:
        check(name in self.reports, "name", name, f"is one of {', '.join(self.reports)}")
        return self.reports[name]

    @property
    def first(self) -> str:
        """Name of the yardstick."""
        return next(iter(self.reports))

    def difference(self, name: str, metric: str | None = None) -> Difference:
        """Return this one minus the first (NDCG at the first k unless named), with its paired interval."""
        return self[name].minus(self.reports[self.first], metric)

    def to_dict(self) -> dict[str, object]:
        """Return all reports and the differences to the first, ready for JSON."""
        return {
            "first": self.first,
            "models": {name: report.to_dict() for name, report in self.reports.items()},
            "differences": {
                name: {"metric": self._metric, "mean": d.mean, "low": d.low, "high": d.high, "clear": d.clear}
                for name, d in ((name, self.difference(name)) for name in self.reports if name != self.first)
            },
        }

    def to_markdown(self) -> str:
        """Return the table and its protocol as Markdown."""
        notes = "\n".join(f"- {line}" for line in self._notes())
        return f"{self._grid().markdown()}\n\n{notes}\n"

    def __rich__(self) -> RenderableType:
        return Group(self._grid().rich(), "", "\n".join(self._notes()))

    def __str__(self) -> str:
        return plain(self)

    def __repr__(self) -> str:
        return f"Comparison({', '.join(self.reports)}: {len(self.reports[self.first].users):,} users)"

    def _repr_html_(self) -> str:
        """Return what `to_markdown` does as HTML, which a notebook shows."""
        return f"{self._grid().html()}{page('', self._notes())}"

    def plot(self, path: str | PathLike[str]) -> None:
        """Draw accuracy against training time into a PNG or SVG file; models that came fitted are left out.

        Raises `MissingExtra` without matplotlib, `SettingError` when no training time is known.
        """
        points = [
            Point(name, report.fit_seconds, report[self._metric], report.interval(self._metric), report["coverage"])
            for name, report in self.reports.items()
            if report.fit_seconds is not None
        ]
        check(bool(points), "path", str(path), "nothing to draw; give recipes, not models, to know training times")
        subtitle = f"{len(self.reports[self.first].users):,} users; bars: 95% intervals"
        draw(path, points, self._metric, f"{self._split_line()}\n{subtitle}")

    @property
    def _metric(self) -> str:
        return f"NDCG@{self.reports[self.first].cuts[0]}"

    def _split_line(self) -> str:
        return next(line for line in self.reports[self.first].protocol if line.startswith("split: "))[7:]

    def _notes(self) -> list[str]:
        first = self.reports[self.first]
        counts = [f"left out: {count:,} {reason}" for reason, count in first.counts.items()]
        return [
            f"{len(first.users):,} users; the difference is to {self.first}, * where its 95% interval excludes 0",
            "±: half the width of the 95% interval",
            "s/1000 users: seconds to rank for a thousand users",
            *first.protocol,
            *dict.fromkeys(line for report in self.reports.values() for line in report.notes),
            *counts,
        ]

    def _grid(self) -> Grid:
        cuts = self.reports[self.first].cuts
        others = [f"Recall@{cuts[-1]}", f"coverage@{cuts[-1]}"]
        header = ["model", self._metric, "difference", *others, "fit, s", "s/1000 users"]
        rows = []
        for name, report in self.reports.items():
            gain = self.difference(name)
            rows.append(
                [
                    name,
                    f"{report[self._metric]:.4f} {_half(*report.interval(self._metric))}",
                    "" if name == self.first else f"{gain.mean:+.4f} {_half(gain.low, gain.high)}{' *' * gain.clear}",
                    *(f"{report[metric]:.4f}" for metric in others),
                    "" if report.fit_seconds is None else f"{report.fit_seconds:.3g}",
                    f"{report.recommend_seconds:.3g}",
                ]
            )
        return Grid(header, rows)


def _half(low: float, high: float) -> str:
    return f"±{(high - low) / 2:.4f}"


def _named(subjects: list[Recipe | Model]) -> dict[str, Recipe | Model]:
    """Name each by its recipe's class and, where two of a class differ, its settings that are not the default."""
    recipes = [subject if isinstance(subject, Recipe) else subject.recipe for subject in subjects]
    named: dict[str, Recipe | Model] = {}
    for subject, recipe in zip(subjects, recipes, strict=True):
        kin = [other for other in recipes if type(other) is type(recipe)]
        name = " ".join([type(recipe).__name__, *_differences(recipe, kin)])
        same = sum(other == name or other.startswith(f"{name} #") for other in named)
        named[f"{name} #{same + 1}" if same else name] = subject
    return named


def _differences(recipe: Recipe, kin: list[Recipe]) -> list[str]:
    usual = replace(recipe, **{each.name: each.default for each in fields(recipe) if each.default is not MISSING})
    return [
        f"{each.name}={getattr(recipe, each.name)}"
        for each in fields(recipe)
        if getattr(recipe, each.name) != getattr(usual, each.name)
        and any(getattr(recipe, each.name) != getattr(other, each.name) for other in kin)
    ]
