"""Item neighbours: an item scores by how near it is to those of the history."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from palate.arrays import Doubles, Floats
from palate.data.catalogue import Catalogue
from palate.data.interactions import Interactions
from palate.data.ragged import Ragged
from palate.errors import check
from palate.models.base import Watch, refuse_empty
from palate.models.item_to_item import ItemRecipe, SparseItemModel, positive_inputs, positives
from palate.models.neighbours import Neighbours, arrays
from palate.models.registry import register
from palate.models.weights import check_half_life

SIMILARITIES = ("cosine", "tf-idf", "bm25", "rp3beta")


@dataclass(frozen=True, kw_only=True)
class ItemKNN(ItemRecipe):
    """Each item i takes part in the score of a history by its `neighbours` most similar items j (Sarwar et al. 2001).

    x_ui is the input of user u for item i, n_u the users' sums of items, n_i the items' numbers of users.

    similarity  "cosine": Σ_u x_ui x_uj / (|x_i| |x_j|).
                "tf-idf": the cosine of √x_ui log(1 + (1 + I) / (1 + n_u)): users of few items count more.
                "bm25": Σ_u b_ui b_uj, b_ui = x_ui (k1 + 1) / (x_ui + k1 (1 - b + b n_i / mean n)) idf_u with
                idf_u = log(1 + (I - n_u + ½) / (n_u + ½)): items are the documents, users the words (Robertson and
                Zaragoza 2009, eq. 3.15; the 1 within the logarithm, which keeps it above 0, is Lucene's).
                "rp3beta": Σ_u (p_ju p_ui)^alpha / n_i^beta with p_ju = x_uj / Σ_u x_uj and p_ui = x_ui / Σ_i x_ui, a
                walk of three steps from the user over item j (Paudel et al. 2017, sec. 4.2).
    shrink      a similarity is multiplied by √(n_i n_j) / (√(n_i n_j) + shrink): of few users it counts less.
    k1, b       of "bm25". alpha, beta: of "rp3beta"; more beta, fewer popular items.
    binary      a pair counts 1 however often and with what weight it came; False: its weights, which add up.
    half_life_days  in the training an event counts half as much that many days before the newest; None: no decay.

    An event of weight 0 or less is no positive: it is not trained on and no input, but it counts as seen.
    """

    neighbours: int = 100
    similarity: str = "rp3beta"
    shrink: float = 10.0
    k1: float = 1.2
    b: float = 0.15
    alpha: float = 0.6
    beta: float = 0.3
    binary: bool = True
    half_life_days: float | None = None

    def __post_init__(self) -> None:
        check(self.neighbours >= 1, "neighbours", self.neighbours, "must be 1 or more")
        rule = f"must be one of {', '.join(SIMILARITIES)}"
        check(self.similarity in SIMILARITIES, "similarity", self.similarity, rule)
        for name in ("k1", "alpha"):
            check(0 < getattr(self, name) < np.inf, name, getattr(self, name), "must be above 0")
        for name in ("shrink", "beta"):
            check(0 <= getattr(self, name) < np.inf, name, getattr(self, name), "must be 0 or more")
        check(0 <= self.b <= 1, "b", self.b, "must be from 0 to 1")
        check_half_life(self.half_life_days)

    def inputs(self, rows: Ragged) -> Floats:
        """Return the input x of each event of the histories, (N,)."""
        return positive_inputs(rows, self.binary)

    def fit(
        self, log: Interactions, catalogue: Catalogue | None = None, *, watch: Watch | None = None
    ) -> SparseItemModel:
        """Fit to the log."""
        refuse_empty(log)
        X = positives(log, self.binary, self.half_life_days)
        sums = self.item_sums(X)
        target, source = self.sides(X, sums)
        near = Neighbours.of(target.T.tocsr(), source, self.rare(sums[0]), self.neighbours)
        return SparseItemModel(self, log.items, X.sum(axis=0).astype(np.float32), *arrays(near.weights()))

    def item_sums(self, X: csr_array) -> Doubles:
        """Of each item n_i and Σ_u x_ui; of the cosines Σ_u of the square of what stands for x_ui; (2, I)."""
        x = self.by_user(X)
        if self.similarity in ("cosine", "tf-idf"):
            x = x * x
        return np.stack([np.bincount(X.indices, weight, minlength=X.shape[1]) for weight in (np.ones_like(x), x)])

    def by_user(self, X: csr_array) -> Doubles:
        """Return what stands for x (N,): of "tf-idf" with the weight of the user."""
        x = X.data.astype(np.float64)
        if self.similarity != "tf-idf":
            return np.asarray(x)
        own = np.diff(X.indptr)
        return np.asarray(np.sqrt(x) * np.repeat(np.log1p((1 + X.shape[1]) / (1 + own)), own))

    def sides(self, X: csr_array, sums: Doubles) -> tuple[csr_array, csr_array]:
        """T and S (U, I) with which the similarity of source j to target i is Σ_u T_ui S_uj.

        sums (2, I) as `item_sums` has them, of all users, of whom X may hold some.
        """
        user = np.repeat(np.arange(X.shape[0]), np.diff(X.indptr))
        x, item, (counts, total) = self.by_user(X), X.indices, sums
        if self.similarity == "rp3beta":
            to_item, to_user = (share**self.alpha for share in (x / np.bincount(user, x)[user], x / total[item]))
            popularity = np.maximum(counts, 1) ** self.beta
            return filled(X, to_item / popularity[item]), filled(X, to_user)
        if self.similarity == "bm25":
            own = np.bincount(user, minlength=X.shape[0])
            idf = np.log1p((X.shape[1] - own + 0.5) / (own + 0.5))
            damp = self.k1 * (1 - self.b + self.b * total / total.mean())
            both = filled(X, x * (self.k1 + 1) / (x + damp[item]) * idf[user])
            return both, both
        both = filled(X, x / np.sqrt(total[item]))
        return both, both

    def rare(self, counts: Doubles) -> Floats:
        """Factors r (I,): √(n_i n_j) / (√(n_i n_j) + shrink) is 1 / (1 + r_i r_j)."""
        return np.sqrt(self.shrink / np.maximum(counts, 1)).astype(np.float32)


def filled(X: csr_array, weight: Doubles) -> csr_array:
    """X with other weights."""
    return csr_array((weight.astype(np.float32), X.indices, X.indptr), shape=X.shape)


register(ItemKNN, SparseItemModel)
