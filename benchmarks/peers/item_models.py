"""EASE and item neighbours beside their peers: accuracy, CPU seconds, peak memory.

`python -m benchmarks.peers.item_models [--peers PYTHON] [--rounds N] [--out FILE]`

Each fit is a fresh process, the contestants in turn, all cores for EASE and one thread for neighbours. Times are CPU
seconds of the fit, kernels compiled and data converted beforehand; memory is the peak of the resident set in the fit
above that before it, for EASE in units of its I x I float32 array. Weights are binary. All weights are graded
by palate's own `evaluate`.
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
from scipy.sparse import csr_array

from benchmarks.common.logs import gowalla, movielens
from benchmarks.common.paths import DATA
from benchmarks.common.peers import has_peers
from benchmarks.common.processes import one_thread
from benchmarks.common.tables import grid, parser, publish, title
from palate import EASE, Split, evaluate, read_log, split_ratio
from palate.arrays import Floats
from palate.data.histories import Histories
from palate.data.vocabulary import Vocabulary
from palate.models.base import Model
from palate.models.item_to_item import ItemRecipe, positives

LASTFM = DATA / "lastfm-music" / "listens.csv"
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
SCRIPT
prepared(X[:30])()  # compiles kernels, starts threads
np.savez(answer, **weights(clocked(prepared(X))))
"""
# Each says how a fit is prepared and what its weights are: a dense array, or the parts of a sparse one.
OURS = """
from palate import EASE, ItemKNN
from palate.data.interactions import Interactions
from palate.data.vocabulary import Vocabulary

def prepared(X):
    ids = [Vocabulary.of(range(n)) for n in X.shape]
    log = Interactions(*ids, X.indptr.astype(np.int64), X.indices, np.ones(X.nnz, np.float32))
    return lambda: RECIPE(**settings).fit(log)

def weights(model):
    if hasattr(model, "weights"):
        return {"weights": model.weights}
    return {"data": model.weight, "indices": model.column, "indptr": model.start}
"""
IRSPACK = """
from irspack.recommenders import DenseSLIMRecommender

def prepared(X):
    return lambda: DenseSLIMRecommender(X, **settings).learn()

def weights(model):
    return {"weights": model.W.astype(np.float32)}
"""
IMPLICIT = """
import warnings
warnings.simplefilter("ignore")
from implicit import nearest_neighbours
kind = getattr(nearest_neighbours, settings.pop("name"))

def prepared(X):
    def fit():
        model = kind(num_threads=1, **settings)
        model.fit(X, show_progress=False)
        return model
    return fit

def weights(model):
    W = model.similarity.tocsr()
    return {"data": W.data.astype(np.float32), "indices": W.indices, "indptr": W.indptr}
"""
RUSKET = """
import rusket
kind = getattr(rusket, settings.pop("name"))

def prepared(X):
    return lambda: kind(**settings).fit(X)

def weights(model):
    if hasattr(model, "item_weights"):
        return {"weights": model.item_weights}
    return {"data": model.w_data, "indices": model.w_indices, "indptr": model.w_indptr}
"""
LENSKIT = """
import pandas as pd
from lenskit import knn
from lenskit.data import from_interactions_df
kind = getattr(knn, settings.pop("name"))

def prepared(X):
    pairs, ids = X.tocoo(), [np.arange(n) for n in X.shape]
    frame = pd.DataFrame({"user_id": pairs.row, "item_id": pairs.col})
    log = from_interactions_df(frame, users=ids[0], items=ids[1])
    def fit():
        model = kind(**settings)
        model.train(log)
        return model
    return fit

def weights(model):
    if hasattr(model, "weights"):
        return {"weights": model.weights}
    W = model.sim_matrix
    return {"data": W.values.to_numpy(), "indices": W.indices.to_numpy(), "indptr": W.offsets.to_numpy()}
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
    answer = place / "weights.npz"
    command = [contestant.python, "-c", SHARED.replace("SCRIPT", contestant.script), str(place / "log.npz")]
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
    dense = "weights" in found
    weights = found["weights"] if dense else csr_array((found["data"], found["indices"], found["indptr"]), shape)
    report = evaluate(Given(EASE(), items, weights), split)
    return float(report["NDCG@10"]), float(report["Recall@20"])


def table(contestants: Sequence[Contestant], split: Split, rounds: int, array: bool) -> list[str]:
    """Run all in turn, for some rounds; returns medians and ranges."""
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
    peers, here, python = has_peers(options.peers), sys.executable, str(options.peers)
    movies, artists, places = split_ratio(movielens()), lastfm(), gowalla()
    lines = [*title("Item-to-item models"), f"Medians of {options.rounds} fresh processes, with the range.", ""]
    for name, split in (("movielens-small, 80/20 per user", movies), ("lastfm-music", artists)):
        if split is None:
            continue
        l2 = EASE().l2
        contestants = [Contestant("palate EASE", here, OURS.replace("RECIPE", "EASE"), {"l2": l2}, 0)]
        if peers:
            contestants += [
                Contestant("irspack EASE", python, IRSPACK, {"reg": l2}, 0),
                Contestant("rusket EASE", python, RUSKET, {"name": "EASE", "regularization": l2}, 0),
                Contestant("lenskit EASE", python, LENSKIT, {"name": "EASEScorer", "regularization": l2}, 0),
            ]
        lines += [f"## EASE on {name}, l2 {l2:g}", "", f"{split.train!r}", ""]
        lines += [*table(contestants, split, options.rounds, array=True), ""]
    for name, split in (("movielens-small, 80/20 per user", movies), ("gowalla", places and Split.of(*places))):
        if split is None:
            continue
        lines += [f"## Neighbours on {name}, 100 each, one thread", "", f"{split.train!r}", ""]
        lines += [*table(neighbours(here, python, peers), split, options.rounds, array=False), ""]
    publish("\n".join(lines), options.out)


def neighbours(here: str, python: str, peers: bool) -> list[Contestant]:
    """Palate's similarities and the peers', then palate's EASE of 100 neighbours."""
    few: dict[str, Any] = {"neighbours": 100}
    knn, ease = (OURS.replace("RECIPE", name) for name in ("ItemKNN", "EASE"))
    contestants = [
        Contestant(f"palate {kind}", here, knn, {"similarity": kind, **few}, 1)
        for kind in ("cosine", "tf-idf", "bm25", "rp3beta")
    ]
    if peers:
        contestants += [
            Contestant(f"implicit {name}", python, IMPLICIT, {"name": name, "K": 100}, 1)
            for name in ("ItemItemRecommender", "CosineRecommender", "TFIDFRecommender", "BM25Recommender")
        ]
        contestants += [
            Contestant(f"rusket {kind}", python, RUSKET, {"name": "ItemKNN", "method": kind, "k": 100}, 1)
            for kind in ("cosine", "tfidf", "bm25")
        ]
        cosine = {"name": "ItemKNNScorer", "feedback": "implicit", "save_nbrs": 100}
        contestants.append(Contestant("lenskit cosine", python, LENSKIT, cosine, 1))
    return [*contestants, Contestant("palate EASE", here, ease, few, 1)]


if __name__ == "__main__":
    main()
