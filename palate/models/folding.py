"""Fold-in: the vector of any history, the item vectors held still, on the objective of the training."""

from __future__ import annotations

import numpy as np

from palate.arrays import Floats
from palate.data.ragged import Ragged
from palate.kernels import blocks
from palate.models.descent import Catch, Slopes

ROWS = {
    "softmax": blocks.softmax_rows,
    "sampled_softmax": blocks.softmax_rows,
    "logistic": blocks.logistic_rows,
    "bpr": blocks.bpr_rows,
}
STEPS = 24
RATE = 0.7


def fold_in(histories: Ragged, items: Floats, loss: str, catch: Catch, scale: float, l2: float) -> Floats:
    """Vectors (B, D) of B histories over items (I, D): `STEPS` steps of row-wise Adagrad from 0.

    `catch` is the sample of negatives. The weights of a history count relative to one another. The minimum is
    unique where l2 > 0: each loss is convex in the user's vector. An empty history gives zeros.
    """
    slot = catch.places(len(items))
    who = np.arange(len(histories), dtype=np.int32)
    Q = items if len(catch.items) == len(items) else items[catch.items]  # (S, D)
    vectors = np.zeros((len(histories), items.shape[1]), np.float32)
    squares = np.zeros(len(histories), np.float32)
    for step in range(STEPS):
        slopes = Slopes.of(ROWS[loss], vectors, Q, items, who, histories, catch, slot, scale)
        move, amount = slopes.by_user(Q, items, who, histories)
        blocks.descend(vectors, squares, who, move, amount, RATE * (1 - step / STEPS), l2)
    return vectors


def attractions(history: Ragged, user: Floats, items: Floats, loss: str, catch: Catch, scale: float) -> Floats:
    """How strongly each event of one history pulls on its person's vector (1, D): minus its slope, (N,).

    At the minimum l2 Σw u = Σ_j pull_j p_j - (what the negatives push), so pull_j p_j·p_i is event j's part of
    u·p_i, up to one factor.
    """
    who = np.zeros(1, np.int32)
    slot = catch.places(len(items))
    return -Slopes.of(ROWS[loss], user, items[catch.items], items, who, history, catch, slot, scale).own
