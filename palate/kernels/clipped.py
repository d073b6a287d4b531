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


@inlined
def solve_user(
    items: Floats,
    place: Ints,
    own: int,
    log_weight: float,
    scale: float,
    l2: float,
    rounds: int,
    rate: float,
    slope: Floats,
) -> Floats:
    """Return a user's vector (D,) after `rounds` steps of Adagrad from 0, and write the slopes by its scores."""
    D = items.shape[1]
    vector, move = np.zeros(D, np.float32), np.empty(D, np.float32)
    square = np.float32(0)
    for step in range(rounds):
        softmax_slopes(vector, items, place, own, log_weight, scale, slope)
        for d in range(D):
            move[d] = np.float32(l2) * vector[d]
        for n in range(len(place)):
            by = slope[n] * np.float32(scale)
            for d in range(D):
                move[d] += by * items[place[n], d]
        for d in range(D):
            square += move[d] * move[d] / np.float32(D)
        pace = np.float32(rate * (1 - step / rounds)) / np.sqrt(max(square, np.float32(1e-30)))
        for d in range(D):
            vector[d] -= pace * move[d]
    softmax_slopes(vector, items, place, own, log_weight, scale, slope)
    return vector


@inlined
def rounded_to(values: Floats, length: int, out: Longs) -> bool:
    """Write values as whole numbers of at most `length` together; False where they have no direction."""
    square = 0.0
    for n in range(len(values)):
        square += values[n] * values[n]
    there = 0 < square < np.inf
    if there:
        round_row(values.astype(np.float64) * (length / np.sqrt(square)), length, out)
    return there


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
    length: int,
    total: Longs,
) -> None:
    """Add a term q rᵀ for each of `users`, q and r whole numbers of at most `length` together, to total (I, D).

    A user's vector u is found with the vectors of items (I, D) held still; the gradient by them is then s uᵀ, s the
    slopes by the scores. q is s and r is u, each brought to that length. Negatives are those of `sample` that the
    user did not choose. A term is computed from the user's own row of (start, column) and the arguments alone, in
    one order: no other user moves its last bits.
    """
    I, D = items.shape
    seen, room, slopes = np.full(I, -1, np.int64), np.empty(I, np.int32), np.empty(I, np.float32)
    left, right = np.empty(I, np.int64), np.empty(D, np.int64)
    for user in users:
        own = start[user + 1] - start[user]
        count = own
        for n in range(own):
            room[n] = column[start[user] + n]
            seen[room[n]] = user
        for item in sample:
            if seen[item] != user:
                room[count] = item
                count += 1
        place, slope, q = room[:count], slopes[:count], left[:count]
        if own == 0:
            continue
        vector = solve_user(items, place, own, log_weight, scale, l2, rounds, rate, slope)
        if rounded_to(slope, length, q) and rounded_to(vector, length, right):
            for n in range(count):
                for d in range(D):
                    total[place[n], d] += q[n] * right[d]
