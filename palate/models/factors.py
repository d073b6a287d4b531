"""What models of vectors share: a score is a dot product, and the best k come without a matrix of all scores."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np

from palate.arrays import Array, Bools, Floats, Ints, ItemFloats, Longs
from palate.compute.threads import ThreadTeam, cores
from palate.data.histories import Histories
from palate.data.interactions import Interactions
from palate.data.rankings import Rankings
from palate.data.vocabulary import Id, Vocabulary
from palate.errors import SettingError
from palate.kernels.quantised import Codes, quantise, scanner
from palate.kernels.topk import MOST, keep_best, nothing
from palate.models.base import Model, Recipe, Retrieved, Watch
from palate.models.similar import most_similar

if TYPE_CHECKING:
    from palate.models.prior import ContentPrior  # which imports scipy.linalg

ROWS, COLUMNS = 256, 1024  # of a block of scores: 1 MB, which stays in the cache
FEW, MANY = 4, 10_000  # so few users and this many items are ranked through bytes
RANKED = 8192  # users whose vectors are held at once


class FactorRecipe(Recipe):
    """A recipe whose model is vectors of users and items."""

    dim: int
    takes_prior: ClassVar[bool] = False  # whether the objective has a place for a prior of the item vectors

    def fit_with_prior(self, log: Interactions, prior: ContentPrior, *, watch: Watch | None = None) -> FactorModel:
        """Fit to the log, the item vectors drawn to the prior; only where `takes_prior`."""
        raise SettingError(f"{type(self).__name__}: this recipe takes no prior of the item vectors")


@dataclass(frozen=True, eq=False)
class FactorModel(Model):
    """Scores users' vectors u against item_vectors (I, D): `scale` u·p.

    user_vectors (U, D) are those of the users trained on; popularity (I,) answers an empty history.
    """

    users: Vocabulary
    user_vectors: Annotated[Floats, Array("users", "dim")]
    item_vectors: Annotated[Floats, Array("items", "dim")]
    popularity: ItemFloats

    @property
    def sizes(self) -> dict[str, int]:
        """Numbers that the words of its `Array` fields stand for."""
        return {**super().sizes, "users": len(self.users)}

    @property
    def scale(self) -> float:
        """Factor of the dot product in a score."""
        return 1.0

    @abstractmethod
    def vectors(self, histories: Histories) -> Floats:
        """Vectors of histories over `self.items`, (B, D)."""

    def batch_size(self) -> int:
        """Users ranked at once: no matrix of their scores is made."""
        return RANKED

    def scores(self, histories: Histories) -> Floats:
        """Return `scale` u·p, (B, I); a user without a history gets the popularity of the items."""
        asked = histories.on(self.items)
        scores: Floats = np.matmul(self.scaled_vectors(asked), self.item_vectors.T, dtype=np.float32)
        scores[asked.rows.positives == 0] = self.popularity
        return scores

    def top(self, histories: Histories, k: int, allowed: Bools, keep_seen: bool) -> tuple[Ints, Floats]:
        """Return the best k of the items allowed (I,) for one block: item (B, k) and score (B, k)."""
        if k > MOST:
            return super().top(histories, k, allowed, keep_seen)
        return self._best(self.scaled_vectors(histories), histories, k, allowed, keep_seen)

    def retrieve(self, histories: Histories, k: int, allowed: Bools, keep_seen: bool) -> Retrieved:
        """Return the best k of the items allowed (I,) for one block, and what scores others beside them."""
        if k > MOST:
            return super().retrieve(histories, k, allowed, keep_seen)
        vectors, empty = self.scaled_vectors(histories), histories.rows.positives == 0

        def score(b: int, items: Ints) -> Floats:
            return self.popularity[items] if empty[b] else self.item_vectors[items] @ vectors[b]

        return Retrieved(self._best(vectors, histories, k, allowed, keep_seen)[0], score)

    def scaled_vectors(self, histories: Histories) -> Floats:
        """Vectors of histories times `scale`, (B, D)."""
        vectors = self.vectors(histories)
        return vectors if self.scale == 1 else vectors * np.float32(self.scale)

    def _best(
        self, vectors: Floats, histories: Histories, k: int, allowed: Bools, keep_seen: bool
    ) -> tuple[Ints, Floats]:
        """Return the best k, at most `MOST`, for scaled vectors (B, D) of histories."""
        rows = histories.rows
        start = np.zeros_like(rows.start) if keep_seen else rows.start
        if len(vectors) <= FEW and len(self.item_vectors) >= MANY:
            item, score = self.scanned(vectors, k, allowed, start, rows.column)
        else:
            item, score = best_products(vectors, self.item_vectors, k, allowed, start, rows.column)
        empty = rows.positives == 0
        if empty.any():
            own = rows.rows(np.flatnonzero(empty))
            start = np.zeros_like(own.start) if keep_seen else own.start
            ones, popularity = np.ones((len(own), 1), np.float32), self.popularity[:, None]
            item[empty], score[empty] = best_products(ones, popularity, k, allowed, start, own.column)
        return item, score

    def cold_spread(self, history: Histories, strength: float) -> float:
        """Return the standard deviation of the score of a cold-start item, its vector drawn to one by `strength`."""
        return 0.0

    @cached_property
    def codes(self) -> Codes:
        """Return the item vectors as bytes, made when a few users first ask for the best of many items."""
        return quantise(self.item_vectors)

    def scanned(self, vectors: Floats, k: int, allowed: Bools, start: Longs, column: Ints) -> tuple[Ints, Floats]:
        """Do as `best_products` does, one user at a time, through the bytes."""
        item, best = nothing(len(vectors), k)
        scan = scanner(vectors.shape[1])
        for b in range(len(vectors)):
            one = slice(b, b + 1)
            scan(
                vectors[one], self.item_vectors, *self.codes, allowed, start[b : b + 2], column, item[one], best[one]
            )
        return item, best

    @cached_property
    def item_lengths(self) -> Floats:
        """Lengths of the item vectors, (I,)."""
        return lengths(self.item_vectors)

    @property
    def item_embeddings(self) -> Floats:
        """The item vectors, (I, D)."""
        return self.item_vectors

    def item_similarity(self, item: int) -> Floats:
        """Cosine of one item's vector with all, (I,)."""
        return cosines(self.item_vectors, self.item_lengths, item)

    def similar_users(self, users: Iterable[Id], k: int = 10) -> Rankings:
        """Best k users for each of these by the cosine of their vectors, themselves left out."""
        length = lengths(self.user_vectors)
        all_users = np.ones(len(self.users), np.bool_)
        return most_similar(
            self.users, users, k, lambda user: cosines(self.user_vectors, length, user), all_users, "user"
        )


def best_products(
    vectors: Floats, items: Floats, k: int, allowed: Bools, start: Longs, column: Ints
) -> tuple[Ints, Floats]:
    """Best k rows of items (I, D) for each of vectors (B, D) by dot product: item and score, (B, k).

    Only rows that are allowed (I,), and none of the row's own columns: start (B + 1,), column (N,).
    """
    item, best = nothing(len(vectors), k)
    columns = ROWS * COLUMNS // min(ROWS, max(1, len(vectors)))  # few users, long rows: as large a block

    def work(_: int, first: int, last: int) -> float:
        stamp = np.zeros(len(items), np.int32)
        tile = np.empty(min(ROWS, len(vectors)) * columns, np.float32)
        for low in range(first * ROWS, min(last * ROWS, len(vectors)), ROWS):
            high = min(low + ROWS, len(vectors))
            stamp[:] = 0
            for left in range(0, len(items), columns):
                part = items[left : left + columns]
                scores = tile[: (high - low) * len(part)].reshape(high - low, len(part))
                np.matmul(vectors[low:high], part.T, out=scores)
                keep_best(scores, left, allowed, start[low : high + 1], column, stamp, item[low:high], best[low:high])
        return 0.0

    blocks = -(-len(vectors) // ROWS)
    if blocks == 1:
        work(0, 0, 1)
    elif blocks > 1:
        with ThreadTeam(cores()) as team:
            team.run(work, 0, blocks)
    return item, best


def lengths(vectors: Floats) -> Floats:
    """Lengths of vectors (N, D), (N,), never 0."""
    length: Floats = np.sqrt(np.einsum("nd,nd->n", vectors, vectors))
    return np.maximum(length, np.float32(1e-30))


def cosines(vectors: Floats, length: Floats, row: int) -> Floats:
    """Cosine of one of the vectors (N, D) with all, (N,)."""
    return np.asarray(vectors @ (vectors[row] / length[row]) / length, np.float32)
