"""Negative-sampling SGD with negatives drawn for each positive: the logistic, softmax and BPR losses.

The kernel is lock-free (Hogwild, Niu et al. 2011): threads share the vectors and may overwrite one another.
"""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple, TypeAlias

import numpy as np

from palate.arrays import Floats, Ints
from palate.kernels.arithmetic import mix
from palate.kernels.compile import compiled, inlined
from palate.kernels.draws import GOLDEN, Sampler, bits_of, draw_by_table, draw_evenly, redraw, shuffled
from palate.kernels.losses import BPR, LOGISTIC, SOFTMAX, sample_slopes
from palate.kernels.simd import WIDTH
from palate.kernels.vectors import row_prefetch, rows_dot, rows_exchange

AHEAD = 4  # samples in flight: rows are drawn and fetched from memory three before their turn; a power of 2

Kernel: TypeAlias = Callable[..., float]


class Events(NamedTuple):
    """The log as samples: user, item, weight (N,)."""

    user: Ints
    item: Ints
    weight: Floats


class SgdStep(NamedTuple):
    """One slice of SGD. The score of u and p is `scale` u·p; `key` seeds the random numbers of this epoch."""

    loss: int
    negatives: int
    learning_rate: float
    l2: float
    scale: float
    key: np.uint64


def sizes(negatives: int) -> tuple[int, int, int]:
    """Rows of a sample: those that fill registers, the rest, and places for both in whole registers."""
    full, rest = (negatives + 1) // WIDTH * WIDTH, (negatives + 1) % WIDTH
    return full, rest, full + (WIDTH if rest else 0)


@inlined
def sample_loss(
    users: Floats,
    u: int,
    items: Floats,
    rows: Ints,
    slot: int,
    s: Floats,
    g: Floats,
    log_kq: Floats,
    step: SgdStep,
    factor: np.float32,
    dim: int,
    full: int,
    rest: int,
    width: int,
) -> np.float32:
    """Loss of the sample of user u and items rows[slot]: scores go to s, and `factor` times its slopes to g."""
    for k in range(0, full, WIDTH):
        rows_dot(users, u, items, rows, slot, k, s, WIDTH, dim)
    rows_dot(users, u, items, rows, slot, full, s, rest, dim)
    K, scale = step.negatives, np.float32(step.scale)
    loss = np.float32(0)
    if step.loss == SOFTMAX:
        loss = sample_slopes(SOFTMAX, s, g, rows, slot, log_kq, K, scale, factor, width)
    elif step.loss == LOGISTIC:
        loss = sample_slopes(LOGISTIC, s, g, rows, slot, log_kq, K, scale, factor, width)
    else:
        loss = sample_slopes(BPR, s, g, rows, slot, log_kq, K, scale, factor, width)
    return np.float32(loss)


def sgd_kernel(dim: int, negatives: int) -> Kernel:
    """Kernel for vectors of `dim` elements and K negatives: sizes known to the compiler, so that loops unroll."""
    return _sgd_kernel(dim, *sizes(negatives))


@cache
def _sgd_kernel(dim: int, full: int, rest: int, width: int) -> Kernel:  # noqa: C901  the hot loop stays in one piece
    @compiled
    def sgd_slice(
        users: Floats, items: Floats, events: Events, sampler: Sampler, step: SgdStep, first: int, last: int
    ) -> float:
        """Take one step on each sample at `[first, last)` of the shuffled log; returns the weighted sum of losses.

        users (U, dim) and items (I, dim) are changed in place. For a sample of weight w, with g the slopes by
        the scores: u -= rate w (Σ g_k scale p_k + l2 u), p_k -= rate w g_k scale u, and the positive's penalty.
        """
        ring = np.zeros((AHEAD, width), np.int32)
        drawn = np.zeros(AHEAD, np.int64)
        s = np.zeros(width, np.float32)
        g = np.zeros(width, np.float32)
        move = np.zeros((1, dim), np.float32)
        scale = np.float32(step.scale)
        rate = np.float32(step.learning_rate)
        I, K = len(items), step.negatives
        # An array taken out of a tuple inside the loop is counted, and an atomic count waits for all stores.
        event_user, event_item, event_weight = events
        table, log_kq, start, column, words = sampler
        N = len(event_item)
        bits = bits_of(N)
        total = 0.0
        for t in range(first - AHEAD + 1, last):
            ahead = t + AHEAD - 1
            if ahead < last:
                event = shuffled(ahead, N, bits, step.key)
                u = event_user[event]
                place = ahead & (AHEAD - 1)
                drawn[place] = event
                key = mix(step.key + np.uint64(ahead) * GOLDEN)
                if len(table):
                    draw_by_table(ring, place, key, table, I, width)
                else:
                    draw_evenly(ring, place, key, table, I, width)
                ring[place, 0] = event_item[event]
                if len(words):
                    redraw(ring, place, K, key, table, I, start[u], start[u + 1], column, words)
                row_prefetch(users, u, dim)
                for k in range(K + 1):
                    row_prefetch(items, ring[place, k], dim)
            if t < first:
                continue
            slot = t & (AHEAD - 1)
            event = drawn[slot]
            u = event_user[event]
            weight = event_weight[event]
            positive = ring[slot, 0]
            shrink = rate * weight * np.float32(step.l2)
            factor = rate * weight * scale
            loss = sample_loss(users, u, items, ring, slot, s, g, log_kq, step, factor, dim, full, rest, width)
            total += weight * loss
            for d in range(dim):
                move[0, d] = shrink * users[u, d]
                items[positive, d] -= shrink * items[positive, d]
            for k in range(0, full, WIDTH):
                rows_exchange(move, items, ring, slot, k, g, WIDTH, dim, users, u)
            rows_exchange(move, items, ring, slot, full, g, rest, dim, users, u)
            for d in range(dim):
                users[u, d] -= move[0, d]
        return total

    return sgd_slice
