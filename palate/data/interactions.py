"""The log: user, item, weight, time; frozen columns grouped by user."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated

import numpy as np
import polars as pl
from numpy.typing import NDArray

from palate.arrays import AnyArray, Array, Bools, Doubles, Floats, Ints, Longs, all_finite, check_arrays
from palate.data.contexts import merged as merged_contexts
from palate.data.contexts import parsed, position_of
from palate.data.event_types import EventType
from palate.data.histories import Histories
from palate.data.ragged import Ragged, disliked, liked, without_dislikes
from palate.data.tables import PandasFrame, as_pandas
from palate.data.times import from_iso
from palate.data.vocabulary import Id, Vocabulary
from palate.errors import DataError, SettingError, real, whole
from palate.kernels.rows import gather, group_rows, sort_within_rows

if TYPE_CHECKING:
    from scipy.sparse import csr_array

TYPES = {
    "user": "int32",
    "item": "int32",
    "weight": "float32",
    "timestamp": "int64",
    "event": "int16",
    "context": "int32",
}
FEW = 1 << 18  # events that numpy sorts sooner than kernels are loaded, or compiled
PARTS = 16  # of a log, sorted one by one: what they need besides is small


@dataclass(frozen=True, eq=False)
class Interactions:
    """N events of U users on I items, grouped by user, each user's in time order (file order on ties).

    start (U + 1,) int64: events of user u are `[start[u], start[u + 1])`; item (N,) int32 rows of `items`;
    weight (N,) float32; timestamp (N,) int64 microseconds since 1970 UTC, or None when the log has no times;
    event (N,) int16 positions in `event_types`, or None when the log has no types;
    context (N,) int32 positions in `contexts`, texts as `palate.data.contexts` writes them, or None without any;
    examination (K,): how likely users look at each place of a list, 1 for the first, or None where nobody knows;
    type_weights: those of event types by name, where the weights of events hold them; {}: they are the events' own;
    skipped: rows that the reader left out, by reason; empty for a log derived from another;
    event_ids: the source's own ids of events, (N,) strings, null for one without, where the reader was told of them;
    None for a log cut from another;
    columns: the names in the file of the columns that the reader took, by role; form: what it found unusual there;
    read_at: microseconds since 1970 UTC when the log, or the log that it is derived from, was read.
    """

    users: Vocabulary
    items: Vocabulary
    start: Annotated[Longs, Array("users+1", starts="events")]
    item: Annotated[Ints, Array("events", below="items")]
    weight: Annotated[Floats, Array("events")]
    timestamp: Annotated[Longs, Array("events")] | None = None
    event: Annotated[NDArray[np.int16], Array("events", below="types")] | None = None
    event_types: tuple[str, ...] = ()
    skipped: Mapping[str, int] = field(default_factory=dict)
    read_at: int = field(default_factory=lambda: time.time_ns() // 1000)
    type_weights: Mapping[str, float] = field(default_factory=dict)
    context: Annotated[Ints, Array("events", below="contexts")] | None = None
    contexts: tuple[str, ...] = ()
    examination: Annotated[Doubles, Array("places", least=0)] | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    form: tuple[str, ...] = ()
    event_ids: pl.Series | None = None

    def __post_init__(self) -> None:
        sizes = {"users": len(self.users), "items": len(self.items), "types": len(self.event_types)}
        sizes["contexts"] = len(self.contexts)
        check_arrays(self, sizes, DataError)
        if not all_finite(self.weight):
            raise DataError(f"Interactions.weight: {np.count_nonzero(~np.isfinite(self.weight)):,} are not finite")
        object.__setattr__(self, "type_weights", dict(self.type_weights))  # other mappings may not go to a process

    @classmethod
    def of(
        cls,
        users: Vocabulary,
        items: Vocabulary,
        user: Ints,
        item: Ints,
        weight: Floats | None = None,
        timestamp: Longs | None = None,
        event: NDArray[np.int16] | None = None,
        event_types: tuple[str, ...] = (),
        context: Ints | None = None,
        contexts: tuple[str, ...] = (),
        event_ids: pl.Series | None = None,
    ) -> Interactions:
        """Group coded columns, each (N,) in the order of the file, by user and time; N must be below 2**31.

        Raises `DataError` for columns of other lengths or types, and for rows that the vocabularies do not have.
        """
        if len(user) >= 1 << 31:
            raise DataError(f"{len(user):,} events; a log can hold {(1 << 31) - 1:,}")
        _check_columns(
            len(users), user=user, item=item, weight=weight, timestamp=timestamp, event=event, context=context
        )
        if len(user) <= FEW:
            order = np.lexsort((user,) if timestamp is None else (timestamp, user)).astype(np.int32)
            start = np.append(0, np.cumsum(np.bincount(user, minlength=len(users))))
            times = None if timestamp is None else gather(timestamp, order)
        else:
            start, order = group_rows(user, len(users))
            del user  # a column that only this call holds is released as soon as it is grouped: halves the peak
            times = None if timestamp is None else _sort_by_time(start, order, timestamp)
        del timestamp
        with ThreadPoolExecutor(2) as pool:
            item_job = pool.submit(gather, item, order)
            weight_job = None if weight is None else pool.submit(gather, weight, order)
        types = None if event is None else gather(event, order)
        grouped_weight = np.ones(len(order), np.float32) if weight_job is None else weight_job.result()
        log = cls(users, items, start, item_job.result(), grouped_weight, times, types, event_types)
        if event_ids is not None:
            log = replace(log, event_ids=event_ids.gather(order.astype(np.int64)))
        return log if context is None else replace(log, context=gather(context, order), contexts=contexts)

    def __len__(self) -> int:
        return len(self.item)

    def __repr__(self) -> str:
        return f"Interactions({len(self):,} events, {len(self.users):,} users, {len(self.items):,} items)"

    @cached_property
    def user(self) -> Ints:
        """User row of each event, (N,)."""
        return np.repeat(np.arange(len(self.users), dtype=np.int32), np.diff(self.start))

    @property
    def rows(self) -> Ragged:
        """The events as one row of (item, weight, time, event type) a user."""
        return Ragged(self.start, self.item, self.weight, self.timestamp, self.event)

    @property
    def types(self) -> tuple[EventType, ...]:
        """The event types, at the positions that `event` has."""
        return tuple(EventType.of(name, self.type_weights) for name in self.event_types)

    @property
    def liked(self) -> Bools:
        """Which events are of liked items, (N,): what models learn from."""
        return liked(self.weight)

    @property
    def disliked(self) -> Bools:
        """Which events are dislikes, (N,)."""
        return disliked(self.weight)

    @cached_property
    def ages(self) -> Longs:
        """Microseconds from each event to the newest that is not ahead of `read_at`, 0 for those ahead, (N,).

        So an event whose clock was wrong makes no other one old. Raises `DataError` for a log without times.
        """
        if self.timestamp is None:
            raise DataError(f"{self!r}: has no times")
        known = self.timestamp[self.timestamp <= self.read_at]
        newest = known.max() if len(known) else self.read_at
        return np.maximum(newest - self.timestamp, 0)

    @property
    def positions(self) -> Longs:
        """Places of the items of events in the lists that showed them, as their contexts say, 0 for none, (N,)."""
        if self.context is None:
            return np.zeros(len(self), np.int64)
        return np.array([position_of(parsed(text)) for text in self.contexts], np.int64)[self.context]

    def asking(self, histories: Histories, event: Longs) -> Histories:
        """Return histories (B,) of lists that are asked for as these events (B,) come: when, and in which context."""
        asked = None if self.timestamp is None else self.timestamp[event]
        if self.context is None:
            return replace(histories, asked=asked)
        known = [parsed(text) for text in self.contexts]
        return replace(histories, asked=asked, contexts=tuple(known[code] for code in self.context[event].tolist()))

    def item_counts(self) -> Longs:
        """Events of each item, (I,)."""
        return np.bincount(self.item, minlength=len(self.items)).astype(np.int64)

    def item_weights(self, items: int = 0) -> Floats:
        """Sum of the weights of each item's events, those of dislikes as 0, (I,); (items,) where that is more."""
        sums = np.bincount(self.item, without_dislikes(self.weight), minlength=max(items, len(self.items)))
        return sums.astype(np.float32)

    def matrix(self) -> csr_array:
        """Users x items, weights of repeated events added up; float32 CSR."""
        shape = (len(self.users), len(self.items))
        from scipy.sparse import csr_array  # takes a tenth of a second, which only matrices shall cost

        matrix = csr_array((self.weight.copy(), self.item.copy(), self.start.copy()), shape=shape)
        matrix.sum_duplicates()
        return matrix

    def histories(self, user_ids: Iterable[Id] | pl.Series | None = None) -> Histories:
        """Histories of these users, in this order (all users when None); an unknown user has an empty one.

        Raises `DataError` for what cannot be an id, and where all are texts and those here numbers, or the reverse.
        """
        if user_ids is None:
            return Histories(self.users.ids, self.items, self.rows, self.event_types)
        asked = Vocabulary.series(user_ids, "user_ids")
        codes = self.users.codes(asked)
        if (codes < 0).all():
            self.users.check_kind(asked, "user_ids")
        return Histories(asked, self.items, self.rows.rows(codes.astype(np.int64)), self.event_types)

    def to_frame(self) -> pl.DataFrame:
        """Return columns user_id, item_id, weight and, where known, timestamp (UTC), event_type and context."""
        columns = {
            "user_id": self.users.names(self.user),
            "item_id": self.items.names(self.item),
            "weight": pl.Series(self.weight),
        }
        if self.timestamp is not None:
            columns["timestamp"] = pl.Series(self.timestamp).cast(pl.Datetime("us", "UTC"))
        if self.event is not None:
            columns["event_type"] = pl.Series(self.event_types, dtype=pl.String).gather(pl.Series(self.event))
        if self.context is not None:
            columns["context"] = pl.Series(self.contexts, dtype=pl.String).gather(pl.Series(self.context))
        return pl.DataFrame(columns)

    def to_pandas(self) -> PandasFrame:
        """Return what `to_frame` does as a frame of pandas; raises `MissingExtra` without pandas."""
        return as_pandas(self.to_frame())

    def merge(self, other: Interactions) -> Interactions:
        """Return the events of both logs over the union of their ids, this log's first at equal times.

        Times and event types are kept only if both logs have them; an event of a log without contexts has an empty
        one, where the other log has some. Ids are compared by their spelling.
        """
        users, items = self.users.union(other.users), self.items.union(other.items)
        types = tuple(dict.fromkeys(self.event_types + other.event_types))
        renamed = np.array([types.index(name) for name in other.event_types], np.int16)
        both_times = self.timestamp is not None and other.timestamp is not None
        both_types = self.event is not None and other.event is not None
        merged = Interactions.of(
            users,
            items,
            np.concatenate([self.user, users.recode(other.users)[other.user]]),
            np.concatenate([self.item, items.recode(other.items)[other.item]]),
            np.concatenate([self.weight, other.weight]),
            np.concatenate([self.timestamp, other.timestamp]) if both_times else None,
            np.concatenate([self.event, renamed[other.event]]) if both_types else None,
            types if both_types else (),
            *merged_contexts((self.contexts, self.context, len(self)), (other.contexts, other.context, len(other))),
        )
        weights = {**self.type_weights, **other.type_weights}
        examination = other.examination if self.examination is None else self.examination
        read_at = max(self.read_at, other.read_at)
        return replace(merged, read_at=read_at, type_weights=weights, examination=examination)

    def filter(
        self, *, min_weight: float | None = None, min_events: int | None = None, since: date | str | None = None
    ) -> Interactions:
        """Return the events that pass; users and items left without events are dropped.

        min_weight  events below it are dropped
        since       events before it are dropped: a date, datetime or ISO 8601 text; UTC unless it has a zone
        min_events  then every user and item left has at least this many events (the k-core: repeated until stable)
        """
        kept = np.ones(len(self), np.bool_)
        if min_weight is not None:
            kept &= self.weight >= np.float32(real("min_weight", min_weight))
        if since is not None:
            if self.timestamp is None:
                raise SettingError(f"since={since!r}: the log has no times")
            kept &= self.timestamp >= _microseconds(since)
        if min_events is not None:
            kept = self._core(kept, whole("min_events", min_events))
        return self.select(kept)

    def _core(self, kept: Bools, least: int) -> Bools:
        """Drop events of users and items with fewer than `least` until none is left to drop."""
        while True:
            users = np.bincount(self.user[kept], minlength=len(self.users)) >= least
            items = np.bincount(self.item[kept], minlength=len(self.items)) >= least
            smaller = kept & users[self.user] & items[self.item]
            if np.array_equal(smaller, kept):
                return kept
            kept = smaller

    def without(self, users: Collection[str]) -> Interactions:
        """Return the log without these users, by their ids as text; all others and all items stay."""
        kept = self.users.others(users)
        mine = np.isin(self.user, kept)
        return replace(
            self,
            users=self.users.select(kept),
            start=np.append(0, np.cumsum(np.diff(self.start)[kept])),
            item=self.item[mine],
            weight=self.weight[mine],
            timestamp=None if self.timestamp is None else self.timestamp[mine],
            event=None if self.event is None else self.event[mine],
            context=None if self.context is None else self.context[mine],
            event_ids=None,
        )

    def select(self, kept: Bools) -> Interactions:
        """Return the events where `kept` (N,) is true; users and items left without events are dropped."""
        user, item = self.user[kept], self.item[kept]
        users, user = _compact(self.users, user)
        items, item = _compact(self.items, item)
        return Interactions(
            users,
            items,
            np.searchsorted(user, np.arange(len(users) + 1)).astype(np.int64),
            item,
            self.weight[kept],
            None if self.timestamp is None else self.timestamp[kept],
            None if self.event is None else self.event[kept],
            self.event_types,
            read_at=self.read_at,
            type_weights=self.type_weights,
            context=None if self.context is None else self.context[kept],
            contexts=self.contexts,
            examination=self.examination,
        )


def _check_columns(users: int, **columns: AnyArray | None) -> None:
    """Raise `DataError` for a column of another type or length, and for a user row that there is not."""
    user = columns["user"]
    assert user is not None
    for name, column in columns.items():
        if column is not None and (column.dtype != TYPES[name] or column.shape != (len(user),)):
            rule = f"it must hold {TYPES[name]}, one for each of {len(user):,} events"
            raise DataError(f"{name}: holds {column.dtype} of the shape {column.shape}; {rule}")
    if len(user) and not 0 <= user.min() <= user.max() < users:
        raise DataError(f"user: has rows {user.min()} to {user.max()}; they must be from 0, below {users:,}")


def _sort_by_time(start: Longs, order: Ints, timestamp: Longs) -> Longs:
    """Sort each user's part of `order` by time, in place and stable, on two threads; returns the times so sorted."""
    times = np.empty(len(order), np.int64)

    def sort(rows: Longs) -> None:
        part = slice(rows[0], rows[-1])
        times[part] = gather(timestamp, order[part])
        sort_within_rows(rows, order, times)

    cuts = np.searchsorted(start, np.linspace(0, len(order), PARTS + 1))
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(sort, (start[first : last + 1] for first, last in pairwise(cuts))))
    return times


def _microseconds(since: date | str) -> int:
    """Microseconds since 1970 UTC of a date, a datetime or ISO 8601 text."""
    try:
        return from_iso(since if isinstance(since, str) else since.isoformat())
    except (ValueError, AttributeError):
        raise SettingError(f"since={since!r}: must be a date, a datetime or ISO 8601 text") from None


def _compact(vocabulary: Vocabulary, codes: Ints) -> tuple[Vocabulary, Ints]:
    """Drop the rows no code names; returns the smaller vocabulary and the codes in it."""
    used = np.zeros(len(vocabulary), np.bool_)
    used[codes] = True
    if used.all():
        return vocabulary, codes
    new = np.cumsum(used, dtype=np.int32) - np.int32(1)
    return vocabulary.select(np.flatnonzero(used).astype(np.int32)), new[codes]
