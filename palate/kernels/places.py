"""Places of items in a ranking: a radix sort, whose cost does not depend on the scores."""

import numpy as np

from palate.arrays import Bools, Doubles, Words
from palate.kernels.compile import compiled

DIGIT = 11  # bits that a pass of the sort puts in order; three passes are 32


@compiled
def mean_places(bits: Words, seen: Bools) -> Doubles:
    """Place (B, I) of each score among the unseen of its row, 1 the highest; equal scores share their mean place.

    bits (B, I) are those of the scores, which shall hold no -0. A seen item has the place that it would have as one
    more unseen.
    """
    B, I = bits.shape
    places = np.empty((B, I))
    keys, order = np.empty((2, I), np.uint32), np.empty((2, I), np.int32)
    size = 1 << DIGIT
    for b in range(B):
        for i in range(I):
            # The higher a score, the lower its key: of numbers above 0 all bits are turned but the first.
            word = bits[b, i]
            keys[0, i] = word if word >> np.uint32(31) else word ^ np.uint32(0x7FFFFFFF)
            order[0, i] = i
        for turn in range(3):
            a, z = turn & 1, 1 - (turn & 1)
            shift = np.uint32(DIGIT * turn)
            begin = np.zeros(size + 1, np.int64)
            for i in range(I):
                begin[((keys[a, i] >> shift) & np.uint32(size - 1)) + 1] += 1
            for d in range(size):
                begin[d + 1] += begin[d]
            for i in range(I):
                digit = (keys[a, i] >> shift) & np.uint32(size - 1)
                keys[z, begin[digit]] = keys[a, i]
                order[z, begin[digit]] = order[a, i]
                begin[digit] += 1
        above, first = 0, 0
        while first < I:
            last, equal = first, 0
            while last < I and keys[1, last] == keys[1, first]:
                equal += not seen[b, order[1, last]]
                last += 1
            for n in range(first, last):
                among = equal + seen[b, order[1, n]]
                places[b, order[1, n]] = above + (among + 1) / 2
            above += equal
            first = last
    return places
