"""Sums over the cuts of sequences, and one small ridge regression a target item: the loops of SLIST.

A sequence of n events has n - 1 cuts. At a cut, an event `back` places before it is an input of weight input^back, an
event `ahead` places behind it a target of weight target^ahead. Summed over the cuts, what a pair of events adds
depends on their distance and on how many cuts follow the later one, so tables by distance replace the sum.
"""

from __future__ import annotations

import numpy as np

from palate.arrays import Bools, Floats, Ints, Longs
from palate.kernels.compile import compiled
from palate.kernels.restricted import solve
from palate.kernels.sorting import keep_largest, sort

LOW_WORD = 0xFFFFFFFF


@compiled
def recency(start: Longs, liked: Bools, decay: float) -> Floats:
    """decay^back of each liked event, (N,), back = liked ones behind it in its row; 0 for the others."""
    result = np.zeros(len(liked), np.float32)
    for b in range(len(start) - 1):
        power = 1.0
        for n in range(start[b + 1] - 1, start[b] - 1, -1):
            if liked[n]:
                result[n] = power
                power *= decay
    return result


@compiled
def count_partners(
    start: Longs, item: Ints, row: Ints, first: Longs, place: Ints, size: Longs, low: int, high: int
) -> None:
    """Count the items that share a sequence with each item of [low, high), itself among them, into size (I,)."""
    last = np.full(len(first) - 1, -1, np.int32)
    for a in range(low, high):
        found = 0
        for e in range(first[a], first[a + 1]):
            s = row[place[e]]
            for n in range(start[s], start[s + 1]):
                found += last[item[n]] != a
                last[item[n]] = a
        size[a] = found


@compiled
def input_products(
    start: Longs,
    item: Ints,
    row: Ints,
    first: Longs,
    place: Ints,
    importance: Floats,
    whole: Floats,
    apart: Floats,
    later: Floats,
    edge: Longs,
    column: Ints,
    value: Floats,
    diagonal: Floats,
    low: int,
    high: int,
) -> None:
    """Write rows [low, high) of P = Σ x xᵀ over whole sequences and over the inputs of cuts.

    start, item: sequences; row (N,) the sequence of each event; first, place: the events of each item; importance
    of each sequence. Events d apart, m cuts behind the later one, add whole[d] + apart[d] later[m].
    Row a of P goes to column and value, places [edge[a], edge[a + 1]), and its own entry to diagonal (I,) as well.
    """
    I = len(first) - 1
    sums = np.zeros(I, np.float32)
    last = np.full(I, -1, np.int32)
    for a in range(low, high):
        end = edge[a]
        for e in range(first[a], first[a + 1]):
            p = place[e]
            s = row[p]
            stop = start[s + 1]
            for n in range(start[s], stop):
                j = item[n]
                if last[j] != a:
                    last[j] = a
                    column[end] = j
                    end += 1
                sums[j] += importance[s] * (whole[abs(n - p)] + apart[abs(n - p)] * later[stop - 1 - max(n, p)])
        diagonal[a] = sums[a]
        for n in range(edge[a], end):
            value[n] = sums[column[n]]
            sums[column[n]] = 0


@compiled
def target_products(
    start: Longs,
    item: Ints,
    row: Ints,
    first: Longs,
    place: Ints,
    importance: Floats,
    before: Floats,
    after: Floats,
    target: int,
    sums: Floats,
    touched: Ints,
) -> int:
    """Sum column `target` of C = Σ x yᵀ into sums (I,), which is 0; touched (I,) lists the items; returns how many.

    An event d before the target adds before[d], one d after it (or itself, d = 0) after[d].
    """
    count = 0
    for e in range(first[target], first[target + 1]):
        p = place[e]
        s = row[p]
        for n in range(start[s], start[s + 1]):
            value = importance[s] * (before[p - n] if n < p else after[n - p])
            j = item[n]
            if value > 0:
                if sums[j] == 0:
                    touched[count] = j
                    count += 1
                sums[j] += value
    return count


@compiled
def target_rows(
    start: Longs,
    item: Ints,
    row: Ints,
    first: Longs,
    place: Ints,
    importance: Floats,
    before: Floats,
    after: Floats,
    back: Floats,
    low: int,
    high: int,
) -> None:
    """Write rows [low, high) of Cᵀ into back (I, I), which is 0: a row a target."""
    touched = np.empty(len(first) - 1, np.int32)
    for j in range(low, high):
        target_products(start, item, row, first, place, importance, before, after, j, back[j], touched)


@compiled
def target_list(
    start: Longs,
    item: Ints,
    row: Ints,
    first: Longs,
    place: Ints,
    importance: Floats,
    before: Floats,
    after: Floats,
    low: int,
    high: int,
) -> tuple[Longs, Ints, Floats]:
    """Return rows [low, high) of Cᵀ: start, column and value, columns in the order in which they are met."""
    I = len(first) - 1
    edge = np.zeros(high - low + 1, np.int64)
    column = np.empty(I, np.int32)
    value = np.empty(I, np.float32)
    sums = np.zeros(I, np.float32)
    touched = np.empty(I, np.int32)
    for j in range(low, high):
        count = target_products(start, item, row, first, place, importance, before, after, j, sums, touched)
        begin = edge[j - low]
        end = begin + count
        if end > len(column):
            column = np.concatenate((column, np.empty(2 * end, np.int32)))
            value = np.concatenate((value, np.empty(2 * end, np.float32)))
        for t in range(count):
            column[begin + t] = touched[t]
            value[begin + t] = sums[touched[t]]
            sums[touched[t]] = 0
        edge[j - low + 1] = end
    return edge, column[: edge[high - low]].copy(), value[: edge[high - low]].copy()


@compiled
def solve_targets(
    start: Longs,
    item: Ints,
    row: Ints,
    first: Longs,
    place: Ints,
    importance: Floats,
    before: Floats,
    after: Floats,
    edge: Longs,
    column: Ints,
    value: Floats,
    scale: Floats,
    size: Longs,
    source: Ints,
    weight: Floats,
    low: int,
    high: int,
) -> None:
    """Solve (P + λ)_SS b = C_Sj for each target j of [low, high) over its L best sources S.

    P as `input_products` wrote it; scale (I,) is (P_ii + λ_i)^-½, by which each system's diagonal becomes 1; C as in
    `target_products`. The best sources explain most alone: C_ij² / (P_ii + λ_i). Written are size (I,), source and
    weight (I, L).
    """
    I, L = source.shape
    sums = np.zeros(I, np.float32)
    gain = np.empty(I, np.float32)
    touched = np.empty(I, np.int32)
    slot = np.full(I, -1, np.int32)
    A = np.zeros((L, L), np.float32)
    b = np.zeros(L, np.float32)
    for j in range(low, high):
        count = target_products(start, item, row, first, place, importance, before, after, j, sums, touched)
        size[j] = solve_target(
            sums, touched[:count], edge, column, value, scale, gain, slot, A, b, source[j], weight[j]
        )


@compiled
def solve_columns(
    start: Longs,
    touched: Ints,
    target: Floats,
    edge: Longs,
    column: Ints,
    value: Floats,
    scale: Floats,
    size: Longs,
    source: Ints,
    weight: Floats,
    low: int,
    high: int,
) -> None:
    """Do as `solve_targets` for columns of C that are there: start, touched and target hold those [low, high)."""
    I, L = len(scale), source.shape[1]
    sums = np.zeros(I, np.float32)
    gain = np.empty(I, np.float32)
    slot = np.full(I, -1, np.int32)
    A = np.zeros((L, L), np.float32)
    b = np.zeros(L, np.float32)
    for j in range(low, high):
        for n in range(start[j], start[j + 1]):
            sums[touched[n]] = target[n]
        own = touched[start[j] : start[j + 1]]
        size[j] = solve_target(sums, own, edge, column, value, scale, gain, slot, A, b, source[j], weight[j])


@compiled
def solve_target(
    sums: Floats,
    touched: Ints,
    edge: Longs,
    column: Ints,
    value: Floats,
    scale: Floats,
    gain: Floats,
    slot: Ints,
    A: Floats,
    b: Floats,
    source: Ints,
    weight: Floats,
) -> int:
    """Solve one target, whose column of C is in sums (I,) at the items touched; they are set to 0 again.

    Returns how many sources there are. gain (I,), A (L, L) and b (L,) are room to work in, slot (I,) holds -1.
    """
    for i in touched:
        gain[i] = (sums[i] * scale[i]) ** 2
    m = keep_best(gain, touched, source, weight)
    for k in range(m):
        slot[source[k]] = k
        b[k] = sums[source[k]] * scale[source[k]]
    for k in range(m):
        i = source[k]
        A[k, :m] = 0
        for n in range(edge[i], edge[i + 1]):
            other = slot[column[n]]
            if other >= 0:
                A[k, other] = value[n] * scale[i] * scale[column[n]]
        A[k, k] = 1
    solve(A, b, m)
    for i in touched:
        sums[i] = 0
    for k in range(m):
        slot[source[k]] = -1
        weight[k] = b[k] * scale[source[k]]
    return m


@compiled
def walk_rows(
    start: Longs,
    column: Ints,
    link: Floats,
    step: float,
    most: int,
    size: Longs,
    item: Ints,
    value: Floats,
    low: int,
    high: int,
) -> None:
    """Rows [low, high) of B + step B⁺ B°, the largest K of each row: two steps from item to item.

    B (I, I) by its rows; B⁺ its `most` largest weights above 0 of each row, B° without the diagonal.
    Written are size (I,), item and value (I, K).
    """
    I = len(item)
    sums = np.zeros(I, np.float32)
    last = np.full(I, -1, np.int32)
    touched = np.empty(I, np.int32)
    keys = np.empty(I, np.int64)
    for a in range(low, high):
        count = start[a + 1] - start[a]
        for t in range(count):
            n = start[a] + t
            touched[t] = column[n]
            last[column[n]] = a
            sums[column[n]] = link[n]
        for rank in range(largest_places(link[start[a] : start[a + 1]], keys, most)):
            n = start[a] + LOW_WORD - (keys[rank] & LOW_WORD)
            i = column[n]
            for e in range(start[i], start[i + 1]):
                j = column[e]
                if j == i:
                    continue
                if last[j] != a:
                    last[j] = a
                    touched[count] = j
                    count += 1
                sums[j] += np.float32(step) * link[n] * link[e]
        size[a] = keep_best(sums, touched[:count], item[a], value[a])
        for t in range(count):
            sums[touched[t]] = 0


@compiled
def largest_places(values: Floats, keys: Longs, most: int) -> int:
    """Write a key for each of the `most` largest values above 0, the largest first; returns how many.

    A key ends in `LOW_WORD` less the place of its value: of equal values the first place comes first.
    """
    number = np.empty(1, np.float32)
    bits = number.view(np.int32)  # they order numbers above 0
    count = 0
    for n in range(len(values)):
        if values[n] > 0:
            number[0] = values[n]
            keys[count] = -((np.int64(bits[0]) << 32) | (LOW_WORD - n))
            count += 1
    sort(keys[:count])
    for n in range(count):
        keys[n] = -keys[n]
    return min(count, most)


@compiled
def keep_best(sums: Floats, touched: Ints, item: Ints, value: Floats) -> int:
    """Write the items (K,) with the largest sums among those touched, and the sums; returns how many."""
    K = len(item)
    cut = np.float32(-np.inf)
    if len(touched) > K > 0:
        found = sums[touched]
        keep_largest(found, len(found), K)
        cut = found[K - 1]
    kept = 0
    for j in touched:
        if sums[j] >= cut and kept < K:
            item[kept] = j
            value[kept] = sums[j]
            kept += 1
    return kept
