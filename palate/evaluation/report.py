"""What an evaluation found: metrics with intervals, by group, and the protocol they were measured under."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import polars as pl
from rich.console import Group, RenderableType

from palate.arrays import Doubles
from palate.errors import DataError, check
from palate.evaluation.intervals import Difference, bootstrap, paired
from palate.evaluation.tables import Grid, page, plain
from palate.models.base import Model


@dataclass(frozen=True, eq=False)
class Scores:
    """Metrics of B users, `{"NDCG@10": (B,), ...}`; an item is the mean, a name without k means the largest k."""

    per_user: dict[str, Doubles]

    def __len__(self) -> int:
        return len(next(iter(self.per_user.values())))

    def __getitem__(self, metric: str) -> float:
        return float(self.per_user[_full_name(metric, self.per_user)].mean())

    def interval(self, metric: str) -> tuple[float, float]:
        """95% bootstrap interval of the mean over users."""
        low, high = self._intervals[_full_name(metric, self.per_user)]
        return float(low), float(high)

    @cached_property
    def _intervals(self) -> dict[str, Doubles]:
        return dict(zip(self.per_user, bootstrap(np.column_stack(list(self.per_user.values()))), strict=True))


@dataclass(frozen=True, eq=False)
class Report:
    """One model on one part of a split.

    model                       as fitted; `name` is that of its recipe
    users, scores               B user ids, and their metrics in the same order
    of_lists                    coverage, Gini and novelty of all lists together, at each k
    groups                      metrics of groups of users and of kinds of items, by name
    counts                      what the protocol left out, by reason
    fit_seconds                 None for a model that came fitted
    recommend_seconds           for a thousand users
    notes                       on the recipe and the log, as that it ignores weights
    by_fold                     metrics on each fold of a cross-validation
    """

    name: str
    model: Model
    cuts: tuple[int, ...]
    users: pl.Series
    scores: Scores
    of_lists: dict[str, float]
    groups: dict[str, Scores]
    protocol: tuple[str, ...]
    counts: dict[str, int]
    fit_seconds: float | None
    recommend_seconds: float
    notes: tuple[str, ...] = ()
    by_fold: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    def __getitem__(self, metric: str) -> float:
        name = _full_name(metric, self.metrics)
        return self.of_lists[name] if name in self.of_lists else self.scores[name]

    @property
    def metrics(self) -> list[str]:
        """Names of all metrics."""
        return [*self.scores.per_user, *self.of_lists]

    @property
    def per_user(self) -> dict[str, Doubles]:
        """Metrics of each user, (B,) in the order of `users`."""
        return self.scores.per_user

    def interval(self, metric: str) -> tuple[float, float]:
        """95% bootstrap interval over users; coverage, Gini and novelty have none: `SettingError`."""
        return self.scores.interval(metric)

    def minus(self, other: Report, metric: str | None = None) -> Difference:
        """Difference of the means, this minus the other (NDCG at the first k), with its paired interval.

        Raises `DataError` unless both reports are over the same users in the same order.
        """
        if not self.users.equals(other.users):
            raise DataError(
                f"{self.name} was evaluated on {len(self.users):,} users and {other.name} on {len(other.users):,} "
                "users that are not the same; a paired difference needs one split and part for both"
            )
        name = _full_name(metric or f"NDCG@{self.cuts[0]}", self.per_user)
        return paired(self.per_user[name], other.per_user[_full_name(name, other.per_user)])

    def to_dict(self) -> dict[str, object]:
        """Return everything but the users, ready for JSON."""
        return {
            "model": self.name,
            "settings": self.model.recipe.settings(),
            "users": len(self.users),
            "protocol": list(self.protocol),
            "counts": self.counts,
            "metrics": {name: _summary(self.scores, name) for name in self.per_user} | self.of_lists,
            "groups": {
                group: {"users": len(scores)} | {name: scores[name] for name in scores.per_user}
                for group, scores in self.groups.items()
            },
            "fit_seconds": self.fit_seconds,
            "recommend_seconds_per_1000_users": self.recommend_seconds,
        } | ({"by_fold": dict(self.by_fold)} if self.by_fold else {})

    def to_markdown(self) -> str:
        """Return the protocol, the metrics and the groups as Markdown."""
        protocol = "\n".join(f"- {line}" for line in self._notes())
        return f"**{self._title()}**\n\n{protocol}\n\n{self._grid().markdown()}\n\n{self._groups().markdown()}\n"

    def __rich__(self) -> RenderableType:
        notes = "\n".join(f"  {line}" for line in self._notes())
        return Group(self._title(), notes, "", self._grid().rich(), "", self._groups().rich())

    def __str__(self) -> str:
        return plain(self)

    def __repr__(self) -> str:
        name = f"NDCG@{self.cuts[0]}"
        return f"Report({self.name}: {name} {self[name]:.4f}, {len(self.users):,} users)"

    def _repr_html_(self) -> str:
        """Return what `to_markdown` does as HTML, which a notebook shows."""
        return f"{page(self._title(), self._notes())}{self._grid().html()}{self._groups().html()}"

    def _title(self) -> str:
        return f"{self.name}: {len(self.users):,} users"

    def _notes(self) -> list[str]:
        folds = self.by_fold.get(f"NDCG@{self.cuts[0]}", ())
        return [
            *self.protocol,
            *self.notes,
            *([f"NDCG@{self.cuts[0]} by fold: {', '.join(f'{each:.4f}' for each in folds)}"] if folds else []),
            *(f"left out: {count:,} {reason}" for reason, count in self.counts.items()),
        ]

    def _grid(self) -> Grid:
        rows = [[name, *(self._cell(f"{name}@{k}") for k in self.cuts)] for name in _names(self.per_user)]
        rows += [
            [name, *(f"{self.of_lists[f'{name}@{k}']:.4g}" for k in self.cuts)] for name in _names(self.of_lists)
        ]
        return Grid(["metric", *(f"@{k}" for k in self.cuts)], rows)

    def _cell(self, name: str) -> str:
        low, high = self.interval(name)
        return f"{self[name]:.4f} [{low:.4f}, {high:.4f}]"

    def _groups(self) -> Grid:
        names = [f"{metric}@{k}" for metric in ("NDCG", "Recall") for k in self.cuts]
        rows = [
            [group, f"{len(scores):,}", *(f"{scores[name]:.4f}" for name in names)]
            for group, scores in self.groups.items()
        ]
        return Grid(["group", "users", *names], rows)


def _summary(scores: Scores, name: str) -> dict[str, float]:
    low, high = scores.interval(name)
    return {"mean": scores[name], "low": low, "high": high}


def _names(full: Iterable[str]) -> list[str]:
    """Names of metrics without their k."""
    return list(dict.fromkeys(name.split("@")[0] for name in full))


def _full_name(metric: str, known: dict[str, Doubles] | list[str]) -> str:
    """Return the name as it is kept: `MRR` is `MRR` at the largest k. Raises `SettingError` for an unknown one."""
    if metric in known:
        return metric
    cuts = [int(name.split("@")[1]) for name in known if name.split("@")[0] == metric]
    check(bool(cuts), "metric", metric, f"is one of {', '.join(known)}")
    return f"{metric}@{max(cuts)}"
