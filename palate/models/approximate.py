"""An approximate index over a factor model: the same calls, fewer items looked at, the recall measured.

The one home of faiss (extra `ann`).
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import Any

import numpy as np

from palate.arrays import Bools, Floats, Ints
from palate.data.histories import Histories
from palate.data.ragged import Ragged
from palate.data.rankings import Rankings
from palate.data.vocabulary import Id
from palate.errors import MissingExtra, check, real, whole
from palate.kernels.topk import nothing, select_top
from palate.models.base import Model
from palate.models.factors import FactorModel
from palate.models.posterior import Posterior

LISTS = 2  # of the index, times √I
ASKED = 1000  # users that the recall is measured on
SPARE = 4  # candidates for each place, beside the items that the user has seen


@dataclass(frozen=True, eq=False)
class ApproximateModel(Model):
    """A factor model whose rankings come from an inverted file of its item vectors (Jégou et al. 2011, sec. IV).

    recall  share of the exact best k that the index found, a mean over users, measured when it was built
    probes  lists looked at for each user; a list is the items nearest one of the centroids
    """

    model: FactorModel
    probes: int
    recall: float
    index: Any = field(repr=False)

    def scores(self, histories: Histories) -> Floats:
        """Score every item exactly, (B, I)."""
        return self.model.scores(histories)

    def known_users(self) -> set[str]:
        """As the model itself does."""
        return self.model.known_users()

    def without(self, users: AbstractSet[str]) -> ApproximateModel:
        """Return the index over the model without what is kept of these users."""
        return replace(self, model=self.model.without(users))

    @property
    def item_embeddings(self) -> Floats:
        """The item vectors, (I, D)."""
        return self.model.item_vectors

    def posterior(self, history: Histories) -> Posterior | None:
        """As the model itself does."""
        return self.model.posterior(history)

    def similar_users(self, users: Iterable[Id], k: int = 10) -> Rankings:
        """As the model itself does."""
        return self.model.similar_users(users, k)

    def item_similarity(self, item: int) -> Floats:
        """As the model itself does."""
        return self.model.item_similarity(item)

    def contributions(self, past: Ragged, items: Ints) -> Floats:
        """As the model itself does."""
        return self.model.contributions(past, items)

    def batch_size(self) -> int:
        """Users ranked at once."""
        return self.model.batch_size()

    def top(self, histories: Histories, k: int, allowed: Bools, keep_seen: bool) -> tuple[Ints, Floats]:
        """Return the best k the index finds; exact where it finds fewer, or where few items are allowed."""
        if 2 * np.count_nonzero(allowed) < len(allowed):
            return self.model.top(histories, k, allowed, keep_seen)
        rows = histories.rows
        vectors = self.model.scaled_vectors(histories)
        item, best = nothing(len(rows), k)
        wanted = min(len(self.items), SPARE * k + (0 if keep_seen else int(rows.lengths.max(initial=0))))
        scores, found = self.index.search(np.ascontiguousarray(vectors), wanted, params=_probing(self.probes))
        for b in range(len(rows)):
            good = found[b] >= 0
            good &= allowed[found[b]]
            if not keep_seen:
                good &= ~np.isin(found[b], rows.column[rows.start[b] : rows.start[b + 1]])
            chosen = np.flatnonzero(good)[:k]
            item[b, : len(chosen)], best[b, : len(chosen)] = found[b, chosen], scores[b, chosen]
        short = np.flatnonzero((item[:, -1] < 0) | (rows.positives == 0))
        if len(short):
            item[short], best[short] = self.model.top(histories.gather(short), k, allowed, keep_seen)
        return item, best


def approximate(model: FactorModel, *, recall: float = 0.95, k: int = 10, seed: int = 0) -> ApproximateModel:
    """Build an index whose lists hold at least a share `recall` of the exact best k.

    The number of lists looked at is doubled until that is so on 1,000 of the model's users. It is kept in memory
    only: build it again after loading. Raises `MissingExtra` without faiss.
    """
    check(0 < real("recall", recall) <= 1, "recall", recall, "must be above 0 and at most 1")
    whole("k", k)
    faiss = _faiss()
    I, D = model.item_vectors.shape
    lists = max(1, min(I // 40, int(LISTS * np.sqrt(I))))
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(D), D, lists, faiss.METRIC_INNER_PRODUCT)
    index.cp.seed, index.cp.niter, index.cp.max_points_per_centroid = seed + 1, 10, 64
    vectors = np.ascontiguousarray(model.item_vectors, np.float32)
    index.train(vectors)
    index.add(vectors)
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(len(model.user_vectors))[:ASKED]
    asked = np.ascontiguousarray(model.user_vectors[chosen])
    exact, _ = select_top(asked @ vectors.T, np.ones(I, np.bool_), min(k, I))
    probes = 1
    while True:
        _, found = index.search(asked, min(k, I), params=_probing(probes))
        reached = float(np.mean([np.isin(row, near).mean() for row, near in zip(exact, found, strict=True)]))
        if reached >= recall or probes >= lists:
            return ApproximateModel(model.recipe, model.items, model, probes, reached, index)
        probes = min(2 * probes, lists)


def _faiss() -> ModuleType:
    try:
        import faiss
    except ModuleNotFoundError:
        raise MissingExtra("faiss-cpu", "ann") from None
    return faiss


def _probing(probes: int) -> object:
    return _faiss().SearchParametersIVF(nprobe=probes)
