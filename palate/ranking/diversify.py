"""Diversity: items of a list that are unlike each other, more of it for a user who roams."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from palate.arrays import Floats
from palate.data.ragged import liked
from palate.errors import check
from palate.kernels.rerank import choose_dpp, choose_mmr, spread, value_rows
from palate.ranking.context import Context
from palate.ranking.labels import labels_at
from palate.ranking.slate import Slate
from palate.ranking.stages import Stage, leading, relevance, reordered, tempered

METHODS = {"dpp": choose_dpp, "mmr": choose_mmr}
RECENT = 0.9  # weight of an event beside that of the next one, in the spread of a history
PERSONAL = 0.1, 2.0  # times the weight for the narrowest taste, and for the user who roams most
MOST_PAST = 100  # newest events of a history that are looked at
HALF = 0.3  # weight of the similarity beside that of relevance at strength 0.5


@dataclass(frozen=True)
class Diversify(Stage):
    """Order the best of a pool so that they are good and unlike each other.

    strength  0 keeps the list as it is, 1 looks at similarity alone
    by        an attribute: items are alike that share its values; None compares the vectors of the items
    method    "dpp": a determinantal point process (Chen et al. 2018); "mmr": maximal marginal relevance (1998)
    personal  multiplies the weight by the spread of the user's history, recent events first, beside that of the pool:
              a narrow taste gets less diversity than one that roams

    Where the model has no vectors and `by` names no attribute, the list stays as it is.
    """

    strength: float = 0.3
    by: str | None = None
    method: str = "dpp"
    personal: bool = True
    pool: int = field(default=200, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        check(0 <= self.strength <= 1, "strength", self.strength, "must be 0 to 1")
        check(self.method in METHODS, "method", self.method, f"must be one of {', '.join(METHODS)}")

    @property
    def attributes(self) -> tuple[str, ...]:
        """The attribute that items are compared by."""
        return () if self.by is None else (self.by,)

    @property
    def reads_vectors(self) -> bool:
        """Whether vectors are compared."""
        return self.by is None

    def __call__(self, slate: Slate, context: Context, k: int) -> Slate:
        """Choose k greedily; the rest of the pool follows in its order."""
        pool = slate.take(slice(leading(slate)))
        if not self.strength or len(pool) < 2:
            return slate
        past = context.history.position[liked(context.history.weight)][-MOST_PAST:]
        vectors = self._vectors(np.concatenate([past, pool.position]), context)
        if vectors is None:
            return slate
        own = vectors[len(past) :]
        factor = personal_factor(vectors[: len(past)], own) if self.personal else 1.0
        weight = tempered(self.strength, HALF * factor)
        return reordered(slate, METHODS[self.method](relevance(pool.score), own, weight, min(k, len(pool))))

    def _vectors(self, positions: np.ndarray[tuple[int], np.dtype[np.int64]], context: Context) -> Floats | None:
        """Vectors of length 1, or 0 for an unknown item, (N, D); None where there are none at all."""
        if self.by is None:
            return context.unit_vectors(positions)
        start, code, values = labels_at(context.masks.attributes.values(self.by), positions)
        return value_rows(start, code, values) if values else None


def personal_factor(past: Floats, pool: Floats) -> float:
    """Compare the spread of a history (H, D), oldest first, with that of candidates (N, D), within `PERSONAL`.

    1 where there is too little to compare.
    """
    own, usual = spread(past, RECENT), spread(pool, 1.0)
    return 1.0 if own < 0 or usual <= 0 else min(max(own / usual, PERSONAL[0]), PERSONAL[1])
