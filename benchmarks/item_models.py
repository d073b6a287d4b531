"""EASE beside irspack's, item neighbours beside implicit's: accuracy, CPU seconds, peak memory.

`python benchmarks/item_models.py [--peers PYTHON] [--rounds N] [--out FILE]`

Each fit is a fresh process, the contestants in turn, all cores for EASE and one thread for neighbours. Times are CPU
seconds of the fit, kernels compiled and data converted beforehand; memory is the peak of the resident set in the fit
above that before it, for EASE in units of its I x I float32 array. Weights are binary. Everybody's weights are graded
by palate's own `evaluate`. The peers' Python needs irspack 0.5 and implicit 0.7.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from common import GOWALLA, gowalla, grid, has_peers, movielens, one_thread, parser, publish, title
from scipy.sparse import csr_array

from palate import EASE, Split, evaluate, read_log, split_ratio
from palate.arrays import Floats
from palate.data.histories import Histories
from palate.data.vocabulary import Vocabulary
from palate.models.base import Model
from palate.models.item_to_item import ItemRecipe, positives

LASTFM = GOWALLA.parent / "lastfm-music" / "listens.csv"
SHARED = """
import json, sys, time
import numpy as np
from scipy.sparse import csr_matrix

def megabytes(field):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(field)) / 1024

def clocked(fit):
    before = megabytes("VmRSS")
    open("/proc/self/clear_refs", "w").write("5")  # the peak starts again from here
    began, wall = time.process_time(), time.perf_counter()
    model = fit()
    print(json.dumps([time.process_time() - began, time.perf_counter() - wall, megabytes("VmHWM") - before]))
    return model

given, settings, answer = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3]
log = np.load(given)
shape = len(log["start"]) - 1, int(log["n_items"])
X = csr_matrix((np.ones(len(log["item"])), log["item"], log["start"].astype(np.int32)), shape=shape)
"""
OURS = """
from palate import EASE, ItemKNN
from palate.data.interactions import Interactions
from palate.data.vocabulary import Vocabulary
ids = [Vocabulary.of(range(n)) for n in shape]
log = Interactions(*ids, log["start"], log["item"], np.ones(len(log["item"]), np.float32))
few = log.select(log.user < 30)
RECIPE(**settings).fit(few)  # compiles the kernels
model = clocked(lambda: RECIPE(**settings).fit(log))
if hasattr(model, "weights"):
    np.save(answer, model.weights)
else:
    np.savez(answer, data=model.weight, indices=model.column, indptr=model.start)
"""
IRSPACK = """
from irspack.recommenders import DenseSLIMRecommender
model = clocked(lambda: DenseSLIMRecommender(X, **settings).learn())
np.save(answer, model.W.astype(np.float32))
"""
IMPLICIT = """
import warnings
warnings.simplefilter("ignore")
from implicit import nearest_neighbours
model = getattr(nearest_neighbours, settings.pop("name"))(num_threads=1, **settings)
clocked(lambda: model.fit(X, show_progress=False))
W = model.similarity.tocsr()
np.savez(answer, data=W.data.astype(np.float32), indices=W.indices, indptr=W.indptr)
"""


@dataclass(frozen=True)
class Contestant:
    """A name, the Python that runs it, what it runs, with which settings, on how many threads (0: all)."""

    name: str
    python: str
    script: str
    settings: dict[str, Any]
    threads: int


@dataclass(frozen=True, eq=False)
class Given(Model):
    """Weights (I, I) from item to item: a history scores by the sum of its items' rows."""

    recipe: ItemRecipe
    items: Vocabulary
    weights: Floats | csr_array

    def scores(self, histories: Histories) -> Floats:
        """Return (B, I)."""
        rows = histories.on(self.items).rows
        inputs = np.ones(len(rows.column), np.float32)
        scores = csr_array((inputs, rows.column, rows.start), shape=(len(rows), len(self.items))) @ self.weights
        return np.asarray(scores.toarray() if isinstance(scores, csr_array) else scores, np.float32)


def run(contestant: Contestant, place: Path) -> tuple[list[float], Path]:
    """Fit in a fresh process; returns CPU and wall seconds and the peak in MiB, and the file of weights."""
    answer = place / ("weights.npz" if {"neighbours", "K"} & set(contestant.settings) else "weights.npy")
    command = [contestant.python, "-c", SHARED + contestant.script, str(place / "log.npz")]
    environment = one_thread() if contestant.threads else dict(os.environ)
    done = subprocess.run(
        [*command, json.dumps(contestant.settings), str(answer)], env=environment, capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(f"{contestant.name} failed: {done.stderr.strip()[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1]), answer


def graded(answer: Path, split: Split) -> tuple[float, float]:
    """NDCG@10 and Recall@20 of the weights on the test."""
    items, found = split.train.items, np.load(answer)
    shape = len(items), len(items)
    weights = (
        found if answer.suffix == ".npy" else csr_array((found["data"], found["indices"], found["indptr"]), shape)
    )
    report = evaluate(Given(EASE(), items, weights), split)
    return float(report["NDCG@10"]), float(report["Recall@20"])


def table(contestants: Sequence[Contestant], split: Split, rounds: int, array: bool) -> list[str]:
    """Run all in turn, some rounds, and tell medians and ranges."""
    X = positives(split.train, binary=True)
    figures: dict[str, list[list[float]]] = {each.name: [] for each in contestants}
    quality: dict[str, tuple[float, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        np.savez(place / "log.npz", start=X.indptr.astype(np.int64), item=X.indices, n_items=X.shape[1])
        for _ in range(rounds):
            for each in contestants:
                measured, answer = run(each, place)
                figures[each.name].append(measured)
                if each.name not in quality:
                    quality[each.name] = graded(answer, split)
                answer.unlink()
    unit = 4 * X.shape[1] ** 2 / 2**20 if array else 1.0
    rows = []
    for name, runs in figures.items():
        cpu, wall, peak = np.array(runs).T
        spread = f"{np.median(cpu):.2f} ({cpu.min():.2f} to {cpu.max():.2f})"
        memory = f"{np.median(peak) / unit:.2f}" if array else f"{np.median(peak):.0f}"
        rows.append([name, *(f"{q:.5f}" for q in quality[name]), spread, f"{np.median(wall):.2f}", memory])
    return grid(["", "NDCG@10", "Recall@20", "fit, CPU s", "wall s", "peak, I x I" if array else "peak, MiB"], rows)


def lastfm() -> Split | None:
    """Artists heard, as published: folds 0 and 1 to train on, 2 the test; None where the file is absent."""
    if not LASTFM.is_file():
        print(f"skipped lastfm: {LASTFM} is absent")
        return None
    frame = pl.read_csv(LASTFM)
    train, test = (read_log(frame.filter(part).drop("fold")) for part in (pl.col("fold") < 2, pl.col("fold") == 2))
    return Split.of(train, test)


def main() -> None:
    """Run the benchmark."""
    asked = parser(__doc__)
    asked.add_argument("--rounds", type=int, default=3)
    options = asked.parse_args()
    peers, here = has_peers(options.peers), sys.executable
    movies, artists, places = split_ratio(movielens()), lastfm(), gowalla()
    lines = [*title("Item-to-item models"), f"Medians of {options.rounds} fresh processes, with the range.", ""]
    for name, split in (("movielens-small, 80/20 per user", movies), ("lastfm-music", artists)):
        if split is None:
            continue
        l2 = EASE().l2
        both = [
            Contestant("palate EASE", here, OURS.replace("RECIPE", "EASE"), {"l2": l2}, 0),
            Contestant("irspack EASE", str(options.peers), IRSPACK, {"reg": l2}, 0),
        ][: 2 if peers else 1]
        lines += [f"## EASE on {name}, l2 {l2:g}", "", f"{split.train!r}", ""]
        lines += [*table(both, split, options.rounds, array=True), ""]
    for name, split in (("movielens-small, 80/20 per user", movies), ("gowalla", places and Split.of(*places))):
        if split is None:
            continue
        lines += [f"## Neighbours on {name}, 100 each, one thread", "", f"{split.train!r}", ""]
        lines += [*table(neighbours(here, options.peers, peers), split, options.rounds, array=False), ""]
    publish("\n".join(lines), options.out)


def neighbours(here: str, python: Path, peers: bool) -> list[Contestant]:
    """Palate's similarities and implicit's, then palate's EASE of 100 neighbours."""
    script = OURS.replace("RECIPE", "ItemKNN")
    kinds: list[dict[str, Any]] = [{"similarity": name} for name in ("cosine", "tf-idf", "bm25", "rp3beta")]
    ours = [
        Contestant(f"palate {kind['similarity']}", here, script, {"neighbours": 100, **kind}, 1) for kind in kinds
    ]
    names = ("ItemItemRecommender", "CosineRecommender", "TFIDFRecommender", "BM25Recommender")
    theirs = [Contestant(f"implicit {n}", str(python), IMPLICIT, {"name": n, "K": 100}, 1) for n in names if peers]
    sparse = Contestant("palate EASE", here, OURS.replace("RECIPE", "EASE"), {"neighbours": 100}, 1)
    return [*ours, *theirs, sparse]


if __name__ == "__main__":
    main()
