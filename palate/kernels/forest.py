"""Regression trees, walked for many rows at once, and what features of candidates count."""

import numpy as np

from palate.arrays import Doubles, Floats, Ints, Longs
from palate.kernels.compile import compiled
from palate.kernels.sorting import sort, sort_together
from palate.kernels.topk import lowest_bit


@compiled
def walk_trees(columns: Floats, feature: Ints, threshold: Floats, keep: Longs, leaf: Doubles) -> Doubles:
    """Sum of the leaves that N rows reach in T trees, (N,).

    columns (F, N): the rows by feature. Where the feature of split s of a tree, (T, S), is above the threshold, the
    leaves (T, L) whose bits `keep` lacks are out of reach: those to the left below the split. The first that is left
    is the row's (Lucchese et al. 2015, "QuickScorer"). The last one's bit is in each `keep`. All rows pass a split
    at once, by vector instructions.
    """
    N, (T, S) = columns.shape[1], feature.shape
    total, left = np.zeros(N), np.empty(N, np.int64)
    every = np.int64(-1)
    for t in range(T):
        left[:] = every
        for s in range(S):
            column, most, kept = columns[feature[t, s]], threshold[t, s], keep[t, s]
            for n in range(N):
                left[n] &= kept if column[n] > most else every
        leaves = leaf[t]
        for n in range(N):
            total[n] += leaves[lowest_bit(left[n])]
    return total


@compiled
def unite(lists: Ints, most: int) -> tuple[Ints, Ints]:
    """Unite M ranked lists (M, K), -1 past the end of one: C items and their places, from 1, in each list (M, C).

    Items come by their best place, of the same by the earlier list, `most` at most; a list without an item has it at
    place K + 1.
    """
    M, K = lists.shape
    flat = lists.T.copy().reshape(-1)
    order = np.arange(M * K, dtype=np.int32)
    keys = flat.astype(np.int64)
    sort_together(keys, order)
    first = np.empty(M * K, np.int64)  # the first occurrence of each item
    count = 0
    for n in range(M * K):
        if keys[n] >= 0 and (n == 0 or keys[n] != keys[n - 1]):
            first[count] = order[n]
            count += 1
    sort(first[:count])
    items = flat[first[: min(count, most)]]
    by_item = np.arange(len(items), dtype=np.int32)
    sort_together(items.astype(np.int64), by_item)
    places = np.full((M, len(items)), K + 1, np.int32)
    for n in range(M * K):
        if flat[n] >= 0:
            low, high = 0, len(items)
            while low < high:
                middle = (low + high) // 2
                if items[by_item[middle]] < flat[n]:
                    low = middle + 1
                else:
                    high = middle
            if low < len(items) and items[by_item[low]] == flat[n]:
                places[n % M, by_item[low]] = n // M + 1
    return items, places


@compiled
def in_history(past: Ints, item: Ints) -> Floats:
    """How often items (C,) are among past events (N,), and how many events ago each was last, N + 1 if never: (2, C).

    The newest event is 1 ago.
    """
    found = np.zeros((2, len(item)), np.float32)
    for c in range(len(item)):
        found[1, c] = len(past) + 1
        for n in range(len(past)):
            if past[n] == item[c]:
                found[0, c] += 1
                found[1, c] = len(past) - n
    return found


@compiled
def slot_of(keys: Ints, code: int) -> int:
    """Where a code stands in an open hash table (2^n,), -1 in its free slots, or would."""
    slot = (code * 0x9E3779B1 & 0xFFFFFFFF) >> 7 & (len(keys) - 1)
    while keys[slot] >= 0 and keys[slot] != code:
        slot = slot + 1 & (len(keys) - 1)
    return slot


@compiled
def shared_values(start: Longs, code: Ints, past: Ints, item: Ints, fade: float) -> Floats:
    """How much of an attribute items (C,) share with the newest past event, and with them all, (2, C).

    Item i has the values code[start[i]:start[i + 1]]. First: the share of common values in those of both; second: the
    mean share of the item's values in the history (H,), an event counting `fade` times as much as the next one.
    """
    H = len(past)
    found = np.zeros((2, len(item)), np.float32)
    size, total, weight = 0, 0.0, 1.0
    for h in range(H):
        size += start[past[h] + 1] - start[past[h]]
    room = 2
    while room < 2 * size:
        room *= 2
    keys, mass, newest = np.full(room, -1, np.int32), np.zeros(room), np.zeros(room, np.int32)
    for h in range(H - 1, -1, -1):
        for each in range(start[past[h]], start[past[h] + 1]):
            slot = slot_of(keys, code[each])
            keys[slot] = code[each]
            mass[slot] += weight
            newest[slot] += h == H - 1
        total += weight
        weight *= fade
    last = start[past[H - 1] + 1] - start[past[H - 1]] if H > 0 else 0
    for c in range(len(item) if size > 0 else 0):
        low, high = start[item[c]], start[item[c] + 1]
        common, likely = 0, 0.0
        for each in range(low, high):
            slot = slot_of(keys, code[each])
            if keys[slot] >= 0:
                common += newest[slot]
                likely += mass[slot]
        every = high - low + last - common
        found[0, c] = common / every if every > 0 else 0.0
        found[1, c] = likely / total / (high - low) if high > low else 0.0
    return found


@compiled
def entries(start: Longs, column: Ints, weight: Floats, rows: Ints, code: int) -> Floats:
    """Weights of a sparse matrix, row by row, in some rows (C,) and one column, 0 where it has none, (C,)."""
    found = np.zeros(len(rows), np.float32)
    for c in range(len(rows)):
        for each in range(start[rows[c]], start[rows[c] + 1]):
            if column[each] == code:
                found[c] = weight[each]
    return found
