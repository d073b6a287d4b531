"""Lists of RecTools' gSASRec and two-stage model, and of LightGBM used by hand; run by `accuracy.second_stage`.

`python second_stages.py NAME LOG.npz ANSWER.npz`, by a Python that has rectools[torch], implicit, lightgbm. The log:
start (U + 1,) and item (N,) to fit to, and past_start, past_item, the histories that lists are asked for. The answer:
item (U, 10), -1 past the end, and cpu_seconds of the fit.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from implicit.nearest_neighbours import CosineRecommender
from lightgbm import LGBMClassifier, LGBMRanker
from rectools import Columns
from rectools.dataset import Dataset, Interactions
from rectools.model_selection import LastNSplitter
from rectools.models import ImplicitALSWrapperModel, ImplicitItemKNNWrapperModel, PopularModel, SASRecModel
from rectools.models.ranking import CandidateGenerator, CandidateRankingModel, Reranker
from scipy.sparse import csr_matrix

K, CANDIDATES = 10, 100


def frame_of(start: Any, item: Any) -> pd.DataFrame:
    """Interactions of each user a day apart."""
    user = np.repeat(np.arange(len(start) - 1), np.diff(start))
    day = pd.Timestamp("2020-01-01") + pd.to_timedelta(np.arange(len(user)) - start[user], unit="D")
    return pd.DataFrame({Columns.User: user, Columns.Item: item, Columns.Weight: 1.0, Columns.Datetime: day})


def by_rectools(model: Any, log: Any) -> tuple[Any, float]:
    """Fit a model of RecTools, and ask it for lists."""
    dataset = Dataset.construct(frame_of(log["start"], log["item"]))
    began = time.process_time()
    model.fit(dataset)
    seconds = time.process_time() - began
    past = frame_of(log["past_start"], log["past_item"])
    users, items = dataset.user_id_map, dataset.item_id_map
    past = past[past[Columns.Item].isin(items.external_ids)]
    asked = Dataset(users, items, Interactions.from_raw(past, users, items))
    shown = model.recommend(users.external_ids, dataset=asked, k=K, filter_viewed=True)
    found = np.full((len(log["start"]) - 1, K), -1)
    found[shown[Columns.User], shown[Columns.Rank] - 1] = shown[Columns.Item]
    return found, seconds


def gsasrec(log: Any) -> tuple[Any, float]:
    """SASRec with the loss and the negatives of Petrov & Macdonald 2023, "gSASRec"."""
    model = SASRecModel(
        n_factors=128, n_blocks=2, n_heads=1, session_max_len=50, loss="gBCE", n_negatives=256, gbce_t=0.75,
        batch_size=128, epochs=30, dropout_rate=0.5, lr=0.001, deterministic=False,
    )  # fmt: skip
    return by_rectools(model, log)


def rectools_two_stages(log: Any) -> tuple[Any, float]:
    """Candidates of item neighbours, ALS and popularity, in the order of a classifier, as in RecTools' tutorial."""
    models = [
        ImplicitItemKNNWrapperModel(CosineRecommender(K=CANDIDATES)),
        ImplicitALSWrapperModel(model=_als()),
        PopularModel(),
    ]
    generators = [
        CandidateGenerator(each, CANDIDATES, True, True, scores_fillna_value=0.0, ranks_fillna_value=CANDIDATES + 1)
        for each in models
    ]
    reranker = Reranker(LGBMClassifier(n_estimators=200, learning_rate=0.05, random_state=0, verbosity=-1))
    return by_rectools(CandidateRankingModel(generators, LastNSplitter(1, n_splits=1), reranker), log)


def by_hand(log: Any) -> tuple[Any, float]:
    """Candidates of item neighbours and of what followed the newest item; a LambdaMART over seven features."""
    start, item, shape = log["start"], log["item"], (len(log["start"]) - 1, int(log["n_items"]))
    began = time.process_time()
    last = start[1:] - 1
    kept = np.setdiff1d(np.arange(len(item)), last)
    lengths = np.diff(start) - 1
    inner = np.concatenate([[0], np.cumsum(lengths)])
    rows, features, sizes = _candidates(inner, item[kept], inner, item[kept], shape)
    target = (rows[:, 1] == item[last][rows[:, 0].astype(int)]).astype(int)
    found = np.add.reduceat(target, np.cumsum(sizes) - sizes)
    there = np.repeat(found > 0, sizes)
    model = LGBMRanker(n_estimators=200, learning_rate=0.05, random_state=0, verbosity=-1)
    model.fit(features[there], target[there], group=sizes[found > 0])
    seconds = time.process_time() - began
    rows, features, sizes = _candidates(start, item, log["past_start"], log["past_item"], shape)
    score = np.asarray(model.predict(features))
    order = np.lexsort((-score, rows[:, 0]))
    shown = np.full((shape[0], K), -1)
    for user, end in enumerate(np.cumsum(sizes)):
        best = rows[order[end - sizes[user] : end][:K], 1]
        shown[user, : len(best)] = best
    return shown, seconds


def _candidates(start: Any, item: Any, past_start: Any, past_item: Any, shape: Any) -> tuple[Any, Any, Any]:
    """Pairs of user and candidate (N, 2), their features (N, 7), and how many each user has (U,)."""
    popular = np.bincount(item, minlength=shape[1])
    follows = np.ones(len(item) - 1, bool)
    follows[start[1:-1] - 1] = False
    ends = item[:-1][follows], item[1:][follows]
    next_item = csr_matrix((np.ones(follows.sum()), ends), shape=(shape[1], shape[1]))
    matrix = csr_matrix((np.ones(len(item)), item, start), shape=shape)
    past = csr_matrix((np.ones(len(past_item)), past_item, past_start), shape=shape)
    neighbours = CosineRecommender(K=CANDIDATES, num_threads=1)
    neighbours.fit(matrix, show_progress=False)
    near, score = neighbours.recommend(np.arange(shape[0]), past, N=CANDIDATES, filter_already_liked_items=True)
    pairs, features, sizes = [], [], []
    for user in range(shape[0]):
        own = past_item[past_start[user] : past_start[user + 1]]
        newest = next_item[own[-1]] if len(own) else next_item[0]
        after = dict(zip(newest.indices.tolist(), newest.data.tolist(), strict=True))
        liked = {
            each: (n, value) for n, (each, value) in enumerate(zip(near[user], score[user], strict=True)) if each >= 0
        }
        union = [each for each in dict.fromkeys([*liked, *after]) if each not in set(own.tolist())] or [0]
        sizes.append(len(union))
        pairs += [(user, each) for each in union]
        features += [
            (
                *liked.get(each, (CANDIDATES, 0.0)),
                after.get(each, 0.0),
                popular[each],
                len(own),
                max(after.values(), default=0),
                len(after),
            )
            for each in union
        ]
    return np.array(pairs), np.array(features, np.float32), np.array(sizes)


def _als() -> Any:
    from implicit.als import AlternatingLeastSquares

    return AlternatingLeastSquares(factors=128, iterations=15, random_state=0, num_threads=1)


WAYS: dict[str, Callable[[Any], tuple[Any, float]]] = {
    "gSASRec": gsasrec,
    "CandidateRankingModel": rectools_two_stages,
    "LightGBM": by_hand,
}


def main() -> None:
    """Fit, ask and write."""
    name, given, answer = sys.argv[1:]
    item, seconds = WAYS[name](np.load(given))
    np.savez(answer, item=item, cpu_seconds=seconds)


if __name__ == "__main__":
    main()
