"""Sessions that are like a history, and their votes for the next item."""

from __future__ import annotations

import numpy as np

from palate.arrays import Floats, Ints, Longs
from palate.kernels.compile import compiled
from palate.kernels.forest import slot_of
from palate.kernels.sorting import keep_largest


@compiled
def nearest_sessions(
    first: Longs, holder: Ints, importance: Floats, past: Ints, share: Floats, sample: int, most: int
) -> tuple[Ints, Ints, Floats]:
    """Return the `most` sessions that are most like a history, those that tie among them: session, event, similarity.

    first (I + 1,), holder (N,): the sessions that hold each item, the newest last, `sample` of which are looked at;
    importance (S,) of a session; past (H,): the history, oldest first; share (H,): what an event in common adds to
    the similarity, 0 for one that is left out. event: the place in the history of the newest item that is in common.
    """
    count = 0
    for h in range(len(past)):
        if share[h] > 0:
            count += min(sample, first[past[h] + 1] - first[past[h]])
    room = 2
    while room < 2 * count:
        room *= 2
    keys, like, event = np.full(room, -1, np.int32), np.zeros(room, np.float32), np.empty(room, np.int32)
    for h in range(len(past) - 1, -1, -1):
        high = first[past[h] + 1]
        for n in range(max(first[past[h]], high - sample) if share[h] > 0 else high, high):
            slot = slot_of(keys, holder[n])
            if keys[slot] < 0:
                keys[slot], event[slot] = holder[n], h
            like[slot] += share[h]
    there = np.flatnonzero(keys >= 0)
    session, event, like = keys[there], event[there], like[there] * importance[keys[there]]
    if len(like) <= most:
        return session, event, like
    best = like.copy()
    keep_largest(best, len(best), most)
    kept = np.flatnonzero(like >= best[most - 1])
    return session[kept], event[kept], like[kept]


@compiled
def vote(start: Longs, column: Ints, session: Ints, anchor: Ints, like: Floats, near: float, votes: Floats) -> None:
    """Add what sessions (K,) say of the items to votes (I,): like · near^distance from the last place of the anchor.

    start (S + 1,), column (M,): the items of the sessions, in their order; anchor (K,): an item that each holds.
    """
    for k in range(len(session)):
        low, high = start[session[k]], start[session[k] + 1]
        place = high - 1
        while place > low and column[place] != anchor[k]:
            place -= 1
        votes[anchor[k]] += like[k]
        for side in (-1, 1):
            weight, n = like[k], place + side
            while low <= n < high:
                votes[column[n]] += weight
                weight *= near
                n += side


@compiled
def shared(start: Longs, column: Ints, session: Ints, past: Ints) -> Floats:
    """1 where a session (K,) holds the item of an event of the history (H,), else 0, (H, K)."""
    found = np.zeros((len(past), len(session)), np.float32)
    for k in range(len(session)):
        for n in range(start[session[k]], start[session[k] + 1]):
            for h in range(len(past)):
                if past[h] == column[n]:
                    found[h, k] = 1
    return found
