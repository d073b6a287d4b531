"""The second stage: `Ranked` beside its first stages, and beside second stages of other libraries.

`python -m benchmarks.accuracy.second_stage [--dataset beauty sports diginetica movielens gowalla] [--only NAME ...]
[--seeds 0 1 2] [--peers PYTHON] [--out FILE]`

Beauty, Sports and Diginetica: the protocol and the settings of SLIST of `benchmarks.accuracy.sequences`: the last
item of each user (or the next click) is asked for, and the fit sees neither it nor the one before. "Validation items
are labels": the fit sees all but the test item. MovieLens and Gowalla: the splits of `benchmarks.accuracy.quality`.
What Ranked is set to was chosen on validation data; the test is read once a seed. Peers are fitted to the same events
and asked with the same histories. Times are CPU seconds, with kernels compiled. Outcomes are appended to
results/second_stage.jsonl, and found there by the next run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl
from threadpoolctl import threadpool_limits

from benchmarks.accuracy.sequences import SESSIONS, Figures, diginetica, without_last
from benchmarks.common.logs import gowalla, movielens
from benchmarks.common.outcomes import add_outcome, read_outcomes
from benchmarks.common.paths import DATA, RESULTS, ROOT
from benchmarks.common.peers import fit_apart
from benchmarks.common.tables import grid, parser, publish, title
from palate import EASE, IALS, SLIST, Catalogue, Ranked, SessionKNN, Split, Transformer, evaluate, split_ratio
from palate.arrays import Floats, Ints
from palate.data.histories import Histories
from palate.data.interactions import Interactions
from palate.data.vocabulary import Vocabulary
from palate.errors import PalateError
from palate.models.base import Model, Recipe, Watch
from palate.ranking.ranked import RankedModel

OUTCOMES = RESULTS / "second_stage.jsonl"
LISTS = 300  # timed one by one
HEAD = ("", "beside the best stage, NDCG@20, each seed", "seeds", "fit, CPU s", "a list, CPU ms")
STAGES: dict[str, tuple[Recipe, ...]] = {
    "beauty": (SLIST(l2=60.0, walk=1.0), IALS(dim=128)),
    "sports": (SLIST(decay=0.8, walk=1.0), IALS(dim=128)),
    "diginetica": (SESSIONS, IALS(dim=128), SessionKNN(half_life_days=SESSIONS.half_life_days)),
    "movielens": (EASE(l2=300.0), IALS(dim=64)),
    "gowalla": (EASE(l2=50.0, neighbours=100), IALS(dim=256, unseen_weight=0.03, l2=0.0001, fold_l2=100.0)),
}
SETTINGS: dict[str, dict[str, Any]] = {
    "diginetica": {"held_out": "users", "keep_seen": True, "users": 30_000},
    "movielens": {"held_out": "ratio"},
    "gowalla": {"held_out": "ratio"},
}
BY_GBCE = "`Transformer` with the loss of gSASRec"
PEER_NAMES = {
    "gSASRec": "gSASRec of RecTools",
    "CandidateRankingModel": "`CandidateRankingModel` of RecTools",
    "LightGBM": "LightGBM by hand",
}


@dataclass(frozen=True)
class Contestant:
    """A recipe, what it is fitted to and graded by; split: where `Ranked` is compared with its stages by user."""

    recipe: Recipe
    log: Interactions
    catalogue: Catalogue | None
    grade: Callable[[Model], Figures]
    split: Split | None = None


def contestants(dataset: str, python: Path) -> dict[str, Contestant]:
    """Return those of a dataset by name."""
    stages, settings = STAGES[dataset], SETTINGS.get(dataset, {})
    ranked = Ranked(recipes=stages, **settings)
    if dataset == "diginetica":
        task = diginetica()
        recipes = {**_by_name(stages), "`Ranked`": ranked}
        return {
            name: Contestant(each, task.train["test"], None, lambda model: task.grade(model, "test"))
            for name, each in recipes.items()
        }
    if dataset in ("movielens", "gowalla"):
        split = _ratio(dataset)
        recipes = {**_by_name(stages), "`Ranked`": ranked}
        grade = _ratio_grade(split)
        return {name: Contestant(each, split.train, None, grade, split) for name, each in recipes.items()}
    split = without_last(dataset)
    items, known = catalogue(dataset), split.history("test")
    with_network = Ranked(recipes=(*stages, Transformer()))

    def hits(model: Model) -> Figures:
        scores = evaluate(model, split, (10,)).scores
        return {"HR@10": float(scores["Recall@10"]), "NDCG@10": float(scores["NDCG@10"])}

    found = {name: Contestant(each, split.train, None, hits) for name, each in _by_name(stages).items()}
    found |= {
        "`Ranked`": Contestant(ranked, split.train, None, hits),
        "`Ranked` with the catalogue": Contestant(ranked, split.train, items, hits),
        "`Ranked` with the catalogue, validation items are labels": Contestant(
            replace(ranked, gap=0), known, items, hits
        ),
        "`Ranked` with the catalogue and `Transformer`": Contestant(with_network, split.train, items, hits),
    }
    if dataset == "beauty":
        found[BY_GBCE] = Contestant(Transformer(loss="gbce"), split.train, None, hits)
    if dataset == "beauty" and python.is_file():
        for name, shown in PEER_NAMES.items():
            found[shown] = Contestant(Peer(name=name, python=python, known=known), split.train, None, hits)
    return found


def _by_name(stages: Sequence[Recipe]) -> dict[str, Recipe]:
    return {f"`{type(each).__name__}`": each for each in stages}


def _ratio(dataset: str) -> Split:
    if dataset == "movielens":
        return split_ratio(movielens(), 0.2, seed=0)
    parts = gowalla()
    if parts is None:
        raise SystemExit(1)
    return Split(*parts, kind="as published")


def _ratio_grade(split: Split) -> Callable[[Model], Figures]:
    def grade(model: Model) -> Figures:
        report = evaluate(model, split, (20,))
        return {name: float(report.scores[name]) for name in ("Recall@20", "NDCG@20")}

    return grade


def catalogue(name: str) -> Catalogue:
    """Read the titles, or where there are none the keywords, and the attributes of the items."""
    folder = DATA / f"amazon-{name}"
    frame = pl.read_csv(folder / "items.csv")
    attributes = orjson.loads((folder / "item_attributes.json").read_bytes())
    tags = [[str(each) for each in attributes.get(str(item), [])] for item in frame["item"]]
    text = frame["title"] if "title" in frame.columns else frame["keywords"]
    about = pl.DataFrame({"item_id": frame["item"], "title": text, "categories": tags})
    return Catalogue(Vocabulary(frame["item"]), about)


@dataclass(frozen=True, kw_only=True)
class Peer(Recipe):
    """A way of benchmarks/peers/second_stages.py; `known`: the histories that its lists are for."""

    name: str
    python: Path
    known: Interactions

    def fit(self, log: Interactions, catalogue: Catalogue | None = None, *, watch: Watch | None = None) -> ListModel:
        """Fit in a process of its own, and keep its lists."""
        script = str(ROOT / "benchmarks" / "peers" / "second_stages.py")
        past = {"past_start": self.known.start, "past_item": log.items.recode(self.known.items)[self.known.item]}
        found = fit_apart(log, self.name, lambda given, to: [str(self.python), script, self.name, given, to], past)
        return ListModel(self, log.items, log.users, found["item"].astype(np.int32), float(found["cpu_seconds"]))


@dataclass(frozen=True, eq=False)
class ListModel(Model):
    """item (U, K): the list of each user, -1 past its end."""

    recipe: Peer
    items: Vocabulary
    users: Vocabulary
    item: Ints
    cpu_seconds: float

    def scores(self, histories: Histories) -> Floats:
        """Score the items of the lists by their places, all others 0, (B, I)."""
        found = np.zeros((len(histories), len(self.items) + 1), np.float32)
        lists = self.item[self.users.codes(histories.users)]
        np.put_along_axis(
            found, np.where(lists < 0, len(self.items), lists), np.arange(lists.shape[1], 0.0, -1), axis=1
        )
        return np.ascontiguousarray(found[:, :-1])


def list_ms(model: Model, log: Interactions) -> float:
    """CPU milliseconds of a list of 10 for one user, without HTTP: the best mean of five rounds, one BLAS thread."""
    histories = model.histories(log)
    blocks = [histories.block(n, n + 1) for n in range(LISTS)]
    rounds = []
    with threadpool_limits(1, "blas"):  # as in a service
        for _ in range(5):
            began = time.process_time()
            for each in blocks:
                model.recommend(each)
            rounds.append(time.process_time() - began)
    return 1000 * min(rounds) / LISTS


def measured(dataset: str, name: str, contestant: Contestant, seed: int) -> Mapping[str, Any]:
    """Return figures, CPU seconds of a fit and CPU milliseconds of a list, from an earlier run or a new one."""
    key = {"dataset": dataset, "name": name, "seed": seed}
    for known in read_outcomes(OUTCOMES):
        if key.items() <= known.items():
            return known
    recipe = replace(contestant.recipe, seed=seed) if hasattr(contestant.recipe, "seed") else contestant.recipe  # type: ignore[call-arg]
    began = time.process_time()
    model = recipe.fit(contestant.log, contestant.catalogue)
    seconds = model.cpu_seconds if isinstance(model, ListModel) else time.process_time() - began
    figures = contestant.grade(model)
    milliseconds = None if isinstance(model, ListModel) else list_ms(model, contestant.log)
    outcome = {**key, "figures": figures, "seconds": seconds, "milliseconds": milliseconds}
    if isinstance(model, RankedModel) and contestant.split is not None:
        outcome["beside"] = beside_stages(model, contestant.split)
    add_outcome(OUTCOMES, outcome)
    print(outcome, flush=True)
    return outcome


def beside_stages(model: RankedModel, split: Split) -> str:
    """Difference of NDCG@20 to the best first stage, user by user."""
    stages = [evaluate(each, split, (20,)) for each in model.models]
    return str(evaluate(model, split, (20,)).minus(max(stages, key=lambda report: float(report.scores["NDCG@20"]))))


def section(dataset: str, only: Sequence[str], seeds: Sequence[int], python: Path) -> list[str]:
    """Table of one dataset."""
    rows, names = [], list[str]()
    for name, contestant in contestants(dataset, python).items():
        if only and name not in only:
            continue
        several = isinstance(contestant.recipe, Ranked)
        runs = []
        for seed in seeds if several else [0]:
            try:
                runs.append(measured(dataset, name, contestant, seed))
            except PalateError as error:
                print(f"skipped {name}: {error}")
        if not runs:
            continue
        names = list(runs[0]["figures"])
        shown = " / ".join(_spread([run["figures"][each] for run in runs]) for each in names)
        each_ms = runs[0]["milliseconds"]
        seconds = np.mean([run["seconds"] for run in runs])
        beside = ", ".join(run["beside"] for run in runs if "beside" in run)
        each_ms = "" if each_ms is None else f"{each_ms:.2f}"
        rows.append([name, shown, beside, str(len(runs)), f"{seconds:.0f}", each_ms])
    head = (HEAD[0], " / ".join(names), *HEAD[1:])
    return [f"## {dataset.title()}", "", *grid(head, rows), ""]


def _spread(values: Sequence[float]) -> str:
    digits = 4 if max(values) < 1 else 2
    mean = f"{np.mean(values):.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ± {np.std(values):.{digits}f}"


def main() -> None:
    """Measure, and write the table."""
    asked = parser(__doc__)
    asked.add_argument("--dataset", nargs="*", choices=[*STAGES], default=[*STAGES])
    asked.add_argument("--only", nargs="*", default=[])
    asked.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    options = asked.parse_args()
    lines = title("The second stage", ("numpy", "numba", "lightgbm", "palate"))
    for name in options.dataset:
        lines += section(name, options.only, options.seeds, options.peers)
    publish("\n".join(lines), options.out)


if __name__ == "__main__":
    main()
