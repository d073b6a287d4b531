"""Points of the plane that keep neighbours together, moved by attraction and by negative samples."""

import numpy as np

from palate.arrays import Floats, Ints
from palate.kernels.arithmetic import mix
from palate.kernels.compile import compiled
from palate.kernels.draws import GOLDEN

LONGEST = np.float32(4)  # of one move
SOFT = np.float32(0.001)  # keeps two points at one place from an endless push
ONE, TWO, ZERO = np.float32(1), np.float32(2), np.float32(0)


@compiled
def settle(place: Floats, neighbour: Ints, epochs: int, negatives: int, seed: np.uint64) -> None:
    """Move places (N, 2), in units of their distance, so that each of N points is near its neighbours (N, K).

    McInnes, Healy, Melville 2018, section 3.2, with the curve 1 / (1 + d²): each edge pulls both its ends, and pushes
    its first away from `negatives` others drawn evenly; moves shrink to nothing over the epochs.
    """
    N, K = neighbour.shape
    random = seed
    for epoch in range(epochs):
        rate = ONE - np.float32(epoch) / np.float32(epochs)
        for edge in range(N * K):
            i, j = edge // K, neighbour[edge // K, edge % K]
            x, y = place[i, 0] - place[j, 0], place[i, 1] - place[j, 1]
            attraction = -TWO * rate / (ONE + x * x + y * y)
            x, y = attraction * x, attraction * y
            place[i, 0] += x
            place[i, 1] += y
            place[j, 0] -= x
            place[j, 1] -= y
            for _ in range(negatives):
                random += GOLDEN
                j = np.int64(mix(random) % np.uint64(N))
                x, y = place[i, 0] - place[j, 0], place[i, 1] - place[j, 1]
                square = x * x + y * y
                push = TWO * rate / ((SOFT + square) * (ONE + square))
                place[i, 0] += min(max(push * x, -LONGEST), LONGEST)
                place[i, 1] += min(max(push * y, -LONGEST), LONGEST)
