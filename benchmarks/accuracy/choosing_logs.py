"""The logs that recipes are chosen for: the train part, the references, and the grade on a test that is read once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from benchmarks.accuracy.quality import GOWALLA_BLEND, GOWALLA_EASE, GOWALLA_IALS, GOWALLA_START
from benchmarks.accuracy.second_stage import SETTINGS, STAGES, catalogue
from benchmarks.accuracy.sequences import diginetica, sessions
from benchmarks.common.logs import gowalla, movielens
from benchmarks.common.paths import DATA
from palate import (
    EASE,
    IALS,
    Blend,
    Catalogue,
    Embedding,
    Interactions,
    Ranked,
    Split,
    Transformer,
    evaluate,
    read_log,
    split_last,
    split_ratio,
)
from palate.data.times import SECOND
from palate.models.base import Model, Recipe


@dataclass(frozen=True)
class Task:
    """A log to choose for: its own metric, the references of docs/benchmarks.md, and the grade on the test.

    split      where a peer can be asked for the users of the test, None where they are prefixes
    keep_seen  whether an item of the history may be an answer
    """

    metric: str
    train: Interactions
    catalogue: Catalogue | None
    references: Mapping[str, Recipe]
    grade: Callable[[Model], float]
    split: Split | None = None
    keep_seen: bool = False

    @classmethod
    def of(
        cls, metric: str, split: Split, references: Mapping[str, Recipe], catalogue: Catalogue | None = None
    ) -> Task:
        """Grade by the standard protocol."""
        k = int(metric.partition("@")[2])

        def grade(model: Model) -> float:
            return evaluate(model, split, k)[metric]

        return cls(metric, split.train, catalogue, references, grade, split)


def of_movielens() -> Task:
    """Hold a random fifth of each user's ratings out."""
    references = {
        "EASE": EASE(l2=139),
        "IALS": IALS(dim=128, unseen_weight=0.748, l2=0.00353),
        "logistic Embedding": Embedding(
            loss="logistic", dim=128, epochs=40, learning_rate=0.145, l2=0.00652, negatives=100, sampler="unseen"
        ),
        "Ranked": Ranked(recipes=STAGES["movielens"], **SETTINGS["movielens"]),
    }
    return Task.of("NDCG@10", split_ratio(movielens()), references)


def of_artists() -> Task:
    """Take the test fold of the artists that users listened to."""
    listens = pl.read_csv(DATA / "lastfm-music" / "listens.csv")
    train, test = (read_log(listens.filter(part).drop("fold")) for part in (pl.col("fold") < 2, pl.col("fold") == 2))
    stages = EASE(l2=100), IALS(dim=256, l2=0.008)
    references = {
        "EASE": stages[0],
        "IALS": stages[1],
        "Embedding": Embedding(dim=256, l2=0.02),
        "Blend": Blend(recipes=stages),
    }
    return Task.of("NDCG@10", Split.of(train, test), references)


def of_amazon(name: str) -> Task:
    """Hold the last item of each user out."""
    lines = (DATA / f"amazon-{name}" / "sequences.txt").read_text().splitlines()
    split = split_last(sessions([np.array(line.split()[1:], np.int32) for line in lines]))
    stages = STAGES[name]
    references = {
        "SLIST": stages[0],
        "Ranked": Ranked(recipes=stages, gap=0),
        "Transformer": Transformer(),
    }
    return Task.of("NDCG@10", split, references, catalogue(name))


def of_sessions() -> Task:
    """Ask for the next click of each prefix."""
    task, stages = diginetica(), STAGES["diginetica"]
    references = {"SLIST": stages[0], "Ranked": Ranked(recipes=stages, **SETTINGS["diginetica"])}
    train, grade = in_order(task.train["test"]), lambda model: task.grade(model, "test")["MRR@20"]
    return Task("MRR@20", train, None, references, grade, keep_seen=True)


def in_order(log: Interactions) -> Interactions:
    """Put the events of a session a second apart: of one time, two of an item would be copies, and no answers."""
    assert log.timestamp is not None
    place = np.arange(len(log)) - log.start[log.user]
    return replace(log, timestamp=log.timestamp + place * SECOND)


def of_gowalla() -> Task:
    """Take the split published with LightGCN."""
    logs = gowalla()
    assert logs is not None
    references: dict[str, Recipe] = {
        "EASE": EASE(**GOWALLA_EASE),  # type: ignore[arg-type]
        "IALS": IALS(**GOWALLA_IALS),  # type: ignore[arg-type]
        "Embedding": Embedding(**GOWALLA_START),  # type: ignore[arg-type]
        "Blend": Blend(**GOWALLA_BLEND),  # type: ignore[arg-type]
    }
    references["Ranked"] = Ranked(recipes=STAGES["gowalla"], **SETTINGS["gowalla"])
    parts = references["Blend"].recipes  # type: ignore[attr-defined]
    return Task.of(
        "Recall@20", Split.of(*logs), {**references, "Blend": Blend(recipes=tuple(map(_all_cores, parts)))}
    )


def _all_cores(recipe: Recipe) -> Recipe:
    return replace(recipe, threads=None) if isinstance(recipe, IALS) else recipe


TASKS: dict[str, Callable[[], Task]] = {
    "movielens-small": of_movielens,
    "lastfm-music": of_artists,
    "amazon-beauty": lambda: of_amazon("beauty"),
    "amazon-sports": lambda: of_amazon("sports"),
    "diginetica": of_sessions,
    "gowalla": of_gowalla,
}
