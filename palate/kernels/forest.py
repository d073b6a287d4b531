"""Regression trees of one depth, walked for many rows at once."""

import numpy as np

from palate.arrays import Doubles, Floats, Ints, Longs
from palate.kernels.compile import compiled


@compiled
def walk_trees(columns: Floats, feature: Ints, threshold: Floats, leaf: Doubles) -> Doubles:
    """Sum of the leaves that N rows reach in T trees, (N,).

    columns (F, N): the rows by feature. Node n of a tree, (T, 2^depth - 1), goes on to 2 n + 1 where the feature is
    at most the threshold, else to 2 n + 2; leaf (T, 2^depth). All rows take a step before any takes the next one, so
    the processor waits for none of them.
    """
    N, (T, nodes) = columns.shape[1], feature.shape
    total, at = np.zeros(N), np.empty(N, np.int32)
    depth = 0
    while (1 << depth) - 1 < nodes:
        depth += 1
    for t in range(T):
        features, thresholds, leaves = feature[t], threshold[t], leaf[t]
        at[:] = 0
        for _ in range(depth):
            for n in range(N):
                node = at[n]
                at[n] = 2 * node + 1 + (columns[features[node], n] > thresholds[node])
        for n in range(N):
            total[n] += leaves[at[n] - nodes]
    return total


@compiled
def unite(lists: Ints, most: int) -> tuple[Ints, Ints]:
    """Unite M ranked lists (M, K), -1 past the end of one: C items and their places, from 1, in each list (M, C).

    Items come by their best place, of the same by the earlier list, `most` at most; a list without an item has it at
    place K + 1.
    """
    M, K = lists.shape
    flat = lists.T.copy().reshape(-1)
    order = np.argsort(flat, kind="mergesort")
    first = np.empty(M * K, np.int64)  # the first occurrence of each item
    count = 0
    for n in range(M * K):
        if flat[order[n]] >= 0 and (n == 0 or flat[order[n]] != flat[order[n - 1]]):
            first[count] = order[n]
            count += 1
    chosen = np.sort(first[:count])[:most]
    items = flat[chosen]
    by_item = np.argsort(items)
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
def mix_of_past(start: Longs, code: Ints, past: Ints, fade: float) -> tuple[Ints, Doubles]:
    """Values of an attribute in past events (H,), ascending, and the weight of the events that have each.

    An event counts `fade` times as much as the next one; the weights of all events add up to 1.
    """
    size, total, weight = 0, 0.0, 1.0
    for h in range(len(past)):
        size += start[past[h] + 1] - start[past[h]]
    codes, weights = np.empty(size, np.int32), np.zeros(size)
    n = 0
    for h in range(len(past) - 1, -1, -1):
        total += weight
        for each in range(start[past[h]], start[past[h] + 1]):
            codes[n], weights[n] = code[each], weight
            n += 1
        weight *= fade
    order = np.argsort(codes)
    names, mass, count = np.empty(size, np.int32), np.zeros(size), 0
    for n in range(size):
        if count == 0 or names[count - 1] != codes[order[n]]:
            names[count] = codes[order[n]]
            count += 1
        mass[count - 1] += weights[order[n]] / total
    return names[:count], mass[:count]


@compiled
def shared_values(start: Longs, code: Ints, past: Ints, item: Ints, fade: float) -> Floats:
    """How much of an attribute items (C,) share with the newest past event, and with them all, (2, C).

    Item i has the values code[start[i]:start[i + 1]]. First: the share of common values in those of both; second: the
    mean share of the item's values in the history (H,), an event counting `fade` times as much as the next one.
    """
    H = len(past)
    found = np.zeros((2, len(item)), np.float32)
    if H == 0:
        return found
    names, mass = mix_of_past(start, code, past, fade)
    last_low, last_high = start[past[H - 1]], start[past[H - 1] + 1]
    for c in range(len(item)):
        low, high = start[item[c]], start[item[c] + 1]
        common, likely = 0, 0.0
        for each in range(low, high):
            for other in range(last_low, last_high):
                common += code[each] == code[other]
            place = np.searchsorted(names, code[each])
            if place < len(names) and names[place] == code[each]:
                likely += mass[place]
        every = high - low + last_high - last_low - common
        found[0, c] = common / every if every > 0 else 0.0
        found[1, c] = likely / (high - low) if high > low else 0.0
    return found
