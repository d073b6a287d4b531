"""Greedy choice of a list from a pool of candidates: by diversity, and by the mix of an attribute."""

import numpy as np

from palate.arrays import Floats, Ints, Longs
from palate.kernels.compile import compiled

LEAST = np.float32(1e-6)  # of the part of a vector that the chosen ones do not span


@compiled
def dot(vectors: Floats, i: int, j: int) -> np.float32:
    """Dot product of two rows (N, D)."""
    total = np.float32(0)
    for d in range(vectors.shape[1]):
        total += vectors[i, d] * vectors[j, d]
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
    taken = np.zeros(N, np.bool_)
    chosen = np.empty(k, np.int64)
    for n in range(k):
        best, most = -1, np.float32(-np.inf)
        for i in range(N):
            if not taken[i]:
                value = weight * relevance[i] + spread * np.log(max(left[i], LEAST))
                if best < 0 or value > most:
                    best, most = i, value
        chosen[n] = best
        taken[best] = True
        if n + 1 == k:
            break
        length = np.sqrt(max(left[best], LEAST))
        for i in range(N):
            if not taken[i]:
                part = dot(vectors, best, i)
                for m in range(n):
                    part -= rows[best, m] * rows[i, m]
                part /= length
                rows[i, n] = part
                left[i] -= part * part
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
    nearest = np.zeros(N, np.float32)
    taken = np.zeros(N, np.bool_)
    chosen = np.empty(k, np.int64)
    for n in range(k):
        best, most = -1, np.float32(-np.inf)
        for i in range(N):
            if not taken[i]:
                value = weight * relevance[i] - spread * nearest[i]
                if best < 0 or value > most:
                    best, most = i, value
        chosen[n] = best
        taken[best] = True
        for i in range(N):
            if not taken[i]:
                similarity = dot(vectors, best, i)
                if n == 0 or similarity > nearest[i]:
                    nearest[i] = similarity
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
    most_values = 1
    for i in range(N):
        most_values = max(most_values, start[i + 1] - start[i])
    # What a value adds depends on it and on how many its item has: each of these logarithms is taken once a step.
    gains, step = np.empty((G, most_values + 1)), np.full((G, most_values + 1), -1, np.int32)
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
                if step[g, values] != n:
                    step[g, values] = n
                    gains[g, values] = wanted[g] * np.log1p(share / values / base[g]) if wanted[g] > 0 else 0.0
                gain += gains[g, values]
            value = weight * relevance[i] + pull * gain
            if best < 0 or value > most:
                best, most = i, value
        chosen[n] = best
        taken[best] = True
        for each in range(start[best], start[best + 1]):
            mass[code[each]] += 1 / (start[best + 1] - start[best])
    return chosen
