"""Models of items by their content: texts, pictures, sounds and attributes. An item needs no events.

A history is the sum of its items' rows z, and a score a product of it with an item's row: (Σ_j z_j) W z_i.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated, ClassVar

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.sparse import csr_array, diags_array

from palate.arrays import Array, Bools, Doubles, Floats, Ints, ItemFloats
from palate.data.catalogue import Catalogue
from palate.data.histories import Histories
from palate.data.interactions import Interactions
from palate.data.ragged import Ragged
from palate.data.vocabulary import Vocabulary
from palate.encoders.encoding import Encoded, Encoding
from palate.encoders.pretrained import packages_of
from palate.errors import Package, check
from palate.models.base import Recipe, Watch
from palate.models.factors import cosines, lengths
from palate.models.item_content import CONTENT, ContentBased, check_reading, read_items
from palate.models.item_to_item import FAINT, positive_inputs, positives
from palate.models.registry import register


@dataclass(frozen=True, kw_only=True)
class Content(Recipe):
    """W (E, E) from all users at once, by ridge regressions in closed form.

    With A = X Z, the users' sums of rows, W minimises ‖X - A W Zᵀ‖² but for each event's own row in its user's
    sum: W = (AᵀA + p I)⁻¹ (AᵀA - ZᵀNZ) (ZᵀZ + l2 I)⁻¹, N the items' numbers of users. An event counts 1 per pair; of
    weight 0 or less it is no input, but counts as seen.

    fields      what is read: a column of the catalogue, or "column:encoder"; none: all but pictures and sounds
    dim         numbers of a field at most; None: the more, the more items have events, 128 to 768
    l2          penalty where items' rows meet
    profile_l2  p, in means of the diagonal of AᵀA
    """

    fields: tuple[str, ...] = ()
    dim: int | None = None
    l2: float = 10.0
    profile_l2: float = 0.3
    seed: int = 0
    reads_weights: ClassVar[bool] = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "fields", check_reading(self.fields, self.dim, self.seed))
        for name in ("l2", "profile_l2"):
            check(0 < getattr(self, name) < np.inf, name, getattr(self, name), "must be above 0")

    def needs(self) -> tuple[Package, ...]:
        """Return what the encoders of the fields import."""
        return (*super().needs(), *packages_of(self.fields))

    def fit(
        self, log: Interactions, catalogue: Catalogue | None = None, *, watch: Watch | None = None
    ) -> ContentModel:
        """Fit to the log and the catalogue. Raises `DataError` without one."""
        items, encoding, encoded = read_items(log, catalogue, self.fields, self.dim, self.seed, watch)
        X = positives(log, binary=True)
        W = np.ascontiguousarray(self.taste(X, encoded.vectors[: len(log.items)]), np.float32)
        popularity = np.zeros(len(items), np.float32)
        popularity[: len(log.items)] = X.sum(axis=0)
        return ContentModel(self, items, encoding, encoded.vectors, encoded.terms, W, popularity)

    def taste(self, X: csr_array, Z: Floats) -> Doubles:
        """W (E, E) of users X (U, I) and rows Z (I, E)."""
        A = X @ Z
        profiles = (A.T @ A).astype(np.float64)
        own = (Z.T @ (diags_array(X.sum(axis=0)) @ Z)).astype(np.float64)
        items = (Z.T @ Z).astype(np.float64)
        one = np.eye(len(items))
        left = cho_solve(cho_factor(profiles + self.profile_l2 * profiles.trace() / len(items) * one), profiles - own)
        return np.asarray(cho_solve(cho_factor(items + self.l2 * one), left.T).T)


@dataclass(frozen=True, eq=False)
class ContentModel(ContentBased):
    """vectors (I, E): rows z; terms: I rows; weights (E, E): W; popularity (I,): users of each item."""

    recipe: Content
    items: Vocabulary
    encoding: Encoding
    vectors: Annotated[Floats, Array("items", "content")]
    terms: Ragged
    weights: Annotated[Floats, Array("content", "content")]
    popularity: ItemFloats

    def content_profile(self, histories: Histories) -> Floats:
        """Return what the histories look for in the row of an item, (B, E)."""
        rows = histories.on(self.items).rows
        x = csr_array((positive_inputs(rows, True), rows.column, rows.start), shape=(len(rows), len(self.items)))
        return np.asarray((x @ self.vectors) @ self.weights, np.float32)

    def scores(self, histories: Histories) -> Floats:
        """Return (B, I), equal ones by popularity; a user without a history gets the popularity alone."""
        scores = self.content_profile(histories) @ self.vectors.T
        scores += self.popularity * (FAINT / max(self.popularity.max(), np.float32(1)))
        scores[histories.on(self.items).rows.positives == 0] = self.popularity
        return scores

    @cached_property
    def _content(self) -> tuple[Floats, Floats]:
        rows = np.ascontiguousarray(self.vectors[:, 1:])
        return rows, lengths(rows)

    def item_similarity(self, item: int) -> Floats:
        """Cosine of the content of one item with that of all, (I,)."""
        return cosines(*self._content, item)

    def contributions(self, past: Ragged, items: Ints) -> Floats:
        """Exact parts x_j z_j W z_i of the scores, (N, J)."""
        x = positive_inputs(past, True)
        return np.asarray(x[:, None] * (self.vectors[past.column] @ self.weights @ self.vectors[items].T), np.float32)

    def with_items(self, catalogue: Catalogue) -> ContentModel:
        """Return the model with the items of another catalogue read too; those it holds are read anew."""
        items = self.items.union(catalogue.items)
        before = Encoded(self.vectors, self.terms)
        after = before.over(self.encoding.encode(catalogue), catalogue.items.recode(items), len(items))
        popularity = np.pad(self.popularity, (0, len(items) - len(self.items)))
        return replace(self, items=items, vectors=after.vectors, terms=after.terms, popularity=popularity)

    @property
    def cold_items(self) -> Bools:
        """Items without events, (I,)."""
        return np.asarray(self.popularity == 0)


register(Content, ContentModel, holds=CONTENT)
