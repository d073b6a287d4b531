"""Negative-sampling SGD with negatives drawn for each positive: the logistic, softmax and BPR losses.

The kernel is lock-free (Hogwild, Niu et al. 2011): threads share the vectors and may overwrite one another.
Random numbers are counter-based, so a sample's negatives depend on the seed and its position alone.
"""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple, TypeAlias

import numpy as np

from palate.arrays import Doubles, Floats, Ints, Longs, Words
from palate.kernels.arithmetic import exp, mix
from palate.kernels.compile import compiled, inlined
from palate.kernels.vectors import row_dot, row_exchange, row_prefetch

SOFTMAX, LOGISTIC, BPR = 0, 1, 2
AHEAD = 4  # samples in flight: rows are drawn and fetched from memory three before their turn; a power of 2
GOLDEN = np.uint64(0x9E3779B97F4A7C15)
WORD = np.uint64(32)
LOW_WORD = np.uint64(0xFFFFFFFF)
LANES = 16  # floats of one vector register, or of two
NEVER = np.float32(-1e30)  # a score whose exponential is 0
TRIES = 8  # draws before an item of the user's own is accepted: some people have nearly everything


Kernel: TypeAlias = Callable[..., float]


class Events(NamedTuple):
    """The log as samples: order (N,) is a permutation of the events; user, item, weight (N,)."""

    order: Ints
    user: Ints
    item: Ints
    weight: Floats


class Sampler(NamedTuple):
    """How negatives are drawn: alias table (I,), log K q (I,), and the items to reject as sorted ragged rows."""

    threshold: Words
    alias: Ints
    log_kq: Floats
    start: Longs
    column: Ints
    reject: bool


class Step(NamedTuple):
    """One slice of SGD. The score of u and p is `scale` u·p; `key` seeds the random numbers of this epoch."""

    loss: int
    negatives: int
    learning_rate: float
    l2: float
    scale: float
    key: np.uint64


@compiled
def alias_table(chance: Doubles) -> tuple[Words, Ints]:
    """Alias table of chances (I,) that add up to 1 (Vose 1991): threshold and alias, (I,) each."""
    I = len(chance)
    height = chance * I
    threshold = np.full(I, 0xFFFFFFFF, np.uint32)
    alias = np.arange(I).astype(np.int32)
    stack = np.empty(I, np.int64)  # low columns from the left, high ones from the right
    low, high = 0, I
    for i in range(I):
        if height[i] < 1:
            stack[low] = i
            low += 1
        else:
            high -= 1
            stack[high] = i
    while low > 0 and high < I:
        low -= 1
        short, tall = stack[low], stack[high]
        threshold[short] = np.uint32(height[short] * 4294967295.0)
        alias[short] = tall
        height[tall] -= 1 - height[short]
        if height[tall] < 1:
            high += 1
            stack[low] = tall
            low += 1
    return threshold, alias


@inlined
def draw(random: np.uint64, threshold: Words, alias: Ints) -> np.int32:
    """One item by the alias method (Walker 1977): the high 32 bits choose a column, the low 32 a side of it."""
    column = np.int64(((random >> WORD) * np.uint64(len(alias))) >> WORD)
    keep = (random & LOW_WORD) < np.uint64(threshold[column])
    return np.int32(column) if keep else alias[column]


@inlined
def contains(column: Ints, low: np.int64, high: np.int64, value: np.int32) -> bool:
    """Whether sorted `column[low:high]` holds the value."""
    bottom, top = low, high
    while bottom < top:
        middle = (bottom + top) >> 1
        if column[middle] < value:
            bottom = middle + 1
        else:
            top = middle
    return bool(bottom < high and column[bottom] == value)


@inlined
def softplus_slopes(x: Floats, g: Floats, width: int) -> np.float32:
    """Sum of log(1 + e^x) over x (width,), and its slopes σ(x) into g.

    log(1 + e^x) = max(x, 0) + log(1 + e^-|x|): 64 factors 1 + e^-|x| <= 2 share one logarithm.
    """
    value = np.float32(0)
    for base in range(0, width, LANES):
        product = np.float32(1)
        for k in range(base, base + LANES):
            e = exp(-abs(x[k]))
            product *= np.float32(1) + e
            value += max(x[k], np.float32(0))
            g[k] = (np.float32(1) if x[k] >= 0 else e) / (np.float32(1) + e)
        value += np.log(product)
    return value


@inlined
def slopes(loss: int, s: Floats, g: Floats, K: int, width: int) -> np.float32:
    """Loss of one sample and its slopes g by the scores s: the positive first, then K negatives, s is spent.

    Both are (width,), filled up with scores that count as -infinity so that no loop has a remainder.

    LOGISTIC  -log σ(s₀) - Σ log σ(-s_k)                  (the founding formula)
    SOFTMAX   -s₀ + log(e^s₀ + Σ e^s_k), where each s_k comes with log K q_k taken off
                                                          (Bengio and Senécal 2008, sec. III)
    BPR       -Σ log σ(s₀ - s_k) / K                      (Rendle et al. 2009, sec. 4.1)
    """
    value = np.float32(0)
    if loss == SOFTMAX:
        top = s[0]
        for k in range(width):
            top = max(top, s[k])
        total = np.float32(0)
        for k in range(width):
            g[k] = exp(s[k] - top)
            total += g[k]
        value = np.log(total) + top - s[0]
        share = np.float32(1) / total
        for k in range(width):
            g[k] *= share
        g[0] -= np.float32(1)
    elif loss == LOGISTIC:
        s[0] = -s[0]
        value = softplus_slopes(s, g, width)
        g[0] = -g[0]
    else:
        positive = s[0]
        s[0] = NEVER
        for k in range(width):
            s[k] -= positive
        share = np.float32(1) / np.float32(K)
        value = softplus_slopes(s, g, width) * share
        total = np.float32(0)
        for k in range(width):
            g[k] *= share
            total += g[k]
        g[0] = -total
    return value


@inlined
def draw_rows(rows: Ints, slot: int, user: np.int32, K: int, sampler: Sampler, key: np.uint64) -> None:
    """Fill `rows[slot, 1:]` with K negatives. One 64-bit number a draw."""
    for k in range(1, K + 1):
        rows[slot, k] = draw(mix(key + np.uint64(k) * GOLDEN), sampler.threshold, sampler.alias)
    if sampler.reject:
        low, high = sampler.start[user], sampler.start[user + 1]
        for k in range(1, K + 1):
            tried = 1
            while tried < TRIES and contains(sampler.column, low, high, rows[slot, k]):
                again = np.uint64(k) + (np.uint64(tried) << WORD)
                rows[slot, k] = draw(mix(key + again * GOLDEN), sampler.threshold, sampler.alias)
                tried += 1


def sgd_kernel(dim: int, negatives: int) -> Kernel:
    """Kernel for vectors of `dim` elements and K negatives.

    Both sizes are known to the compiler, so that its loops unroll; K is rounded up to whole registers.
    """
    return _sgd_kernel(dim, -(-(negatives + 1) // LANES) * LANES)


@cache
def _sgd_kernel(dim: int, width: int) -> Kernel:  # noqa: C901  the hot loop stays in one piece
    @compiled
    def sgd(
        users: Floats, items: Floats, events: Events, sampler: Sampler, step: Step, first: int, last: int
    ) -> float:
        """Take one step on each sample of positions `[first, last)`; returns the weighted sum of their losses.

        users (U, dim) and items (I, dim) are changed in place. For a sample of weight w, with g the slopes by
        the scores: u -= rate w (Σ g_k scale p_k + l2 u), p_k -= rate w g_k scale u, and the positive's penalty.
        """
        K = step.negatives
        ring = np.empty((AHEAD, K + 1), np.int32)
        s = np.empty(width, np.float32)
        g = np.empty(width, np.float32)
        move = np.empty((1, dim), np.float32)
        scale = np.float32(step.scale)
        rate = np.float32(step.learning_rate)
        total = 0.0
        for t in range(first - AHEAD + 1, last):
            if t + AHEAD - 1 < last:
                fetch(users, items, events, sampler, step, ring, t + AHEAD - 1, dim)
            if t < first:
                continue
            slot = t & (AHEAD - 1)
            event = events.order[t]
            u = events.user[event]
            weight = events.weight[event]
            positive = ring[slot, 0]
            shrink = rate * weight * np.float32(step.l2)
            s[:] = NEVER
            for k in range(K + 1):
                s[k] = row_dot(users, u, items, ring[slot, k], dim) * scale
            if step.loss == SOFTMAX:
                for k in range(1, K + 1):
                    s[k] -= sampler.log_kq[ring[slot, k]]
            total += weight * slopes(step.loss, s, g, K, width)
            for d in range(dim):
                move[0, d] = shrink * users[u, d]
                items[positive, d] -= shrink * items[positive, d]
            for k in range(K + 1):
                row_exchange(move, items, ring[slot, k], users, u, rate * weight * scale * g[k], dim)
            for d in range(dim):
                users[u, d] -= move[0, d]
        return total

    return sgd


@inlined
def fetch(
    users: Floats,
    items: Floats,
    events: Events,
    sampler: Sampler,
    step: Step,
    ring: Ints,
    t: int,
    dim: int,
) -> None:
    """Draw the rows of sample t into its slot of the ring, and ask memory for their vectors."""
    slot = t & (AHEAD - 1)
    event = events.order[t]
    user = events.user[event]
    ring[slot, 0] = events.item[event]
    draw_rows(ring, slot, user, step.negatives, sampler, mix(step.key + np.uint64(t) * GOLDEN))
    row_prefetch(users, user, dim)
    for k in range(step.negatives + 1):
        row_prefetch(items, ring[slot, k], dim)
