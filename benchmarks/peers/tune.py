"""Let a peer tune itself for a time, then fit, and write lists: `python tune.py NAME SETTINGS LOG.npz OUT.npz`.

Runs in the peers' own virtual environment, so it imports nothing of palate. SETTINGS are `seconds` of all of it and
`k` of the metric. A tenth of each user's events, or the last one with `last`, is held out of the log for the tuning;
a fifth of the seconds is kept for the last fit. The lists have the best items that a user has not seen.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix

LONG = 100  # items of a list
ASKED = 2_000  # users who are asked for while tuning
SHARE = 0.8  # of the seconds, for tuning
HELD_OUT = 0.1
IRSPACK = "IALSRecommender", "DenseSLIMRecommender", "RP3betaRecommender", "P3alphaRecommender", "TopPopRecommender"
Tuned = tuple[Callable[[Any], Any], str]  # users' rows (B,) to lists (B, LONG), and what was taken


def held_out(matrix: Any, last: bool) -> tuple[Any, Any]:
    """Cut a validation part: train and held out, of the same shape; the log is in the order of the events."""
    rng = np.random.default_rng(0)
    lengths = np.diff(matrix.indptr)
    row = np.repeat(np.arange(matrix.shape[0]), lengths)
    place = np.arange(len(row)) - np.repeat(matrix.indptr[:-1], lengths)
    out = (place == np.repeat(lengths, lengths) - 1) if last else rng.random(len(row)) < HELD_OUT
    out &= np.repeat(lengths, lengths) > 1
    parts = (csr_matrix((matrix.data[k], (row[k], matrix.indices[k])), shape=matrix.shape) for k in (~out, out))
    train, valid = parts
    return train, valid


def ndcg(lists: Any, valid: Any, rows: Any, k: int) -> float:
    """NDCG@k, the mean over the users asked for."""
    gain = 1 / np.log2(np.arange(2, k + 2))
    found = []
    for items, row in zip(lists[:, :k], rows, strict=True):
        wanted = valid.indices[valid.indptr[row] : valid.indptr[row + 1]]
        hit = np.isin(items, wanted)
        found.append((gain[: len(items)] * hit).sum() / gain[: min(k, len(wanted))].sum())
    return float(np.mean(found))


def asked_of(valid: Any) -> Any:
    """Rows of users with something held out."""
    able = np.flatnonzero(np.diff(valid.indptr))
    return np.random.default_rng(0).permutation(able)[:ASKED]


def optuna_implicit(matrix: Any, seconds: float, k: int, last: bool) -> Tuned:
    """Optuna's TPE over ALS, BPR and the neighbours of `implicit`."""
    import optuna
    from implicit.cpu.als import AlternatingLeastSquares
    from implicit.cpu.bpr import BayesianPersonalizedRanking
    from implicit.nearest_neighbours import BM25Recommender, CosineRecommender

    began = time.monotonic()
    train, valid = held_out(matrix, last)
    rows = asked_of(valid)

    def model(ask: Any) -> Any:
        kind = ask.suggest_categorical("model", ["als", "bpr", "bm25", "cosine"])
        if kind == "als":
            return AlternatingLeastSquares(
                factors=ask.suggest_categorical("factors", [32, 64, 128, 256]),
                regularization=ask.suggest_float("regularization", 1e-3, 100, log=True),
                alpha=ask.suggest_float("alpha", 0.3, 100, log=True),
                iterations=ask.suggest_int("iterations", 5, 20),
                random_state=0,
            )
        if kind == "bpr":
            return BayesianPersonalizedRanking(
                factors=ask.suggest_categorical("bpr_factors", [32, 64, 128]),
                learning_rate=ask.suggest_float("learning_rate", 1e-3, 0.2, log=True),
                regularization=ask.suggest_float("bpr_regularization", 1e-4, 0.1, log=True),
                iterations=ask.suggest_int("bpr_iterations", 20, 200),
                random_state=0,
            )
        neighbours = ask.suggest_int("neighbours", 20, 500, log=True)
        return BM25Recommender(K=neighbours) if kind == "bm25" else CosineRecommender(K=neighbours)

    def lists(fitted: Any, seen: Any, users: Any) -> Any:
        return fitted.recommend(users, seen[users], N=LONG, filter_already_liked_items=True)[0]

    def objective(trial: Any) -> float:
        fitted = model(trial)
        fitted.fit(train, show_progress=False)
        return ndcg(lists(fitted, train, rows), valid, rows, k)

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=0))
    study.optimize(objective, timeout=SHARE * seconds - (time.monotonic() - began))
    fitted = model(optuna.trial.FixedTrial(study.best_params))
    fitted.fit(matrix, show_progress=False)
    return lambda users: lists(fitted, matrix, users), f"{study.best_params} of {len(study.trials)} trials"


def irspack_tuning(matrix: Any, seconds: float, k: int, last: bool) -> Tuned:
    """Tune five recommenders of irspack by its own Optuna search, each for an equal share (0.5 has no autopilot)."""
    from irspack import Evaluator
    from irspack.recommenders.base import get_recommender_class

    train, valid = held_out(matrix, last)
    rows = np.sort(asked_of(valid))
    evaluator = Evaluator(valid[rows], offset=0, cutoff=k, target_metric="ndcg")
    order = np.concatenate([rows, np.setdiff1d(np.arange(matrix.shape[0]), rows)])  # it is asked for the first rows
    best: tuple[float, Any, dict[str, Any]] = (-1.0, None, {})
    for name in IRSPACK:
        build = get_recommender_class(name)
        timeout = max(1, int(SHARE * seconds / len(IRSPACK)))
        settings, _ = build.tune(train[order], evaluator, n_trials=1000, timeout=timeout)
        value = float(evaluator.get_score(build(train[order], **settings).learn())["ndcg"])
        best = max(best, (value, build, settings), key=lambda each: each[0])
    build, settings = best[1:]
    fitted = build(matrix, **settings).learn()

    def lists(users: Any) -> Any:
        scores = fitted.get_score_remove_seen(users)
        best = np.argpartition(-scores, LONG, axis=1)[:, :LONG]
        return np.take_along_axis(best, np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1), axis=1)

    return lists, f"{build.__name__}({settings})"


def lenskit_tuning(matrix: Any, seconds: float, k: int, last: bool) -> Tuned:
    """Random search of LensKit over implicit ALS, EASE-like and neighbour scorers, with its own search spaces."""
    import pandas as pd
    from lenskit.als import ImplicitMFScorer  # type: ignore[import-not-found]
    from lenskit.data import from_interactions_df  # type: ignore[import-not-found]
    from lenskit.knn import ItemKNNScorer  # type: ignore[import-not-found]
    from lenskit.training import TrainingOptions  # type: ignore[import-not-found]

    began, rng = time.monotonic(), np.random.default_rng(0)
    train, valid = held_out(matrix, last)
    rows = asked_of(valid)

    def data(part: Any) -> Any:
        pairs = part.tocoo()
        frame = pd.DataFrame({"user_id": pairs.row, "item_id": pairs.col})
        users, items = (np.arange(n) for n in part.shape)
        return from_interactions_df(frame, users=users, items=items)

    def fit(build: Any, settings: dict[str, Any], part: Any) -> Any:
        scorer = build(**settings)
        scorer.train(data(part), TrainingOptions(rng=0))
        return scorer

    def lists(scorer: Any, seen: Any, users: Any) -> Any:
        from lenskit.data import ItemList, RecQuery

        everything, found = ItemList(item_ids=np.arange(matrix.shape[1])), []
        for user in users:
            own = seen.indices[seen.indptr[user] : seen.indptr[user + 1]]
            query = RecQuery(user_id=int(user), user_items=ItemList(item_ids=own))
            scores = np.nan_to_num(np.array(scorer(query, everything).scores()), nan=-np.inf)
            scores[own] = -np.inf
            found.append(np.argsort(-scores)[:LONG])
        return np.stack(found)

    best: tuple[float, Any, dict[str, Any]] = (-1.0, None, {})
    trials = 0
    while time.monotonic() - began < SHARE * seconds:
        if trials % 2:
            build, settings = ItemKNNScorer, {"max_nbrs": int(rng.integers(10, 100)), "feedback": "implicit"}
        else:
            settings = {
                "features": int(2 ** rng.uniform(4, 7)),
                "regularization": float(10 ** rng.uniform(-3, 0)),
                "weight": float(rng.uniform(1, 100)),
            }
            build = ImplicitMFScorer
        value = ndcg(lists(fit(build, settings, train), train, rows[:500]), valid, rows[:500], k)
        best = max(best, (value, build, settings), key=lambda each: each[0])
        trials += 1
    fitted = fit(best[1], best[2], matrix)
    return lambda users: lists(fitted, matrix, users), f"{best[1].__name__}({best[2]}) of {trials} trials"


PEERS: dict[str, Callable[[Any, float, int, bool], Tuned]] = {
    "Optuna over implicit": optuna_implicit,
    "tuning of irspack": irspack_tuning,
    "random search over LensKit": lenskit_tuning,
}


def main() -> None:
    """Tune, fit and write."""
    name, settings, given, answer = sys.argv[1:]
    asked, log = json.loads(settings), np.load(given)
    began = time.monotonic()
    shape = (len(log["start"]) - 1, int(log["n_items"]))
    item, start = log["item"], log["start"].astype(np.int32)
    matrix = csr_matrix((np.ones(len(item), np.float32), item, start), shape=shape)
    lists, taken = PEERS[name](matrix, asked["seconds"], asked["k"], asked["last"])
    seconds = time.monotonic() - began
    rows = log["asked"]
    found = [lists(rows[low : low + 1000]) for low in range(0, len(rows), 1000)]
    np.savez(answer, items=np.concatenate(found).astype(np.int32), seconds=seconds, taken=taken)


if __name__ == "__main__":
    main()
