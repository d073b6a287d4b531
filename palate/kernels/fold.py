"""Fold-in on samples: the vectors of histories, the items held still."""

import numpy as np

from palate.arrays import Floats, Ints, Longs
from palate.kernels.arithmetic import mix
from palate.kernels.compile import compiled
from palate.kernels.sampling import GOLDEN, LANES, NEVER, SOFTMAX, Sampler, Step, draw_rows, slopes


@compiled
def fold_samples(  # noqa: C901  the hot loop stays in one piece
    vectors: Floats,
    items: Floats,
    start: Longs,
    column: Ints,
    weight: Floats,
    sampler: Sampler,
    step: Step,
    steps: int,
) -> Floats:
    """Descend on the samples of B histories with items (I, D) held still, by row-wise Adagrad: vectors (B, D).

    Each step draws K fresh negatives for every event, the same for the same item whoever asks. The sampler's
    rows to reject are the histories themselves. Returns the pull of each event on its vector (N,): minus its
    slope, the mean of the second half of the steps.
    """
    D, K = items.shape[1], step.negatives
    width = -(-(K + 1) // LANES) * LANES
    rows = np.empty((1, K + 1), np.int32)
    s = np.empty(width, np.float32)
    g = np.empty(width, np.float32)
    move = np.empty(D, np.float32)
    pull = np.zeros(len(column), np.float32)
    scale = np.float32(step.scale)
    for b in range(len(vectors)):
        squares = np.float32(0)
        for t in range(steps):
            move[:] = 0
            for n in range(start[b], start[b + 1]):
                rows[0, 0] = column[n]
                key = mix(step.key + np.uint64(column[n]) * GOLDEN + np.uint64(t))
                draw_rows(rows, 0, np.int32(b), K, sampler, key)
                s[:] = NEVER
                for k in range(K + 1):
                    i = rows[0, k]
                    dot = np.float32(0)
                    for d in range(D):
                        dot += vectors[b, d] * items[i, d]
                    s[k] = dot * scale
                    if step.loss == SOFTMAX and k > 0:
                        s[k] -= sampler.log_kq[i]
                slopes(step.loss, s, g, K, width)
                if 2 * t >= steps:
                    pull[n] -= g[0] * weight[n] * scale / np.float32(steps - steps // 2)
                for k in range(K + 1):
                    i = rows[0, k]
                    slope = weight[n] * scale * g[k]
                    for d in range(D):
                        move[d] += slope * items[i, d]
                for d in range(D):
                    move[d] += weight[n] * np.float32(step.l2) * vectors[b, d]
            total = np.float32(0)
            for d in range(D):
                total += move[d] * move[d]
            if total == 0:
                continue
            squares += total / np.float32(D)
            rate = np.float32(step.learning_rate * (1 - t / steps)) / np.sqrt(squares)
            for d in range(D):
                vectors[b, d] -= rate * move[d]
    return pull
