"""A forest that orders candidates: trained by LightGBM (extra `rank`), kept as arrays, walked by our own kernel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np

from palate.arrays import Array, Doubles, Floats, Ints, Longs, check_arrays
from palate.compute.threads import cores
from palate.errors import MissingExtra, ModelError
from palate.kernels.forest import walk_trees
from palate.ranking.values import graded

LEAVES, DEPTH = 15, 6  # of a tree
TREES, PATIENCE = 400, 30  # at most; and without a better NDCG@10 on the held-out queries
RATE = 0.05
LEAST = 20  # rows of a leaf
SHARE = 0.7  # of the rows and features that a tree sees
SMALL = 4_000_000  # numbers, up to which threads cost more than they save
TRUNCATION = 15  # places of a list whose order counts


@dataclass(frozen=True, eq=False)
class Forest:
    """T trees of one depth; node n goes on to 2 n + 1 where its feature is at most the threshold, else to 2 n + 2."""

    feature: Annotated[Ints, Array("trees", "nodes", below="features")]
    threshold: Annotated[Floats, Array("trees", "nodes")]
    leaf: Annotated[Doubles, Array("trees", "leaves")]

    @classmethod
    def empty(cls) -> Forest:
        """Make a forest without trees."""
        return cls(np.zeros((0, 1), np.int32), np.zeros((0, 1), np.float32), np.zeros((0, 2)))

    def __len__(self) -> int:
        return len(self.leaf)

    def check(self, features: int) -> None:
        """Raise `ModelError` for arrays that do not fit each other or rows of so many features."""
        leaves = self.feature.shape[-1] + 1
        check_arrays(self, {"features": features, "leaves": leaves})
        if leaves & (leaves - 1):
            raise ModelError(f"Forest.leaf: trees have {leaves} leaves; a tree of one depth has a power of 2")

    def scores(self, columns: Floats) -> Doubles:
        """Sum of the leaves that rows (F, N) reach, (N,)."""
        return walk_trees(columns, self.feature, self.threshold, self.leaf)


def grow(columns: Floats, label: Doubles, sizes: Longs, prior: Doubles, valid: int, seed: int) -> Forest:
    """Train a LambdaMART forest on queries (Burges 2010, "From RankNet to LambdaRank to LambdaMART").

    columns (F, N); label (N,): what an answer is worth, 0 for all others; sizes (Q,): the rows of each query, end to
    end; prior (N,): scores that those of the trees are added to. The last `valid` queries only decide how many trees
    there are. Raises `MissingExtra` without LightGBM.
    """
    lightgbm = _lightgbm()
    grade, gains, weight = graded(label, sizes)
    cut = int(sizes[: len(sizes) - valid].sum())
    settings = {
        "objective": "lambdarank",
        "metric": "ndcg",
        "eval_at": [10],
        "label_gain": gains,
        "lambdarank_truncation_level": TRUNCATION,
        "learning_rate": RATE,
        "num_leaves": LEAVES,
        "max_depth": DEPTH,
        "min_data_in_leaf": LEAST,
        "feature_fraction": SHARE,
        "bagging_fraction": SHARE,
        "bagging_freq": 1,
        "use_missing": False,
        "num_threads": cores() if columns.size > SMALL else 1,
        "seed": seed % 2**31,
        "deterministic": True,
        "force_row_wise": True,
        "verbosity": -1,
    }
    rows = np.ascontiguousarray(columns.T)
    own, others = slice(cut), slice(cut, None)
    queries = len(sizes) - valid
    train = lightgbm.Dataset(rows[own], grade[own], weight=weight[own], group=sizes[:queries], init_score=prior[own])
    held_out = train.create_valid(
        rows[others], grade[others], weight=weight[others], group=sizes[queries:], init_score=prior[others]
    )
    stopping = lightgbm.early_stopping(PATIENCE, verbose=False)
    booster = lightgbm.train(settings, train, TREES, valid_sets=[held_out], callbacks=[stopping])
    trees = booster.dump_model(num_iteration=booster.best_iteration)["tree_info"]
    return _laid_out([each["tree_structure"] for each in trees])


def _laid_out(trees: Sequence[Mapping[str, Any]]) -> Forest:
    """Lay trees out with all leaves at one depth: below a leaf that is higher up, all are the same."""
    nodes = (1 << DEPTH) - 1
    feature = np.zeros((len(trees), nodes), np.int32)
    threshold = np.full((len(trees), nodes), np.finfo(np.float32).max, np.float32)
    leaf = np.zeros((len(trees), nodes + 1))

    def place(t: int, node: Mapping[str, Any], at: int) -> None:
        if "split_feature" in node:
            feature[t, at], threshold[t, at] = node["split_feature"], _below(node["threshold"])
            place(t, node["left_child"], 2 * at + 1)
            place(t, node["right_child"], 2 * at + 2)
            return
        low = high = at
        while low < nodes:
            low, high = 2 * low + 1, 2 * high + 2
        leaf[t, low - nodes : high - nodes + 1] = node["leaf_value"]

    for t, tree in enumerate(trees):
        place(t, tree, 0)
    return Forest(feature, threshold, leaf)


def _below(threshold: float) -> np.float32:
    """Largest number of float32 that is at most the threshold: features are float32, so each falls on its side."""
    near = np.float32(np.clip(threshold, np.finfo(np.float32).min, np.finfo(np.float32).max))
    return np.float32(np.nextafter(near, np.float32(-np.inf))) if near > threshold else near


def _lightgbm() -> Any:
    try:
        import lightgbm
    except ModuleNotFoundError:
        raise MissingExtra("lightgbm", "rank") from None
    return lightgbm
