"""Fold-in: the vector of any history, the item vectors held still, on the objective of the training."""

from __future__ import annotations

import numpy as np

from palate.arrays import Floats, Ints
from palate.data.ragged import Ragged
from palate.kernels import blocks
from palate.models.descent import Catch

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
    start, column, weight = histories.start, histories.column, histories.weight
    B, S = len(histories), len(catch.items)
    slot = _places(catch, len(items))
    who = np.arange(B, dtype=np.int32)
    Q = items if S == len(items) else items[catch.items]  # (S, D)
    vectors = np.zeros((B, items.shape[1]), np.float32)
    squares = np.zeros(B, np.float32)
    for step in range(STEPS):
        E = (vectors * np.float32(scale)) @ Q.T  # (B, S)
        own = blocks.own_scores(vectors, items, who, start, column, scale)
        share, _ = ROWS[loss](E, catch.log_weight, own, who, start, column, weight, slot)
        share *= np.float32(scale)
        own *= np.float32(scale)
        move = (E @ Q) * share[:, None]
        amount = blocks.add_own(move, items, own, who, start, column, weight)
        blocks.descend(vectors, squares, who, move, amount, RATE * (1 - step / STEPS), l2)
    return vectors


def attractions(history: Ragged, user: Floats, items: Floats, loss: str, catch: Catch, scale: float) -> Floats:
    """How strongly each event of one history pulls on its person's vector (1, D): minus its slope, (N,).

    At the minimum l2 Σw u = scale (Σ_j pull_j p_j - what the negatives push), so pull_j p_j·p_i is event j's
    part of the score of item i, up to one factor.
    """
    who = np.zeros(1, np.int32)
    slot = _places(catch, len(items))
    E = (user * np.float32(scale)) @ items[catch.items].T
    own = blocks.own_scores(user, items, who, history.start, history.column, scale)
    ROWS[loss](E, catch.log_weight, own, who, history.start, history.column, history.weight, slot)
    return -own


def _places(catch: Catch, n_items: int) -> Ints:
    slot = np.full(n_items, -1, np.int32)
    slot[catch.items] = np.arange(len(catch.items), dtype=np.int32)
    return slot
