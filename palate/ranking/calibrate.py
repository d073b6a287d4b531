"""Calibration: the mix of an attribute in a list follows that of the user's history."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from palate.data.ragged import liked
from palate.errors import check
from palate.kernels.rerank import choose_calibrated, mix_of
from palate.ranking.context import Context
from palate.ranking.labels import labels_at
from palate.ranking.slate import Slate
from palate.ranking.stages import Stage, leading, relevance, reordered, tempered

HALF = 0.03  # of the range of a pool's scores, which each place gives for a nat of divergence at strength 0.5
SMOOTHING = 0.01  # share of the history's mix in that of the list, so that the divergence is finite


@dataclass(frozen=True)
class Calibrate(Stage):
    """Choose a list whose mix of an attribute follows that of the user's history (Steck 2018).

    attribute   such as genres; an item with several values has an equal part of each
    strength    0 keeps the list as it is, 1 looks at the mix alone
    half_life   events after which a past event counts half as much as the newest; 0 counts all alike
    """

    attribute: str
    strength: float = 0.5
    half_life: float = 50
    pool: int = field(default=200, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        check(bool(self.attribute), "attribute", self.attribute, "must name an attribute of the items")
        check(0 <= self.strength <= 1, "strength", self.strength, "must be 0 to 1")
        check(0 <= self.half_life < np.inf, "half_life", self.half_life, "must be a number of 0 or more")

    @property
    def attributes(self) -> tuple[str, ...]:
        """The attribute."""
        return (self.attribute,)

    def __call__(self, slate: Slate, context: Context, k: int) -> Slate:
        """Choose k greedily, and leave them in the order of the pool: the mix is the same, the best stay on top."""
        pool = slate.take(slice(leading(slate)))
        own = liked(context.history.weight)
        past, weight = context.history.position[own], context.history.weight[own]
        if not self.strength or len(pool) < 2 or not len(past):
            return slate
        positions = np.concatenate([past, pool.position])
        start, code, values = labels_at(context.masks.attributes.values(self.attribute), positions)
        wanted = mix_of(start, code, weight, self.half_life, values)
        if not wanted.any():
            return slate
        chosen = choose_calibrated(
            relevance(pool.score),
            start[len(past) :] - start[len(past)],
            code[start[len(past)] :],
            wanted,
            tempered(self.strength, HALF),
            SMOOTHING,
            min(k, len(pool)),
        )
        return reordered(slate, np.sort(chosen))
