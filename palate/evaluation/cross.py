"""Cross-validation: recipes on several folds of a log, each user counted once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import polars as pl

from palate.arrays import Doubles, Ints
from palate.data.catalogue import Catalogue, as_catalogue
from palate.data.folds import FOLDS, By
from palate.data.interactions import Interactions
from palate.data.readers import as_log
from palate.data.vocabulary import Id, Vocabulary
from palate.errors import SettingError, check
from palate.evaluation.compare import Comparison, compare
from palate.evaluation.lists import ListMetric
from palate.evaluation.protocol import Hidden, as_hidden, as_subject, as_types
from palate.evaluation.report import Report, Scores
from palate.models.base import Model, Recipe, Watch


def cross_validate(
    recipes: Sequence[Recipe | str] | Mapping[str, Recipe | str] | Recipe | str,
    log: Interactions,
    folds: int = 5,
    *,
    by: By = "users",
    k: int | Sequence[int] = (10, 20),
    catalogue: Catalogue | None = None,
    only: Iterable[Id] | None = None,
    relevant: Iterable[str] | None = None,
    keep_seen: bool = False,
    hide: Hidden | None = None,
    metrics: Iterable[ListMetric] = (),
    watch: Watch | None = None,
    progress: bool = False,
) -> Comparison:
    """Compare recipes on each of several folds, and put the folds together: one comparison over all their users.

    by       "users": each user is left out of train once (`folds_of_users`); "time": each part of the log by time is
             predicted from all before it (`folds_of_time`)
    k, ...   as `compare` takes them

    A user who is in several folds of time counts once, with the mean of them, so that intervals and differences are
    over users as ever. Metrics of all lists together are means over the folds, `fit_seconds` too, and each report has
    the figures `by_fold`. Raises `SettingError` for models, which were fitted to the users that folds leave out.
    """
    check(by in FOLDS, "by", by, f"is one of {', '.join(FOLDS)}")
    subjects = [recipes] if isinstance(recipes, Recipe | str) else recipes
    for each in subjects.values() if isinstance(subjects, Mapping) else subjects:
        if isinstance(as_subject(each), Model):
            raise SettingError(f"{each!r} is fitted already; folds take recipes, which are fitted to each")
    measured, ranked = tuple(metrics), None if only is None else list(only)
    content, wanted, hidden = as_catalogue(catalogue), as_types(relevant), as_hidden(hide)
    found: dict[str, list[Report]] = {}
    for split in FOLDS[by](as_log(log), folds):
        result = compare(
            subjects,
            split,
            k,
            catalogue=content,
            only=ranked,
            relevant=wanted,
            keep_seen=keep_seen,
            hide=hidden,
            metrics=measured,
            watch=watch,
            progress=progress,
        )
        for name, report in result.reports.items():
            earlier = [replace(each, model=report.model) for each in found.get(name, [])]  # one model is kept
            found[name] = [*earlier, report]
    kind = f"cross-validation, {folds} folds of {by}"
    return Comparison({name: together(reports, kind) for name, reports in found.items()})


def together(reports: Sequence[Report], kind: str) -> Report:
    """Put the reports of one recipe on several folds together."""
    last = reports[-1]
    users = pl.concat([each.users for each in reports])
    names = users.unique(maintain_order=True)
    code = Vocabulary.of(names).codes(users)
    counts: dict[str, int] = {}
    for each in reports:
        counts = {reason: counts.get(reason, 0) + each.counts.get(reason, 0) for reason in {**counts, **each.counts}}
    return replace(
        last,
        users=names,
        scores=Scores(
            {name: _means(values, code) for name, values in _joined([each.scores for each in reports]).items()}
        ),
        of_lists={name: float(np.mean([each.of_lists[name] for each in reports])) for name in _shared(reports)},
        groups={
            name: Scores(_joined([each.groups[name] for each in reports]))
            for name in last.groups
            if all(name in each.groups for each in reports)
        },
        protocol=tuple(f"split: {kind}" if line.startswith("split: ") else line for line in last.protocol),
        counts=counts,
        fit_seconds=float(np.mean([each.fit_seconds or 0.0 for each in reports])),
        recommend_seconds=float(np.mean([each.recommend_seconds for each in reports])),
        by_fold={name: tuple(each[name] for each in reports) for name in last.scores.per_user},
    )


def _joined(scores: Sequence[Scores]) -> dict[str, Doubles]:
    return {name: np.concatenate([each.per_user[name] for each in scores]) for name in scores[0].per_user}


def _means(values: Doubles, code: Ints) -> Doubles:
    """Mean of the values of each user, by the user's place."""
    return np.asarray(np.bincount(code, values) / np.bincount(code))


def _shared(reports: Sequence[Report]) -> list[str]:
    return [name for name in reports[-1].of_lists if all(name in each.of_lists for each in reports)]
