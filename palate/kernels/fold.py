"""Fold-in on samples: the vectors of histories, the items held still."""

from collections.abc import Callable
from functools import cache
from typing import TypeAlias

import numpy as np

from palate.arrays import Floats, Ints, Longs
from palate.kernels.arithmetic import mix
from palate.kernels.compile import compiled
from palate.kernels.draws import GOLDEN, Sampler, draw_by_table, draw_evenly, redraw
from palate.kernels.sampling import SgdStep, sample_loss, sizes
from palate.kernels.simd import WIDTH
from palate.kernels.vectors import rows_sum

Fold: TypeAlias = Callable[..., Floats]


def fold_kernel(dim: int, negatives: int) -> Fold:
    """Kernel for vectors of `dim` elements and K negatives a sample."""
    return _fold_kernel(dim, *sizes(negatives))


@cache
def _fold_kernel(dim: int, full: int, rest: int, width: int) -> Fold:  # noqa: C901
    @compiled
    def fold_rows(  # noqa: C901  the hot loop stays in one piece
        vectors: Floats,
        items: Floats,
        start: Longs,
        column: Ints,
        weight: Floats,
        sampler: Sampler,
        step: SgdStep,
        steps: int,
    ) -> Floats:
        """Descend on the samples of B histories with items (I, dim) held still, by row-wise Adagrad.

        vectors (B, dim) are changed in place. Each step draws K fresh negatives for every event, the same for the
        same item whoever asks. The sampler's rows to reject are the histories themselves. Returns the influence of
        each event on its vector (N,): minus its slope, the mean of the second half of the steps.
        """
        rows = np.zeros((1, width), np.int32)
        s = np.zeros(width, np.float32)
        g = np.zeros(width, np.float32)
        move = np.zeros((1, dim), np.float32)
        influence = np.zeros(len(column), np.float32)
        I, K = len(items), step.negatives
        table, log_kq, _, _, words = sampler  # out of the loop, as in sampling.py
        for b in range(len(vectors)):
            squares = np.float32(0)
            for t in range(steps):
                move[:] = 0
                for n in range(start[b], start[b + 1]):
                    key = mix(step.key + np.uint64(column[n]) * GOLDEN + np.uint64(t))
                    if len(table):
                        draw_by_table(rows, 0, key, table, I, width)
                    else:
                        draw_evenly(rows, 0, key, table, I, width)
                    rows[0, 0] = column[n]
                    if len(words):
                        redraw(rows, 0, K, key, table, I, start[b], start[b + 1], column, words)
                    factor = weight[n] * np.float32(step.scale)
                    sample_loss(vectors, b, items, rows, 0, s, g, log_kq, step, factor, dim, full, rest, width)
                    if 2 * t >= steps:
                        influence[n] -= g[0] / np.float32(steps - steps // 2)
                    for k in range(0, full, WIDTH):
                        rows_sum(move, items, rows, 0, k, g, WIDTH, dim)
                    rows_sum(move, items, rows, 0, full, g, rest, dim)
                    for d in range(dim):
                        move[0, d] += weight[n] * np.float32(step.l2) * vectors[b, d]
                total = np.float32(0)
                for d in range(dim):
                    total += move[0, d] * move[0, d]
                if total == 0:
                    continue
                squares += total / np.float32(dim)
                rate = np.float32(step.learning_rate * (1 - t / steps)) / np.sqrt(squares)
                for d in range(dim):
                    vectors[b, d] -= rate * move[0, d]
        return influence

    return fold_rows
