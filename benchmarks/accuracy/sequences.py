"""SLIST on the next item: Amazon Beauty and Sports, Diginetica, beside published figures.

`python -m benchmarks.accuracy.sequences [--dataset beauty sports diginetica] [--out FILE]`

Settings are chosen on a validation part by going through them one at a time from the defaults, each over a few
values, and keeping the best; then one fit, in a process of its own, is read once on the test. Amazon: the last item
of each user is the test, the last but one the validation part, the fit sees neither; seen items are removed.
Diginetica: the newest tenth of the train sessions is the validation part; then all train sessions are fitted, and
every test prefix asks for its next item, which may be one of its own. Times are CPU seconds, kernels compiled
beforehand.
"""

from __future__ import annotations

import gzip
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common.paths import DATA
from benchmarks.common.tables import grid, parser, publish, title
from palate import SLIST, Split, evaluate, split_last
from palate.arrays import Ints
from palate.data.histories import Histories
from palate.data.interactions import Interactions
from palate.data.vocabulary import Vocabulary
from palate.models.base import Model

DAY = 86_400_000_000
ASKED = 12_000  # validation prefixes of Diginetica
Space = Sequence[tuple[str, Sequence[Any]]]
SPACE: Space = (
    ("alpha", (0.1, 0.2, 0.3, 0.5)),
    ("l2_power", (0.0, 0.5)),
    ("l2", (30.0, 60.0, 100.0, 200.0)),
    ("train_decay", (0.2, 0.3, 0.4, 0.6)),
    ("decay", (0.5, 0.65, 0.8, 0.9)),
    ("whole_decay", (0.8, 1.0)),
    ("walk", (0.0, 1.0, 3.0)),
)
SPACE_OF_SESSIONS: Space = (
    ("whole_decay", (0.8, 1.0)),
    ("alpha", (0.3, 0.5, 0.7)),
    ("l2_power", (0.0, 0.5, 0.75)),
    ("l2", (30.0, 60.0, 100.0)),
    ("train_decay", (0.2, 0.4)),
    ("half_life_days", (None, 70_000.0)),
    ("beta", (0.0, 0.1, 0.2, 0.3)),
    ("walk", (0.0, 4.0, 8.0, 16.0, 32.0)),
    ("beta", (0.1, 0.2, 0.3)),  # once more: a longer walk comes to more popular items
    ("decay", (0.5, 0.65, 0.8)),
)
# What is chosen on Diginetica, see results/sequences-diginetica.md.
SESSIONS = SLIST(
    alpha=0.7,
    whole_decay=0.8,
    train_decay=0.2,
    decay=0.8,
    l2=30.0,
    l2_power=0.75,
    walk=16.0,
    beta=0.2,
    half_life_days=70_000.0,
)
Figures = dict[str, float]


@dataclass(frozen=True)
class Task:
    """A dataset: what is published on it, the metric that settings are chosen by, and how a model is graded.

    train: the log of each part; grade: figures of a model on a part, "valid" or "test".
    """

    name: str
    metric: str
    published: Mapping[str, str]
    train: Mapping[str, Interactions]
    grade: Callable[[Model, str], Figures]
    space: Space


def without_last(name: str) -> Split:
    """Leave the last item of each user of an Amazon data set out, and the last but one."""
    lines = (DATA / f"amazon-{name}" / "sequences.txt").read_text().splitlines()
    return split_last(sessions([np.array(line.split()[1:], np.int32) for line in lines]), valid=True)


def amazon(name: str, published: Mapping[str, str]) -> Task:
    """Make the task of the last item of each user."""
    split = without_last(name)

    def grade(model: Model, part: str) -> Figures:
        report = evaluate(model, split, (5, 10), part=part)  # type: ignore[arg-type]
        names = {"HR@5": "Recall@5", "NDCG@5": "NDCG@5", "HR@10": "Recall@10", "NDCG@10": "NDCG@10"}
        return {ours: float(report.scores[theirs]) for ours, theirs in names.items()}

    return Task(
        f"Amazon {name.title()}", "NDCG@10", published, {"valid": split.train, "test": split.train}, grade, SPACE
    )


def diginetica() -> Task:
    """Sessions in the order of the file, which is that of time: a day apart, so that old ones can fade."""
    folder = DATA / "diginetica"
    with gzip.open(folder / "train_sessions.txt.gz", "rt") as lines:
        train = [np.array(line.split(), np.int32) for line in lines]
    with gzip.open(folder / "test_prefixes.txt.gz", "rt") as lines:
        test = [tuple(np.array(side.split(), np.int32) for side in line.split("\t")) for line in lines]
    newest = len(train) * 9 // 10
    prefixes = [(row[:n], row[n : n + 1]) for row in train[newest:] for n in range(1, len(row))]
    chosen = np.random.default_rng(0).permutation(len(prefixes))[:ASKED]
    asked = {"valid": [prefixes[n] for n in chosen], "test": test}
    logs = {"valid": sessions(train[:newest]), "test": sessions(train)}

    def grade(model: Model, part: str) -> Figures:
        return next_items(model, [pair[0] for pair in asked[part]], np.concatenate([pair[1] for pair in asked[part]]))

    published = {"SR-GNN": "50.73 / 17.59", "GCE-GNN": "54.22 / 19.04"}
    return Task("Diginetica", "MRR@20", published, logs, grade, SPACE_OF_SESSIONS)


def sessions(rows: Sequence[Ints]) -> Interactions:
    """Log of one user a session, a day apart, the last one in 1970: events ahead of the clock would have no age.

    The catalogue is what the sessions hold.
    """
    row = np.repeat(np.arange(len(rows), dtype=np.int32), [len(each) for each in rows])
    ids, item = np.unique(np.concatenate(rows), return_inverse=True)
    users, items = Vocabulary.of(range(len(rows))), Vocabulary.of(ids.tolist())
    return Interactions.of(
        users, items, row, item.astype(np.int32), timestamp=(row.astype(np.int64) - len(rows)) * DAY
    )


def next_items(model: Model, prefixes: Sequence[Ints], wanted: Ints) -> Figures:
    """Precision and reciprocal rank of the next item among the first 20, in percent; repeats may be answers."""
    rank = []
    for low in range(0, len(prefixes), 1 << 12):
        histories = Histories.of(model.items, [row.tolist() for row in prefixes[low : low + (1 << 12)]])
        shown = model.recommend(histories, 20, keep_seen=True).item
        code = model.items.codes(wanted[low : low + (1 << 12)].tolist())
        hit = (shown == code[:, None]) & (code[:, None] >= 0)
        rank.append(np.where(hit.any(axis=1), hit.argmax(axis=1) + 1, np.inf))
    places = np.concatenate(rank)
    return {"P@20": 100 * float(np.isfinite(places).mean()), "MRR@20": 100 * float((1 / places).mean())}


def choose(task: Task) -> tuple[SLIST, Figures, list[str]]:
    """Best settings on the validation part, its figures, and a line for each trial."""
    best = SLIST()
    figures = task.grade(best.fit(task.train["valid"]), "valid")
    lines = [f"defaults: {shown(figures)}"]
    for name, values in task.space:
        for value in values:
            tried = replace(best, **{name: value})
            if tried == best:
                continue
            found = task.grade(tried.fit(task.train["valid"]), "valid")
            better = found[task.metric] > figures[task.metric]
            lines.append(f"{name} {value}: {shown(found)}{', kept' if better else ''}")
            print(task.name, lines[-1], flush=True)
            best, figures = (tried, found) if better else (best, figures)
    return best, figures, lines


def shown(figures: Figures) -> str:
    """One line of figures."""
    return " / ".join(f"{value:.4f}" if name[0] in "HN" else f"{value:.2f}" for name, value in figures.items())


def measure(dataset: str, recipe: SLIST) -> tuple[Figures, float, float]:
    """Figures on the test, CPU seconds of the fit, and megabytes at its peak beyond what there was before."""
    task = TASKS[dataset]()
    recipe.fit(sessions([np.arange(1, 4, dtype=np.int32)] * 2))
    before, began = megabytes("VmRSS"), time.process_time()
    model = recipe.fit(task.train["test"])
    seconds, peak = time.process_time() - began, megabytes("VmHWM") - before
    return task.grade(model, "test"), seconds, peak


def megabytes(field: str) -> float:
    """Read a field of this process's status."""
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith(field)) / 1000


def section(dataset: str) -> list[str]:
    """Choose, measure, and write down."""
    task = TASKS[dataset]()
    recipe, valid, lines = choose(task)
    contestants = {"SLIST": recipe}
    if recipe.walk:
        contestants["SLIST, walk=0"] = replace(recipe, walk=0.0)
    if dataset == "beauty":
        contestants["SLIST, neighbours=None: all weights"] = replace(recipe, walk=0.0, neighbours=None)
    rows = []
    for name, settings in contestants.items():
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as alone:
            figures, seconds, peak = alone.submit(measure, dataset, settings).result()
        rows.append([name, shown(figures), f"{seconds:.1f}", f"{peak:.0f}"])
    rows += [[f"{name}, published", figures, "", ""] for name, figures in task.published.items()]
    return [
        f"## {task.name}",
        "",
        f"Train {task.train['test']!r}. Chosen by {task.metric} on validation ({shown(valid)}) in {len(lines)} fits:",
        f"`{recipe!r}`.",
        "",
        *grid(["", " / ".join(valid), "fit, CPU s", "fit, peak MB"], rows),
        "",
        "<details><summary>Trials on validation</summary>",
        "",
        *(f"- {line}" for line in lines),
        "",
        "</details>",
        "",
    ]


BEAUTY = {
    "GRU4Rec": "– / – / 0.0283 / 0.0137",
    "SASRec": "– / – / 0.0605 / 0.0318",
    "BERT4Rec": "– / – / 0.0347 / 0.0170",
    "S3-Rec": "– / – / 0.0647 / 0.0327",
    "TIGER": "– / – / 0.0648 / 0.0384",
}
SPORTS = {
    "GRU4Rec": "– / – / 0.0204 / 0.0110",
    "SASRec": "– / – / 0.0350 / 0.0192",
    "BERT4Rec": "– / – / 0.0191 / 0.0099",
    "S3-Rec": "– / – / 0.0385 / 0.0204",
    "TIGER": "– / – / 0.0400 / 0.0225",
}
TASKS: dict[str, Callable[[], Task]] = {
    "beauty": lambda: amazon("beauty", BEAUTY),
    "sports": lambda: amazon("sports", SPORTS),
    "diginetica": diginetica,
}


def main() -> None:
    """Run the benchmark."""
    asked = parser(__doc__)
    asked.add_argument("--dataset", nargs="+", choices=list(TASKS), default=list(TASKS))
    options = asked.parse_args()
    lines = title("The next item", ("numpy", "scipy", "numba", "palate"))
    for dataset in options.dataset:
        folder = DATA / (dataset if dataset == "diginetica" else f"amazon-{dataset}")
        if folder.is_dir():
            lines += section(dataset)
        else:
            print(f"skipped {dataset}: {folder} is absent")
    publish("\n".join(lines), options.out)


if __name__ == "__main__":
    main()
