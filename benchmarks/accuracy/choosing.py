"""What `choose` takes in a minute and in five, beside the best recipe of docs/benchmarks.md, on each log.

`python -m benchmarks.accuracy.choosing [--dataset NAME ...] [--minutes 1 5] [--seed 0] [--out FILE]`

`choose` sees the train part alone, and the catalogue where there is one. Then what it took and each reference, fitted
to the same train part, are graded once on the test, by that log's own metric. A reference counts where its fit takes
at most a third of the budget. Seconds are those of the wall, of all of `choose`; compile kernels by a run before.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from benchmarks.accuracy.quality import GOWALLA_BLEND, GOWALLA_EASE, GOWALLA_IALS
from benchmarks.accuracy.second_stage import catalogue
from benchmarks.accuracy.sequences import SESSIONS, diginetica, sessions
from benchmarks.common.logs import gowalla, movielens
from benchmarks.common.paths import DATA
from benchmarks.common.tables import grid, parser, publish, title
from palate import (
    EASE,
    IALS,
    SLIST,
    Blend,
    Catalogue,
    Embedding,
    Interactions,
    Ranked,
    Split,
    choose,
    evaluate,
    read_log,
    split_last,
    split_ratio,
)
from palate.models.base import Model, Recipe

HEAD = (
    "log",
    "minutes",
    "chosen",
    "metric",
    "best reference",
    "share of it",
    "seconds",
    "last fit, predicted and real",
)


@dataclass(frozen=True)
class Task:
    """A log to choose for: its own metric, that of `choose`, the references, and the grade of a model on the test."""

    metric: str
    chosen_by: str
    train: Interactions
    catalogue: Catalogue | None
    references: Mapping[str, Recipe]
    grade: Callable[[Model], float]

    @classmethod
    def of(
        cls, metric: str, split: Split, references: Mapping[str, Recipe], catalogue: Catalogue | None = None
    ) -> Task:
        """Grade by the standard protocol."""
        k = int(metric.partition("@")[2])

        def grade(model: Model) -> float:
            return evaluate(model, split, k)[metric]

        return cls(metric, metric, split.train, catalogue, references, grade)


def of_movielens() -> Task:
    """Hold a random fifth of each user's ratings out."""
    references = {"EASE": EASE(l2=139), "IALS": IALS(dim=128, unseen_weight=0.748, l2=0.00353)}
    return Task.of("NDCG@10", split_ratio(movielens()), references)


def of_artists() -> Task:
    """Take the test fold of the artists that users listened to."""
    listens = pl.read_csv(DATA / "lastfm-music" / "listens.csv")
    train, test = (read_log(listens.filter(part).drop("fold")) for part in (pl.col("fold") < 2, pl.col("fold") == 2))
    references = {"EASE": EASE(), "IALS": IALS(dim=256), "Embedding": Embedding(dim=256)}
    return Task.of("NDCG@10", Split.of(train, test), references)


def of_amazon(name: str) -> Task:
    """Hold the last item of each user out."""
    lines = (DATA / f"amazon-{name}" / "sequences.txt").read_text().splitlines()
    split = split_last(sessions([np.array(line.split()[1:], np.int32) for line in lines]))
    first = (SLIST(l2=60), IALS(dim=128))
    return Task.of("NDCG@10", split, {"SLIST": first[0], "Ranked": Ranked(recipes=first)}, catalogue(name))


def of_sessions() -> Task:
    """Ask for the next click of each prefix."""
    task = diginetica()
    return Task(
        "MRR@20",
        "MRR@20",
        task.train["test"],
        None,
        {"SLIST": SESSIONS},
        lambda model: task.grade(model, "test")["MRR@20"],
    )


def of_gowalla() -> Task:
    """Take the split published with LightGCN."""
    logs = gowalla()
    assert logs is not None
    references = {"EASE": EASE(**GOWALLA_EASE), "IALS": IALS(**GOWALLA_IALS), "Blend": Blend(**GOWALLA_BLEND)}  # type: ignore[arg-type]
    return Task.of("Recall@20", Split.of(*logs), references)


TASKS: dict[str, Callable[[], Task]] = {
    "movielens-small": of_movielens,
    "lastfm-music": of_artists,
    "amazon-beauty": lambda: of_amazon("beauty"),
    "amazon-sports": lambda: of_amazon("sports"),
    "diginetica": of_sessions,
    "gowalla": of_gowalla,
}


def rows_of(name: str, task: Task, minutes: list[float], seed: int) -> list[list[str]]:
    """Fit the references, and choose within each budget."""
    known = {}
    for reference, recipe in task.references.items():
        began = time.perf_counter()
        model = recipe.fit(task.train, task.catalogue)
        known[reference] = (task.grade(model), time.perf_counter() - began)
        print(name, reference, known[reference], flush=True)
    rows = []
    for budget in minutes:
        began = time.perf_counter()
        choice = choose(task.train, task.catalogue, minutes=budget, metric=task.chosen_by, seed=seed)
        seconds, found = time.perf_counter() - began, task.grade(choice.model)
        print(choice.report, flush=True)
        able = {each: value for each, (value, took) in known.items() if took <= 20 * budget}
        best = max(able, key=lambda each: able[each], default=None)
        report = choice.report
        fits = [f"{cost.seconds:.1f}" for cost in (report.predicted, report.measured) if cost is not None]
        rows.append(
            [
                name,
                f"{budget:g}",
                f"`{type(choice.recipe).__name__}`",
                f"{task.metric} {found:.4f}",
                "" if best is None else f"`{best}` {able[best]:.4f}",
                "" if best is None else f"{found / able[best]:.1%}",
                f"{seconds:.0f}",
                " / ".join(fits),
            ]
        )
        print(rows[-1], flush=True)
    return rows


def main() -> None:
    """Measure, and write the table."""
    asked = parser(__doc__)
    asked.add_argument("--dataset", nargs="*", default=list(TASKS), choices=list(TASKS))
    asked.add_argument("--minutes", nargs="*", type=float, default=[1, 5])
    asked.add_argument("--seed", type=int, default=0)
    options = asked.parse_args()
    rows = [row for name in options.dataset for row in rows_of(name, TASKS[name](), options.minutes, options.seed)]
    lines = [*title("Chosen recipes", ("numpy", "numba", "optuna", "lightgbm", "palate")), *grid(HEAD, rows), ""]
    publish("\n".join(lines), options.out)


if __name__ == "__main__":
    main()
