"""Softmax over one sample of the catalogue shared by a block of users, so that scoring is a matrix product.

For a user with positives j of weight w_j and a sample of S items with weights a_k = 1 / probability of being drawn,
where the user's own items do not count as negatives, the loss is

    Σ_j w_j (-s_j + log(e^s_j + Σ_k a_k e^s_k)),

the sampled softmax with the logQ correction (Bengio and Senécal 2008, sec. III; Yi et al. 2019, eq. 3). One row
of scores serves all positives of a user.
"""

import numpy as np

from palate.arrays import Floats, Ints, Longs
from palate.kernels.arithmetic import exp
from palate.kernels.compile import compiled
from palate.kernels.simd import WIDTH
from palate.kernels.vectors import add_and_top, exp_and_sum

NEVER = np.float32(-1e30)  # a score whose exponential is 0


@compiled
def softmax_rows(
    scores: Floats,
    log_weight: Floats,
    own: Floats,
    rows: Ints,
    start: Longs,
    column: Ints,
    weight: Floats,
    slot: Ints,
) -> tuple[Floats, float]:
    """Turn scores into slopes, in place; returns share (B,) and the summed loss.

    scores (B, S) of the sample and log_weight log a (S,); own (P,), the scores of the block's positives end to
    end; rows (B,) names rows of (column, weight) pairs; slot (I,) is an item's place in the sample, or -1.
    The slope by positive p's score is then own[p], by that of sample k share[b] scores[b, k].
    """
    B, S = scores.shape
    whole = S // WIDTH * WIDTH
    share = np.zeros(B, np.float32)
    partial = np.empty(WIDTH, np.float32)
    loss = 0.0
    p = 0
    for b in range(B):
        low, high = start[rows[b]], start[rows[b] + 1]
        for n in range(low, high):
            if slot[column[n]] >= 0:
                scores[b, slot[column[n]]] = NEVER
        partial[:] = NEVER
        for k in range(0, whole, WIDTH):
            add_and_top(scores, b, k, log_weight, partial)
        top = partial.max()
        for k in range(whole, S):
            scores[b, k] += log_weight[k]
            top = max(top, scores[b, k])
        for n in range(high - low):
            top = max(top, own[p + n])
        partial[:] = 0
        for k in range(0, whole, WIDTH):
            exp_and_sum(scores, b, k, top, partial)
        total = partial.sum()
        for k in range(whole, S):
            scores[b, k] = exp(scores[b, k] - top)
            total += scores[b, k]
        for n in range(high - low):
            w = weight[low + n]
            e = exp(own[p + n] - top)
            z = e + total
            loss += w * (np.log(z) + top - own[p + n])
            own[p + n] = w * (e / z - np.float32(1))
            share[b] += w / z
        p += high - low
    return share, loss


@compiled
def own_scores(users: Floats, items: Floats, rows: Ints, start: Longs, column: Ints, scale: float) -> Floats:
    """Scores of the block's positives end to end, (P,); users (B, D) holds the block's vectors."""
    P = 0
    for w in rows:
        P += start[w + 1] - start[w]
    result = np.empty(P, np.float32)
    p = 0
    for b in range(len(rows)):
        for n in range(start[rows[b]], start[rows[b] + 1]):
            i = column[n]
            dot = np.float32(0)
            for d in range(users.shape[1]):
                dot += users[b, d] * items[i, d]
            result[p] = dot * np.float32(scale)
            p += 1
    return result


@compiled
def add_own(
    move: Floats, items: Floats, own: Floats, rows: Ints, start: Longs, column: Ints, weight: Floats
) -> Floats:
    """Add each positive's slope times its item's vector to the gradient of its user, move (B, D).

    Returns the weight of each user's positives, (B,).
    """
    amount = np.zeros(len(rows), np.float32)
    p = 0
    for b in range(len(rows)):
        for n in range(start[rows[b]], start[rows[b] + 1]):
            i = column[n]
            slope = own[p]
            amount[b] += weight[n]
            for d in range(move.shape[1]):
                move[b, d] += slope * items[i, d]
            p += 1
    return amount


@compiled
def gather_own(
    users: Floats,
    own: Floats,
    rows: Ints,
    start: Longs,
    column: Ints,
    weight: Floats,
    slot: Ints,
    touched: Ints,
    S: int,
) -> tuple[Floats, Floats, int]:
    """Gradient of the items that are someone's positive in this block.

    `touched` (I,) begins with the S sampled items and gets the other positives appended, `slot` their places.
    Returns gradient (n, D) and the positives' weight (n,) of all n touched items, and n.
    """
    n = S
    for w in rows:
        for e in range(start[w], start[w + 1]):
            if slot[column[e]] < 0:
                slot[column[e]] = n
                touched[n] = column[e]
                n += 1
    D = users.shape[1]
    gradient = np.zeros((n, D), np.float32)
    amount = np.zeros(n, np.float32)
    p = 0
    for b in range(len(rows)):
        for e in range(start[rows[b]], start[rows[b] + 1]):
            place = slot[column[e]]
            slope = own[p]
            amount[place] += weight[e]
            for d in range(D):
                gradient[place, d] += slope * users[b, d]
            p += 1
    return gradient, amount, n


@compiled
def descend(
    vectors: Floats, squares: Floats, rows: Ints, gradient: Floats, amount: Floats, rate: float, l2: float
) -> None:
    """Row-wise Adagrad (Duchi et al. 2011, one accumulator a row): move `vectors[rows]` against the gradient.

    l2 times `amount` (n,), the weight of the positives a row stands in, is its penalty.
    """
    D = vectors.shape[1]
    for n in range(len(rows)):
        i = rows[n]
        shrink = np.float32(l2) * amount[n]
        total = np.float32(0)
        for d in range(D):
            g = gradient[n, d] + shrink * vectors[i, d]
            gradient[n, d] = g
            total += g * g
        if total == 0:
            continue
        squares[i] += total / np.float32(D)
        step = np.float32(rate) / np.sqrt(squares[i])
        for d in range(D):
            vectors[i, d] -= step * gradient[n, d]


@compiled
def release(slot: Ints, touched: Ints, n: int) -> None:
    """Forget the places of the first n touched items."""
    for k in range(n):
        slot[touched[k]] = -1
