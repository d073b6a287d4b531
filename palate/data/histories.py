"""Histories: the events of a batch of users, the only input of a model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from palate.arrays import Bools, Longs
from palate.data.ids import listed, shown
from palate.data.joins import check_join
from palate.data.ragged import NEVER, Ragged
from palate.data.times import DAY
from palate.data.vocabulary import Id, Vocabulary
from palate.errors import DataError, check, real

ACCEPTED = (
    "histories are given as a log, a frame with columns user_id and item_id, a sparse matrix, Histories, "
    "or a list with a list of item ids for each user, as [[1, 2]] for one"
)


@dataclass(frozen=True, eq=False)
class Histories:
    """B histories over the items of a vocabulary: one row of (item, weight, time, type) for each user, oldest first.

    users (B,) are the ids of rankings: user ids, row numbers for users without one, or null; event_types: the names
    that `rows.event` points to, where a name may stand twice; asked (B,): when a list is asked for, microseconds
    since 1970 UTC, `NEVER` where that is not known, None where it is known for none; contexts (B,): those in which a
    list is asked for, as {"device": "phone"}, None where that is known for none.
    """

    users: pl.Series
    items: Vocabulary
    rows: Ragged
    event_types: tuple[str, ...] = ()
    asked: Longs | None = None
    contexts: tuple[Mapping[str, str], ...] | None = None

    def __post_init__(self) -> None:
        wrong = self.rows.fault(len(self.users), len(self.items), len(self.event_types))
        if self.asked is not None and len(self.asked) != len(self.users):
            wrong = f"there are {len(self.asked):,} times of asking; there must be {len(self.users):,}"
        if self.contexts is not None and len(self.contexts) != len(self.users):
            wrong = f"there are {len(self.contexts):,} contexts; there must be {len(self.users):,}"
        if wrong:
            raise DataError(f"histories of {len(self.users):,} users over {len(self.items):,} items: {wrong}")

    @classmethod
    def of(
        cls,
        items: Vocabulary,
        lists: Iterable[Iterable[Id]],
        users: Sequence[Id] | pl.Series | None = None,
        weights: Sequence[Sequence[float]] | None = None,
        times: Sequence[Sequence[int]] | None = None,
        event_types: Sequence[Sequence[str | None]] | None = None,
    ) -> Histories:
        """Build from plain lists of item ids, oldest first; unknown ids are dropped, weights are 1 unless given.

        times are microseconds since 1970 UTC, event_types names, None where a type is not known. Raises `DataError`
        where lists and weights, times or types differ in length, for what is no list of lists, as one user's list by
        itself, for what cannot be an id, and where all ids are texts and those of the items numbers, or the reverse.
        """
        rows = rows_of(lists)
        names = range(len(rows)) if users is None else users
        start = np.cumsum([0, *map(len, rows)], dtype=np.int64)
        values = [value for row in rows for value in row]
        try:
            column = items.codes(values)
        except DataError:
            for n, row in enumerate(rows):  # which of them it was
                items.codes(row, f"history {n}")
            raise
        if (column < 0).all():
            items.check_kind(Vocabulary.series(values), "histories")
        weight = np.ones(len(column), np.float32)
        if weights is not None:
            weight = np.fromiter((value for row in weights for value in row), np.float32)
        time = None if times is None else np.fromiter((value for row in times for value in row), np.int64)
        types, event = coded([name for row in event_types for name in row]) if event_types else ((), None)
        identity = np.arange(len(items), dtype=np.int32)
        known = Ragged(start, np.where(column < 0, len(items), column).astype(np.int32), weight, time, event)
        return cls(Vocabulary.series(names, "users"), items, known.recoded(np.append(identity, np.int32(-1))), types)

    def __len__(self) -> int:
        return len(self.rows)

    def on(self, items: Vocabulary, *, owner: str = "") -> Histories:
        """Return the same histories over another vocabulary; items that are not in it are dropped.

        With `whose` vocabulary it is, warn (`JoinWarning`) where it holds none of the items.
        """
        if items is self.items:
            return self
        row = items.recode(self.items)
        if owner:
            check_join(row, self.items.ids, items, "histories", owner)
        return replace(self, items=items, rows=self.rows.recoded(row))

    def of_types(self, names: Iterable[str] | Mapping[str, float], setting: str) -> Bools:
        """Which events are of these types, (N,); a mapping gives days, and only events of so many count.

        Days end when a list is asked for, or, where that is not known, at the newest of all events. Raises
        `SettingError` for unknown types, events without types, and days of events without times.
        """
        wanted = names if isinstance(names, str) else [*names]
        check(not isinstance(wanted, str), setting, wanted, "must be a list of event types")
        if not len(self.rows.column):
            return np.zeros(0, np.bool_)
        check(self.rows.event is not None, setting, wanted, "these events have no types")
        for name in wanted:
            check(
                name in self.event_types, setting, name, f"is no event type; known are {', '.join(self.event_types)}"
            )
        found = np.array([*(name in wanted for name in self.event_types), False])[self.rows.types]
        return np.asarray(found & self._within(names, setting)) if isinstance(names, Mapping) else found

    def _within(self, days: Mapping[str, float], setting: str) -> Bools:
        """Which events are as young as their type says, (N,); one of an unknown time is."""
        for name, number in days.items():
            check(real(setting, number) > 0, setting, f"{name}: {number}", "a number of days must be above 0")
        check(self.rows.time is not None, setting, dict(days), "these events have no times")
        moments = self.rows.moments
        asked = np.full(len(self), NEVER) if self.asked is None else self.asked
        until = np.repeat(np.where(asked == NEVER, moments.max(), asked), self.rows.lengths)
        most = np.array([*(days.get(name, 0.0) for name in self.event_types), 0.0])[self.rows.types]
        return np.asarray((moments == NEVER) | (until - moments <= most * DAY))

    def typed(self, types: Vocabulary) -> Ragged:
        """Return the rows with event types by their rows in a vocabulary; one that is not in it is not known."""
        return self.rows.retyped(types.codes(self.event_types, "event types"))

    def block(self, low: int, high: int) -> Histories:
        """Return rows `[low, high)`."""
        asked = None if self.asked is None else self.asked[low:high]
        contexts = None if self.contexts is None else self.contexts[low:high]
        rows = self.rows.block(low, high)
        return replace(self, users=self.users[low:high], rows=rows, asked=asked, contexts=contexts)

    def gather(self, index: Longs) -> Histories:
        """Return the rows named by `index`, in that order."""
        asked = None if self.asked is None else self.asked[index]
        contexts = None if self.contexts is None else tuple(self.contexts[n] for n in index.tolist())
        rows = self.rows.rows(index)
        return replace(self, users=self.users.gather(index), rows=rows, asked=asked, contexts=contexts)


def rows_of(lists: Iterable[Iterable[Id]]) -> list[pl.Series | list[object]]:
    """Return lists of ids, each as a list or column. Raises `DataError` for anything else."""
    if isinstance(lists, str | bytes | Mapping) or not isinstance(lists, Iterable):
        raise DataError(f"histories are {shown(lists).partition(chr(10))[0]}; {ACCEPTED}")
    try:
        return [listed(row, f"history {n}") for n, row in enumerate(lists)]
    except DataError as error:
        raise DataError(f"{error}; {ACCEPTED}") from None


def coded(names: Sequence[str | None]) -> tuple[tuple[str, ...], NDArray[np.int16]]:
    """Return the distinct names of event types and their positions (N,), -1 for None."""
    place: dict[str | None, int] = dict.fromkeys(names, -1)
    types = tuple([name for name in place if name is not None])
    place.update(zip(types, range(len(types)), strict=True))
    return types, np.array([place[name] for name in names], np.int16)
