"""Greedy choice of a list from a pool of candidates: by diversity, and by the mix of an attribute; what it reads."""

import numpy as np

from palate.arrays import Doubles, Floats, Ints, Longs
from palate.kernels.compile import compiled

WIDE = 4096  # places of a vector of values
FEW = 15  # values of an item whose gains are kept for the next item
LEAST = np.float32(1e-6)  # of the part of a vector that the chosen ones do not span


@compiled
def dot(vectors: Floats, i: int, j: int) -> np.float32:
    """Dot product of two rows (N, D)."""
    one, other, total = vectors[i], vectors[j], np.float32(0)
    for d in range(vectors.shape[1]):
        total += one[d] * other[d]
    return total


@compiled
def choose_dpp(relevance: Floats, vectors: Floats, strength: float, k: int) -> Longs:
    """Places of k of N candidates, (k,), by the greedy maximum of a determinantal point process.

    Each step takes the largest (1 - strength) * relevance + strength * log of the squared part of its vector that the
    chosen ones do not span. relevance (N,); vectors (N, D) of length 1, or 0: such a candidate is like no other. Ties
    go to the first. Chen, Zhang, Zhou 2018, "Fast Greedy MAP Inference for DPP", algorithm 1 and eq. 13.
    """
    N = len(relevance)
    weight, spread = np.float32(1 - strength), np.float32(strength)
    left = np.ones(N, np.float32)  # squared length of what the chosen ones do not span
    rows = np.empty((N, k), np.float32)  # of the Cholesky factor
    length = np.empty(k, np.float32)  # of its diagonal
    known = np.zeros(N, np.int64)  # chosen ones that `left` knows
    most = weight * relevance  # a value falls with each choice: one that cannot win is not worked out
    taken = np.zeros(N, np.bool_)
    chosen = np.empty(k, np.int64)
    for n in range(k):
        best = -1
        for i in range(N):
            if taken[i] or (best >= 0 and most[i] <= most[best]):
                continue
            for m in range(known[i], n):
                part = dot(vectors, chosen[m], i)
                for l in range(m):
                    part -= rows[chosen[m], l] * rows[i, l]
                rows[i, m] = part / length[m]
                left[i] -= rows[i, m] * rows[i, m]
            known[i] = n
            most[i] = weight * relevance[i] + spread * np.log(max(left[i], LEAST))
            if best < 0 or most[i] > most[best]:
                best = i
        chosen[n] = best
        taken[best] = True
        length[n] = np.sqrt(max(left[best], LEAST))
    return chosen


@compiled
def choose_mmr(relevance: Floats, vectors: Floats, strength: float, k: int) -> Longs:
    """Places of k of N candidates, (k,), by maximal marginal relevance.

    Each step takes the largest (1 - strength) * relevance - strength * similarity to the most similar chosen one.
    relevance (N,); vectors (N, D) of length 1, or 0: such a candidate is like no other. Ties go to the first.
    Carbonell, Goldstein 1998, "The Use of MMR".
    """
    N = len(relevance)
    weight, spread = np.float32(1 - strength), np.float32(strength)
    nearest = np.full(N, -np.inf, np.float32)
    known = np.zeros(N, np.int64)  # chosen ones that `nearest` knows
    most = weight * relevance  # a value falls with each choice: one that cannot win is not worked out
    taken = np.zeros(N, np.bool_)
    chosen = np.empty(k, np.int64)
    for n in range(k):
        best = -1
        for i in range(N):
            if taken[i] or (best >= 0 and most[i] <= most[best]):
                continue
            for m in range(known[i], n):
                nearest[i] = max(nearest[i], dot(vectors, chosen[m], i))
            known[i] = n
            if n:
                most[i] = weight * relevance[i] - spread * nearest[i]
            if best < 0 or most[i] > most[best]:
                best = i
        chosen[n] = best
        taken[best] = True
        if n == 0:
            most += spread * np.float32(2)  # nothing is less similar than -1
    return chosen


@compiled
def choose_calibrated(
    relevance: Floats, start: Longs, code: Ints, wanted: Floats, strength: float, smoothing: float, k: int
) -> Longs:
    """Places of k of N candidates, (k,), so that the mix of their values follows the wanted one.

    Each step takes the candidate with the largest (1 - strength) * relevance - strength * k * KL(wanted, mix of the
    list with it), where the mix is (1 - smoothing) * shares in the list + smoothing * wanted. Ties go to the first.
    Steck 2018, "Calibrated Recommendations", eq. 2 to 5.

    relevance (N,); candidate i has the values code[start[i]:start[i + 1]], each an equal part of it, start (N + 1,);
    wanted (G,), sum 1.
    """
    N, G = len(relevance), len(wanted)
    weight, pull = 1 - strength, strength * k  # the divergence of a whole list counts as much as its places
    mass = np.zeros(G)
    base = np.empty(G)
    # What a value adds depends on it and on how many its item has: each of these logarithms is taken once a step,
    # unless an item has so many values that a table of them could be larger than what was given.
    gains, step = np.empty((G, FEW + 1)), np.full((G, FEW + 1), -1, np.int32)
    taken = np.zeros(N, np.bool_)
    chosen = np.empty(k, np.int64)
    for n in range(k):
        share = (1 - smoothing) / (n + 1)
        for g in range(G):
            base[g] = share * mass[g] + smoothing * wanted[g]
        best, most = -1, -np.inf
        for i in range(N):
            if taken[i]:
                continue
            gain = 0.0
            values = start[i + 1] - start[i]
            for each in range(start[i], start[i + 1]):
                g = code[each]
                place = values if values <= FEW else 0
                if place == 0 or step[g, place] != n:
                    step[g, place] = n
                    gains[g, place] = wanted[g] * np.log(1 + share / values / base[g]) if wanted[g] > 0 else 0.0
                gain += gains[g, place]
            value = weight * relevance[i] + pull * gain
            if best < 0 or value > most:
                best, most = i, value
        chosen[n] = best
        taken[best] = True
        for each in range(start[best], start[best + 1]):
            mass[code[each]] += 1 / (start[best + 1] - start[best])
    return chosen


@compiled
def unit_rows(vectors: Floats, row: Ints) -> Floats:
    """Rows (N,) of vectors (I, D) at length 1, (N, D); zeros for a row below 0, and for zeros."""
    N, D = len(row), vectors.shape[1]
    found = np.zeros((N, D), np.float32)
    for n in range(N):
        if row[n] >= 0:
            source, target = vectors[row[n]], found[n]
            total = np.float32(0)
            for d in range(D):
                total += source[d] * source[d]
            scale = np.float32(1) / np.sqrt(total) if total > 0 else np.float32(0)
            for d in range(D):
                target[d] = scale * source[d]
    return found


@compiled
def value_rows(start: Longs, code: Ints, values: int) -> Floats:
    """Vectors (N, G) of length 1 of items with the values code[start[n]:start[n + 1]]; zeros without one.

    Beyond `WIDE` values some share a place, so that what is held does not grow with the values times the items.
    """
    width = min(values, WIDE)
    found = np.zeros((len(start) - 1, width), np.float32)
    for n in range(len(start) - 1):
        for each in range(start[n], start[n + 1]):
            found[n, code[each] % width] += np.float32(1)
    return unit_rows(found, np.arange(len(found)).astype(np.int32))


@compiled
def spread(vectors: Floats, fade: float) -> np.float64:
    """Mean of 1 - cosine over the pairs of vectors (N, D) of length 1, zeros left out; -1 where there is no pair.

    A pair is weighted by the weights of both: 1 for the last vector, `fade` times that of the next for each before.
    """
    N, D = vectors.shape
    total = np.zeros(D, np.float32)
    whole, own, weight = np.float32(0), np.float32(0), np.float32(1)
    for n in range(N - 1, -1, -1):
        if dot(vectors, n, n) > 0.5:
            source = vectors[n]
            for d in range(D):
                total[d] += weight * source[d]
            whole += weight
            own += weight * weight
            weight *= np.float32(fade)
    pairs = whole * whole - own
    if pairs <= 1e-6 * own:
        return np.float64(-1)
    alike = np.float32(0)
    for d in range(D):
        alike += total[d] * total[d]
    return 1 - np.float64(alike - own) / np.float64(pairs)


@compiled
def values_at(start: Longs, code: Ints, position: Longs, values: int) -> tuple[Longs, Ints, int]:
    """Return start (N + 1,) and code of the values of items at positions (N,), with codes 0 to C - 1, and C.

    start (P + 1,) and code  those of all items, below `values`
    """
    renamed = np.full(values, -1, np.int32)
    starts = np.zeros(len(position) + 1, np.int64)
    for n in range(len(position)):
        starts[n + 1] = starts[n] + start[position[n] + 1] - start[position[n]]
    codes = np.empty(starts[-1], np.int32)
    count, place = 0, 0
    for n in range(len(position)):
        for each in range(start[position[n]], start[position[n] + 1]):
            if renamed[code[each]] < 0:
                renamed[code[each]] = count
                count += 1
            codes[place] = renamed[code[each]]
            place += 1
    return starts, codes, count


@compiled
def mix_of(start: Longs, code: Ints, weight: Floats, half_life: float, values: int) -> Floats:
    """Mix (G,) of the first H items with values as above, of weights (H,), sum 1; zeros where none has a value.

    An item counts half as much as one `half_life` places later; 0 counts all alike.
    """
    mix = np.zeros(values)
    counts, fade = 1.0, 0.5 ** (1 / half_life) if half_life > 0 else 1.0
    for h in range(len(weight) - 1, -1, -1):
        size = start[h + 1] - start[h]
        for each in range(start[h], start[h + 1]):
            mix[code[each]] += counts * weight[h] / size
        counts *= fade
    total = mix.sum()
    return (mix / total if total > 0 else mix).astype(np.float32)


@compiled
def scaled(score: Doubles) -> Floats:
    """Scores (N,) from 0, the least, to 1, the most; all 0 where they are equal."""
    low, high = np.inf, -np.inf
    for each in score:
        low, high = min(low, each), max(high, each)
    found = np.zeros(len(score), np.float32)
    if high > low:
        for n in range(len(score)):
            found[n] = (score[n] - low) / (high - low)
    return found


@compiled
def ahead(order: Longs, count: int) -> Longs:
    """Places 0 to count - 1: those of `order` first, then the others as they were."""
    places = np.empty(count, np.int64)
    first = np.zeros(count, np.bool_)
    for n in range(len(order)):
        places[n] = order[n]
        first[order[n]] = True
    n = len(order)
    for place in range(count):
        if not first[place]:
            places[n] = place
            n += 1
    return places
