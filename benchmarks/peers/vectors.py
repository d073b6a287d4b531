"""A model of vectors that were made elsewhere: known users, all items, scores by the dot product."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from palate.arrays import Floats
from palate.data.catalogue import Catalogue
from palate.data.histories import Histories
from palate.data.interactions import Interactions
from palate.data.vocabulary import Vocabulary
from palate.errors import DataError
from palate.models.base import Model, Recipe, Watch


@dataclass(frozen=True, kw_only=True)
class Vectors(Recipe):
    """Cannot be fitted here."""

    def fit(self, log: Interactions, catalogue: Catalogue | None = None, *, watch: Watch | None = None) -> Model:
        """Refuse."""
        raise DataError("vectors that were made elsewhere cannot be fitted again")


@dataclass(frozen=True, eq=False)
class VectorsModel(Model):
    """user_vectors (U, D), item_vectors (I, D); an unknown user gets the mean of all."""

    recipe: Vectors
    items: Vocabulary
    users: Vocabulary
    user_vectors: Floats
    item_vectors: Floats

    def scores(self, histories: Histories) -> Floats:
        """Return (B, I)."""
        known = self.users.codes(histories.users)
        vectors = np.where(known[:, None] < 0, self.user_vectors.mean(axis=0), self.user_vectors[known])
        return np.asarray(vectors @ self.item_vectors.T, np.float32)
