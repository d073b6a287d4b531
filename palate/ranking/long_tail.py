"""The long tail: less popular items stand higher."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from palate.errors import check
from palate.ranking.context import Context
from palate.ranking.slate import Slate
from palate.ranking.stages import Stage, leading, relevance, reordered


@dataclass(frozen=True)
class LongTail(Stage):
    """Order a pool by relevance less popularity.

    strength  weight of the logarithm of the popularity, by that of the pool's most popular item; 0 keeps the list as
              it is, 1 weighs popularity as much as relevance
    """

    strength: float = 0.2
    pool: int = field(default=200, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        check(0 <= self.strength <= 1, "strength", self.strength, "must be 0 to 1")

    def __call__(self, slate: Slate, context: Context, k: int) -> Slate:
        """Order the whole pool."""
        count = leading(slate)
        if not self.strength or count < 2:
            return slate
        popular = np.log1p(np.maximum(context.popular.score[slate.position[:count]], 0))
        most = popular.max()
        value = relevance(slate.score[:count]) - self.strength * (popular / most if most > 0 else popular)
        order = np.argsort(-value, kind="stable")
        return reordered(slate, order)
