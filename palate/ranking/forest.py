"""A forest that orders candidates: trained by LightGBM (extra `rank`), kept as arrays, walked by our own kernel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np

from palate.arrays import Array, Doubles, Floats, Ints, Longs, check_arrays
from palate.compute.threads import cores
from palate.errors import MissingExtra, ModelError, Package
from palate.kernels.forest import walk_trees
from palate.ranking.values import graded

LIGHTGBM = Package("lightgbm", "lightgbm", "rank")
LEAVES, DEPTH = 15, 6  # of a tree
BITS = 64  # of the numbers that stand for sets of leaves
TREES, PATIENCE = 400, 30  # at most; and without a better NDCG@10 on the held-out queries
RATE = 0.05
LEAST = 20  # rows of a leaf
SHARE = 0.7  # of the rows and features that a tree sees
SMALL = 100_000_000  # numbers, up to which threads cost more than they save
TRUNCATION = 15  # places of a list whose order counts


@dataclass(frozen=True, eq=False)
class Forest:
    """T trees of S splits and S + 1 leaves, numbered from the left, or fewer.

    Where the feature of a split is above its threshold, the leaves whose bits `keep` lacks are out of reach; the
    first that is left counts.
    """

    feature: Annotated[Ints, Array("trees", "splits", below="features")]
    threshold: Annotated[Floats, Array("trees", "splits")]
    keep: Annotated[Longs, Array("trees", "splits")]
    leaf: Annotated[Doubles, Array("trees", "splits+1")]

    @classmethod
    def empty(cls, trees: int = 0, splits: int = 1) -> Forest:
        """Make a forest without trees, or of some that add 0."""
        shape = trees, splits
        threshold = np.full(shape, np.finfo(np.float32).max, np.float32)
        return cls(np.zeros(shape, np.int32), threshold, np.full(shape, -1), np.zeros((trees, splits + 1)))

    def __len__(self) -> int:
        return len(self.leaf)

    def check(self, features: int) -> None:
        """Raise `ModelError` for arrays that do not fit each other or rows of so many features."""
        check_arrays(self, {"features": features})
        last = self.leaf.shape[1] - 1
        if last >= BITS or not (self.keep >> last & 1).all():
            raise ModelError(f"Forest.keep: has no bit of leaf {last}; each split keeps the last, of {BITS} at most")

    def scores(self, columns: Floats) -> Doubles:
        """Sum of the leaves that rows (F, N) reach, (N,)."""
        return walk_trees(columns, self.feature, self.threshold, self.keep, self.leaf)


def grow(
    columns: Floats, label: Doubles, sizes: Longs, prior: Doubles, valid: int, seed: int, trees: int = TREES
) -> Forest:
    """Train a LambdaMART forest on queries (Burges 2010, "From RankNet to LambdaRank to LambdaMART").

    columns (F, N); label (N,): what an answer is worth, 0 for all others; sizes (Q,): the rows of each query, end to
    end; prior (N,): scores that those of the trees are added to. The last `valid` queries only decide how many trees
    there are, `trees` at most; without such there are as many. Raises `MissingExtra` without LightGBM.
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
    watched: dict[str, Any] = {}
    if valid:
        held_out = train.create_valid(
            rows[others], grade[others], weight=weight[others], group=sizes[queries:], init_score=prior[others]
        )
        watched = {"valid_sets": [held_out], "callbacks": [lightgbm.early_stopping(PATIENCE, verbose=False)]}
    booster = lightgbm.train(settings, train, trees, **watched)
    grown = booster.dump_model(num_iteration=booster.best_iteration if valid else trees)["tree_info"]
    return _laid_out([each["tree_structure"] for each in grown])


def _laid_out(trees: Sequence[Mapping[str, Any]]) -> Forest:
    """Lay trees out as arrays."""
    forest = Forest.empty(len(trees), LEAVES - 1)

    def place(t: int, node: Mapping[str, Any], split: int, leaf: int) -> tuple[int, int]:
        """Place a node of a tree from a split and a leaf on; return those behind it."""
        if "split_feature" not in node:
            forest.leaf[t, leaf] = node["leaf_value"]
            return split, leaf + 1
        forest.feature[t, split], forest.threshold[t, split] = node["split_feature"], _below(node["threshold"])
        further, middle = place(t, node["left_child"], split + 1, leaf)
        forest.keep[t, split] = ~((1 << middle) - (1 << leaf))
        return place(t, node["right_child"], further, middle)

    for t, tree in enumerate(trees):
        place(t, tree, 0, 0)
    return forest


def _below(threshold: float) -> np.float32:
    """Largest number of float32 that is at most the threshold: features are float32, so each falls on its side."""
    near = np.float32(np.clip(threshold, np.finfo(np.float32).min, np.finfo(np.float32).max))
    return np.float32(np.nextafter(near, np.float32(-np.inf))) if near > threshold else near


def _lightgbm() -> Any:
    try:
        import lightgbm
    except ModuleNotFoundError:
        raise MissingExtra(LIGHTGBM.name, LIGHTGBM.extra) from None
    return lightgbm
