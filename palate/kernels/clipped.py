"""Gradients of item vectors, one user's at a time, each of a bounded length and in whole numbers."""

import numpy as np

from palate.arrays import Floats, Ints, Longs
from palate.kernels.arithmetic import exp
from palate.kernels.compile import compiled, inlined
from palate.kernels.lattice import round_row


@inlined
def softmax_slopes(
    vector: Floats, items: Floats, place: Ints, own: int, log_weight: float, scale: float, slope: Floats
) -> None:
    """Slopes by the scores of items `place` (N,), of which the first `own` were chosen, the others are negatives.

    The loss is the mean over the chosen j of -s_j + log(e^s_j + Σ_k a e^s_k), s = scale u·p.
    """
    top = np.float32(-np.inf)
    for n in range(len(place)):
        dot = np.float32(0)
        for d in range(len(vector)):
            dot += vector[d] * items[place[n], d]
        slope[n] = dot * np.float32(scale) + (np.float32(log_weight) if n >= own else np.float32(0))
        top = max(top, slope[n])
    negatives = np.float32(0)
    for n in range(len(place)):
        slope[n] = exp(slope[n] - top)
        if n >= own:
            negatives += slope[n]
    share = np.float32(0)
    for n in range(own):
        whole = slope[n] + negatives
        share += np.float32(1) / (whole * np.float32(own))
        slope[n] = -negatives / (whole * np.float32(own))
    for n in range(own, len(place)):
        slope[n] *= share


@compiled
def add_gradients(
    users: Longs,
    start: Longs,
    column: Ints,
    items: Floats,
    sample: Ints,
    log_weight: float,
    scale: float,
    l2: float,
    rounds: int,
    rate: float,
    steps: int,
    total: Longs,
) -> None:
    """Add a term q rᵀ for each of `users`, q and r whole numbers of at most `steps` in length, to total (I, D).

    A user's vector u is found by `rounds` steps of Adagrad from 0 with items (I, D) and negatives `sample` held still;
    the gradient by the items' vectors is then s uᵀ, s the slopes by the scores: q is s and r is u, each brought to
    the length `steps`. A term is computed from that user's row of (start, column) and the arguments alone, in one
    order: no other user moves its last bits.
    """
    I, D = items.shape
    seen = np.full(I, -1, np.int64)
    room = np.empty(I, np.int32)
    slopes = np.empty(I, np.float32)
    whole, turned = np.empty(I, np.int64), np.empty(D, np.int64)
    for user in users:
        own = start[user + 1] - start[user]
        if own == 0:
            continue
        count = 0
        for n in range(start[user], start[user + 1]):
            seen[column[n]] = user
            room[count] = column[n]
            count += 1
        for item in sample:
            if seen[item] != user:
                room[count] = item
                count += 1
        place, slope = room[:count], slopes[:count]
        vector, move = np.zeros(D, np.float32), np.empty(D, np.float32)
        square = np.float32(0)
        for step in range(rounds):
            softmax_slopes(vector, items, place, own, log_weight, scale, slope)
            for d in range(D):
                move[d] = np.float32(l2) * vector[d]
            for n in range(count):
                by = slope[n] * np.float32(scale)
                for d in range(D):
                    move[d] += by * items[place[n], d]
            for d in range(D):
                square += move[d] * move[d] / np.float32(D)
            if square > 0:
                pace = np.float32(rate * (1 - step / rounds)) / np.sqrt(square)
                for d in range(D):
                    vector[d] -= pace * move[d]
        softmax_slopes(vector, items, place, own, log_weight, scale, slope)
        long, high = 0.0, 0.0
        for d in range(D):
            long += vector[d] * vector[d]
        for n in range(count):
            high += slope[n] * slope[n]
        if not (0 < long < np.inf and 0 < high < np.inf):
            continue
        round_row(slope.astype(np.float64) * (steps / np.sqrt(high)), steps, whole[:count])
        round_row(vector.astype(np.float64) * (steps / np.sqrt(long)), steps, turned)
        for n in range(count):
            if whole[n] != 0:
                for d in range(D):
                    total[place[n], d] += whole[n] * turned[d]
