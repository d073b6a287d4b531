"""Networks beside the closed forms: what comes next, users held out, the speed of training and of answers.

`python -m benchmarks.accuracy.deep [--dataset NAME ...] [--only RECIPE ...] [--seeds N] [--kept] [--peers PYTHON]`

What comes next: Amazon Beauty and Sports, and Diginetica, as in sequences.py: fitted to the train part alone,
graded on the test. Settings of networks are their defaults, chosen on Beauty's validation part; those of SLIST are
what sequences.py chose. Users held out: MovieLens latest-small, every event a positive; a fifth of the users is
not in train, a fifth of their events is asked for. A network is fitted with several seeds: the mean and, after ±,
the standard deviation. Outcomes are appended to results/deep.jsonl, and found there by the next run; --kept measures
nothing and shows what is there. The peer is RecTools' SASRec with its own loss, one negative an event, where PYTHON
has rectools[torch]. CPU seconds, of one thread.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.accuracy.sequences import SESSIONS, TASKS, Figures
from benchmarks.common.logs import movielens
from benchmarks.common.outcomes import add_outcome, read_outcomes
from benchmarks.common.paths import DATA, RESULTS, ROOT
from benchmarks.common.processes import one_thread
from benchmarks.common.tables import grid, parser, publish, title
from palate import (
    EASE,
    IALS,
    SLIST,
    Autoencoder,
    Blend,
    InfiniteAE,
    Popularity,
    Transformer,
    evaluate,
    read_catalogue,
    split_users,
)
from palate.data.catalogue import Catalogue
from palate.data.interactions import Interactions
from palate.models.base import Model, Recipe
from palate.models.network import NetworkRecipe
from palate.models.onnx import exported
from palate.models.registry import as_recipe

OUTCOMES = RESULTS / "deep.jsonl"
NEXT: Mapping[str, Mapping[str, Recipe]] = {
    "beauty": {
        "Transformer": Transformer(),
        "Transformer that reads titles": Transformer(fields=("title",)),
        "SLIST": SLIST(l2=60.0, walk=1.0),
        "Blend": Blend(recipes=(SLIST(l2=60.0, walk=1.0), Transformer())),
        "IALS": IALS(dim=256, l2=0.003),
        "Popularity": Popularity(),
    },
    "sports": {
        "Transformer": Transformer(),
        "SLIST": SLIST(decay=0.8, walk=1.0),
        "Blend": Blend(recipes=(SLIST(decay=0.8, walk=1.0), Transformer())),
        "IALS": IALS(dim=256, l2=0.003),
        "Popularity": Popularity(),
    },
    "diginetica": {"Transformer": Transformer(), "SLIST": SESSIONS},
}
HELD_OUT: Mapping[str, Recipe] = {
    "Autoencoder": Autoencoder(),
    "InfiniteAE": InfiniteAE(),
    "EASE": EASE(l2=200.0),
    "Popularity": Popularity(),
}
MORE_PUBLISHED = {"beauty": {"HSTU": "– / – / 0.0708 / 0.0412", "LCRec": "– / – / 0.0791 / 0.0438"}}
ASKED, ONE_BY_ONE = 2048, 200  # histories whose answers are timed


@dataclass(frozen=True)
class Contest:
    """A dataset: its contestants, what is published on it, and how a recipe is fitted and graded with a seed."""

    name: str
    recipes: Mapping[str, Recipe]
    published: Mapping[str, str]
    grade: Callable[[Recipe, int], tuple[Figures, float]]


def next_item(dataset: str) -> Contest:
    """Make the contest of what comes next."""
    task = TASKS[dataset]()
    content = DATA / f"amazon-{dataset}" / "items.csv"
    catalogue = read_catalogue(content) if content.is_file() else None

    def grade(recipe: Recipe, _: int) -> tuple[Figures, float]:
        model, seconds = timed(recipe, task.train["test"], catalogue)
        return task.grade(model, "test"), seconds

    return Contest(task.name, NEXT[dataset], {**task.published, **MORE_PUBLISHED.get(dataset, {})}, grade)


def held_out() -> Contest:
    """Make the contest on MovieLens; the seed is that of the split as well."""
    log = movielens()
    binary = replace(log, weight=np.ones_like(log.weight))

    def grade(recipe: Recipe, seed: int) -> tuple[Figures, float]:
        split = split_users(binary, 0.2, seed=seed)
        model, seconds = timed(recipe, split.train)
        report = evaluate(model, split, (20, 50, 100))
        return {name: float(report.scores[name]) for name in ("NDCG@100", "Recall@20", "Recall@50")}, seconds

    return Contest("MovieLens latest-small, people held out", HELD_OUT, {}, grade)


def timed(recipe: Recipe, log: Interactions, catalogue: Catalogue | None = None) -> tuple[Model, float]:
    """Fit, and the CPU seconds that it took."""
    began = time.process_time()
    return recipe.fit(log, catalogue), time.process_time() - began


class Unmeasured(Exception):
    """Nothing is kept, and nothing is to be measured."""


def kept(key: Mapping[str, object], measure: Callable[[], Mapping[str, object]], measuring: bool) -> dict[str, Any]:
    """Outcome that was measured before under this key, or a new one; raises `Unmeasured` where none is to be made."""
    for known in read_outcomes(OUTCOMES):
        if key.items() <= known.items():
            return known
    if not measuring:
        raise Unmeasured
    outcome = {**key, **measure()}
    add_outcome(OUTCOMES, outcome)
    print(outcome, flush=True)
    return outcome


def measured(dataset: str, contest: Contest, name: str, seed: int, measuring: bool) -> tuple[Figures, float]:
    """Figures and CPU seconds of one fit."""
    recipe = seeded(contest.recipes[name], seed)

    def measure() -> dict[str, object]:
        figures, seconds = contest.grade(recipe, seed)
        return {"figures": figures, "seconds": seconds}

    found = kept({"dataset": dataset, "recipe": repr(recipe), "seed": seed}, measure, measuring)
    return found["figures"], found["seconds"]


def seeded(recipe: Recipe, seed: int) -> Recipe:
    """Return the recipe with another seed, a blend with that of its recipes too; one of no chance as it is."""
    if isinstance(recipe, Blend):
        return replace(recipe, recipes=tuple(seeded(as_recipe(each), seed) for each in recipe.recipes), seed=seed)
    return replace(recipe, seed=seed) if hasattr(recipe, "seed") else recipe  # type: ignore[call-arg]


def section(dataset: str, only: Sequence[str], seeds: int, measuring: bool) -> list[str]:
    """Table of one dataset."""
    contest = held_out() if dataset == "movielens" else next_item(dataset)
    rows, names = [], []
    for name, recipe in contest.recipes.items():
        if only and name not in only:
            continue
        several = dataset == "movielens" or isinstance(recipe, NetworkRecipe | Blend)
        runs = []
        for seed in range(seeds if several else 1):
            with suppress(Unmeasured):
                runs.append(measured(dataset, contest, name, seed, measuring))
        if not runs:
            continue
        names = list(runs[0][0])
        cells = [spread([figures[each] for figures, _ in runs]) for each in names]
        count = str(len(runs)) if several else ""
        rows.append([name, " / ".join(cells), count, f"{np.mean([seconds for _, seconds in runs]):.1f}"])
    rows += [[f"{name}, published", figures, "", ""] for name, figures in contest.published.items()]
    return [f"## {contest.name}", "", *grid(["", " / ".join(names), "seeds", "fit, CPU s"], rows), ""]


def spread(values: Sequence[float]) -> str:
    """Mean ± standard deviation."""
    digits = 4 if max(values) < 1 else 2
    mean = f"{np.mean(values):.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ± {np.std(values, ddof=1):.{digits}f}"


def training(python: Path, measuring: bool) -> list[str]:
    """CPU seconds of an epoch over Beauty, beside RecTools' SASRec of the same size on the same sequences."""
    recipe = Transformer(epochs=3)
    mine = kept({"training": repr(recipe)}, lambda: {"seconds": own_epoch(recipe)}, measuring)["seconds"]
    rows = [[f"Transformer, {recipe.negatives:,} shared negatives", f"{mine:.1f}", ""]]
    theirs = peer(python, recipe, measuring)
    if theirs is not None:
        rows.append(["RecTools SASRec, BCE, one negative an event", f"{theirs:.1f}", f"{theirs / mine:.1f}"])
    size = f"dim {recipe.dim}, {recipe.layers} layers, {recipe.window} events"
    return ["## Training", "", f"Amazon Beauty, {size}.", "", *grid(["", "an epoch, CPU s", "times ours"], rows), ""]


def own_epoch(recipe: Transformer) -> float:
    """CPU seconds of an epoch over Beauty."""
    ends: list[float] = []
    log = TASKS["beauty"]().train["test"]
    recipe.fit(log, watch=lambda p: ends.append(time.process_time()) if p.model is not None else None)
    return (ends[-1] - ends[0]) / (len(ends) - 1)


def peer(python: Path, recipe: Transformer, measuring: bool) -> float | None:
    """CPU seconds of an epoch of RecTools' SASRec; None where it is not installed."""
    script = str(ROOT / "benchmarks" / "peers" / "sasrec.py")
    sizes = [str(each) for each in (1, recipe.dim, recipe.layers, recipe.heads, recipe.window)]

    def measure() -> dict[str, object]:
        log = TASKS["beauty"]().train["test"]
        with tempfile.TemporaryDirectory() as place:
            np.savez(Path(place) / "log.npz", start=log.start, item=log.item)
            command = [str(python), script, f"{place}/log.npz", "BCE", *sizes]
            done = subprocess.run(command, env=one_thread(), cwd=place, capture_output=True, text=True, check=True)
        return dict(json.loads(done.stdout.splitlines()[-1]))

    try:
        return float(kept({"training": "RecTools", "loss": "BCE", "sizes": sizes}, measure, measuring)["seconds"])
    except (OSError, subprocess.CalledProcessError):
        print(f"skipped RecTools: {python} has no rectools[torch]")
        return None


def answers(measuring: bool) -> list[str]:
    """Histories of Beauty scored a CPU second, many at once and one by one, by torch and by ONNX."""
    recipe = Transformer(epochs=1)
    found = kept({"answers": repr(recipe)}, lambda: {"rates": rates(recipe)}, measuring)["rates"]
    rows = [[name, *(f"{rate:,.0f}" for rate in pair)] for name, pair in found.items()]
    about = "Histories of Amazon Beauty scored a CPU second, each over the whole catalogue."
    head = ["", f"{ASKED:,} at once", "one by one", "one more event of a session"]
    return ["## Answers", "", about, "", *grid(head, [[*row, ""][: len(head)] for row in rows]), ""]


def rates(recipe: Transformer) -> dict[str, list[float]]:
    """Histories a CPU second at once and one by one, and, for torch, events of a session."""
    log = TASKS["beauty"]().train["test"]
    model, histories = recipe.fit(log), log.histories()
    some = [histories.block(n, n + 1) for n in range(ONE_BY_ONE)]
    found = {
        name: [
            ASKED / spent(lambda asked=asked: asked.scores(histories.block(0, ASKED))),  # type: ignore[misc]
            ONE_BY_ONE / spent(lambda asked=asked: [asked.scores(one) for one in some]),  # type: ignore[misc]
        ]
        for name, asked in {"torch": model, "ONNX": exported(model)}.items()
    }
    events = log.items.names(log.item[:ONE_BY_ONE]).to_list()

    def follow() -> None:
        session = model.start()
        for item in events:
            session = model.append(session, item)
            model.scores_after(session)

    found["torch"].append(ONE_BY_ONE / spent(follow))
    return found


def spent(work: Callable[[], object]) -> float:
    """CPU seconds of the second of two runs."""
    work()
    began = time.process_time()
    work()
    return time.process_time() - began


def main() -> None:
    """Run the benchmark."""
    asked = parser(__doc__)
    datasets = [*NEXT, "movielens"]
    asked.add_argument("--dataset", nargs="*", choices=datasets, default=datasets)
    asked.add_argument("--only", nargs="*", default=[], help="contestants; all unless given")
    asked.add_argument("--seeds", type=int, default=3)
    asked.add_argument("--kept", action="store_true", help="measure nothing, show what was measured")
    options = asked.parse_args()
    measuring = not options.kept
    torch.set_num_threads(1)
    lines = title("Networks", ("numpy", "torch", "onnxruntime", "palate"))
    for dataset in options.dataset:
        if dataset == "movielens" or (DATA / dataset).is_dir() or (DATA / f"amazon-{dataset}").is_dir():
            lines += section(dataset, options.only, options.seeds, measuring)
        else:
            print(f"skipped {dataset}: {DATA} has none")
    if not options.only:
        lines += training(options.peers, measuring) + answers(measuring)
    publish("\n".join(lines), options.out)


if __name__ == "__main__":
    main()
