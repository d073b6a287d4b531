"""Queries to learn an order from: what users did, asked of recipes that were fitted without it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from palate.arrays import Bools, Doubles, Longs
from palate.data.catalogue import Catalogue
from palate.data.histories import Histories
from palate.data.interactions import Interactions
from palate.data.ragged import Ragged
from palate.kernels.rows import slice_rows
from palate.ranking.values import worth

HELD_OUT = ("events", "users", "ratio")
RATIO = 0.2  # of a user's liked events that are asked for
PLACES = 3  # of a new user's history that are asked for, at most


@dataclass(frozen=True, eq=False)
class Rows:
    """Events of a log in Q rows: start (Q + 1,), event (M,)."""

    start: Longs
    event: Longs

    @classmethod
    def between(cls, start: Longs, end: Longs) -> Rows:
        """Make rows of the events [start, end), (Q,) each."""
        bounds = np.stack([start, end], axis=1).reshape(-1)
        starts, event = slice_rows(bounds, 2 * np.arange(len(start)))
        return cls(starts, event)

    @classmethod
    def of(cls, log: Interactions, kept: Bools, users: Longs) -> Rows:
        """Make a row of the events that are kept (N,) for each of some users."""
        event = np.flatnonzero(kept)
        starts, place = slice_rows(np.searchsorted(event, log.start), users)
        return cls(starts, event[place])


@dataclass(frozen=True, eq=False)
class Queries:
    """Q queries of a log: the events of the history of each, `past`, and those that it asks for, `wanted`.

    known (N,)  events that the recipes may know
    worth       of the events that are asked for, 1 in the mean
    """

    known: Bools
    past: Rows
    wanted: Rows
    worth: Doubles

    def __len__(self) -> int:
        return len(self.past.start) - 1

    def histories(self, log: Interactions, low: int, high: int) -> Histories:
        """Histories of the queries [low, high)."""
        start = self.past.start[low : high + 1]
        event = self.past.event[start[0] : start[-1]]
        time = None if log.timestamp is None else log.timestamp[event]
        types = None if log.event is None else log.event[event]
        rows = Ragged(start - start[0], log.item[event], log.weight[event], time, types)
        first = self.wanted.event[self.wanted.start[low:high]]
        histories = Histories(log.users.ids.gather(log.user[first]), log.items, rows, log.event_types)
        return log.asking(histories, first)

    def answers(self, log: Interactions) -> Iterator[tuple[Longs, Doubles]]:
        """Yield the items that each query asks for, and what they are worth."""
        for low, high in zip(self.wanted.start[:-1].tolist(), self.wanted.start[1:].tolist(), strict=True):
            yield log.item[self.wanted.event[low:high]].astype(np.int64), self.worth[low:high]


def drawn(
    log: Interactions,
    catalogue: Catalogue | None,
    held_out: str,
    value: str,
    most: int,
    folds: int,
    gap: int,
    seed: int,
) -> list[Queries]:
    """Draw queries of `most` users at most, in folds; see `palate.ranking.ranked.Ranked` for the ways and values.

    The recipes may know what the other folds ask for.
    """
    draw = np.random.default_rng(seed)
    count = np.diff(np.searchsorted(np.flatnonzero(log.liked), log.start))
    able = np.flatnonzero(count >= (gap + 2 if held_out == "events" else 2))
    most = min(most, folds * (len(able) // 2)) if held_out == "users" else most  # half of them stay in each fold
    users, found = draw.permutation(able)[:most], []
    for fold in range(folds):
        known, past, wanted = _events(log, held_out, users[fold::folds], count, gap, draw)
        found.append(Queries(known, past, wanted, worth(value, log, wanted.event, catalogue)))
    return found


def _events(
    log: Interactions, held_out: str, users: Longs, count: Longs, gap: int, draw: np.random.Generator
) -> tuple[Bools, Rows, Rows]:
    """Return which events the recipes may know, the histories, and what is asked for.

    count (U,): liked events of each user of the log
    """
    if held_out == "ratio":
        return _ratio(log, users, draw)
    likes = np.flatnonzero(log.liked)
    end = np.searchsorted(likes, log.start[users + 1])  # behind the last of each user
    if held_out == "users":
        several = np.minimum(PLACES, count[users] - 1)
        place = 1 + _apart(draw.random(len(users)), several, count[users] - 1)
        asked, first = likes[np.repeat(end - count[users], several) + place], log.start[users]
    else:
        several, asked, first = np.ones(len(users), np.int64), likes[end - 1], likes[end - 1 - gap]
    known = np.ones(len(log), np.bool_)
    known[Rows.between(first, log.start[users + 1]).event] = False
    one = Rows(np.arange(len(asked) + 1), asked)
    return known, Rows.between(np.repeat(log.start[users], several), asked), one


def _apart(first: Doubles, several: Longs, size: Longs) -> Longs:
    """Places from 0, `several` (U,) of each of U rows of `size`, at equal distances behind the first, 0 to 1."""
    nth = np.arange(several.sum()) - np.repeat(np.cumsum(several) - several, several)
    share = (np.repeat(first, several) + nth / np.repeat(several, several)) % 1
    return (share * np.repeat(size, several)).astype(np.int64)


def _ratio(log: Interactions, users: Longs, draw: np.random.Generator) -> tuple[Bools, Rows, Rows]:
    """Hold out a random share of each user's liked events, one at least, and leave one at least."""
    mine = np.isin(log.user, users) & log.liked
    key = np.where(mine, draw.random(len(log)), np.inf)
    order = np.lexsort((key, log.user))
    place = np.empty(len(log), np.int64)
    place[order] = np.arange(len(log)) - log.start[log.user[order]]
    count = np.bincount(log.user[mine], minlength=len(log.users))
    share = np.maximum(1, (RATIO * count).astype(np.int64))
    asked = mine & (place < share[log.user])
    known = ~asked
    return known, Rows.of(log, known, users), Rows.of(log, asked, users)
