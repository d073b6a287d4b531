"""Recent activity of a store: counts of events over time, the newest events and the newest users."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from palate.arrays import Bools, Longs
from palate.data.times import DAY, SECOND
from palate.store.events import Recorded, Store
from palate.store.histories import EVER
from palate.store.schema import ORDER, contexts, event_types, events, items, sa, users

MOST = 250_000  # newest events that are counted, 10 MB; reading them takes a fifth of a second, once
LATEST = 10_000  # newest events by arrival, from which the newest by time are shown
# Possible lengths of a bucket: 1, 5, 30 s, 1, 5, 15 min, 1, 6 h, a day, a week, a month, a quarter, a year.
WIDTHS = [n * SECOND for n in (1, 5, 30, 60, 300, 900, 3600, 21_600)] + [n * DAY for n in (1, 7, 30, 91, 365)]


@dataclass(frozen=True, eq=False)
class Window:
    """The newest events by arrival, `MOST` at most, (N,) int64 each, by seq.

    moment  the time, that of the arrival for a later one; kind, item, user: numbers of the store
    types   names of event types by number
    lost    how often events had been taken out of the store
    """

    seq: Longs
    moment: Longs
    kind: Longs
    item: Longs
    user: Longs
    types: Mapping[int, str]
    lost: int

    @classmethod
    def of(cls, store: Store, before: Window | None = None) -> Window:
        """Read a store; `before`, an earlier window of it, spares reading its events again."""
        lost = store.withdrawn() + store.forgettings()
        kept = NONE if before is None or before.lost != lost else before.columns
        newest = store.newest()
        low = max(int(kept[0, -1]) if kept.size else 0, newest - MOST)
        if low == newest and before is not None and before.lost == lost:
            return before
        columns = np.concatenate([kept, _read(store, low)], axis=1)[:, -MOST:]
        seq, moment, kind, item, user = columns
        return cls(seq, moment, kind, item, user, store.event_types(), lost)

    def __len__(self) -> int:
        return len(self.seq)

    @property
    def columns(self) -> Longs:
        """All columns, (5, N)."""
        return np.stack([self.seq, self.moment, self.kind, self.item, self.user])

    @property
    def newest(self) -> int | None:
        """Time of the newest event, None without one."""
        return int(self.moment.max()) if len(self) else None

    def within(self, since: int, width: int, buckets: int) -> tuple[Longs, Bools]:
        """Return the bucket of each event (N,), of equal times from `since` on, and whether there is one (N,)."""
        bucket = (self.moment - since) // width
        return bucket, (bucket >= 0) & (bucket < buckets)


NONE = np.zeros((5, 0), np.int64)


def _read(store: Store, low: int) -> Longs:
    """Columns of the events with a seq above `low`, (5, N), by seq."""
    of = events.c
    chosen = sa.select(of.seq, of.moment, of.type_no, of.item_no, of.user_no).where(of.seq > low).subquery().c
    packed = store.database.packed(*chosen)
    with store.database.reading() as connection:
        columns = store.database.unpacked(connection.scalar(sa.select(packed)), 5)
    return columns[:, np.argsort(columns[0], kind="stable")]


@dataclass(frozen=True, eq=False)
class Activity:
    """Counts of the newest events in B equal times from `start` on, each `width` long (microseconds), by T types.

    count (B, T) int64; types: the names, the most frequent first; whole: whether all events of that time are counted,
    not only those of the window, provided that events arrive in the order of their times. An event with a time later
    than its arrival counts at its arrival.
    """

    start: int
    width: int
    count: Longs
    types: Sequence[str]
    whole: bool


def activity(window: Window, since: int | None = None, until: int | None = None, buckets: int = 100) -> Activity:
    """Count events by time and type, only those in [since, until), in at most `buckets` buckets."""
    whole = len(window) < MOST or (since is not None and int(window.moment[0]) < since)
    low = int(window.moment.min(initial=EVER)) if since is None else since
    high = int(window.moment.max(initial=0)) + 1 if until is None else until
    chosen = (window.moment >= low) & (window.moment < high)
    if not chosen.any():
        return Activity(since or 0, SECOND, np.zeros((0, 0), np.int64), (), whole)
    width = next((width for width in WIDTHS if high - low <= width * buckets), -(-(high - low) // buckets))
    numbers, place = np.unique(window.kind[chosen], return_inverse=True)
    size, many = -(-(high - low) // width), len(numbers)
    cell = (window.moment[chosen] - low) // width * many + place
    table = np.bincount(cell, minlength=size * many).reshape(size, many)
    names = [window.types.get(number, str(number)) for number in numbers.tolist()]
    order = sorted(range(many), key=lambda n: (-int(table[:, n].sum()), names[n]))
    return Activity(low, width, table[:, order], [names[n] for n in order], whole)


def active_users(window: Window, since: int, width: int, buckets: int) -> Longs:
    """Count the users with an event in each of B equal times from `since` on, (B,)."""
    bucket, chosen = window.within(since, width, buckets)
    pairs = np.unique(window.user[chosen] * buckets + bucket[chosen])
    return np.bincount(pairs % buckets, minlength=buckets)


def newest_events(store: Store, limit: int = 10) -> list[Recorded]:
    """Events of all users, the newest first, from the last `LATEST` that arrived."""
    last = sa.select(sa.func.max(events.c.seq)).scalar_subquery()
    ordered = sa.select(events).where(events.c.seq > last - LATEST).order_by(*(each.desc() for each in ORDER))
    newest = ordered.limit(limit).subquery().c
    asked = (
        sa.select(newest.seq, users.c.user_id, items.c.item_id, event_types.c.name, newest.time)
        .add_columns(newest.weight, newest.event_id, contexts.c.context)
        .join(users, users.c.user_no == newest.user_no)
        .join(items, items.c.item_no == newest.item_no)
        .join(event_types, event_types.c.type_no == newest.type_no)
        .outerjoin(contexts, contexts.c.context_no == newest.context_no)
        .order_by(newest.moment.desc(), newest.seq.desc())
    )
    with store.database.reading() as connection:
        return [Recorded(*row) for row in connection.execute(asked)]


def latest_users(store: Store, limit: int = 50) -> list[str]:
    """Ids of the users of the newest events, the latest first, from the last `LATEST` that arrived."""
    last = sa.select(sa.func.max(events.c.seq)).scalar_subquery()
    latest = sa.func.max(events.c.moment).label("latest")
    chosen = sa.select(events.c.user_no, latest).where(events.c.seq > last - LATEST).group_by(events.c.user_no)
    found = chosen.order_by(latest.desc(), events.c.user_no).limit(limit).subquery()
    named = sa.select(users.c.user_id).join(found, users.c.user_no == found.c.user_no)
    with store.database.reading() as connection:
        return list(connection.scalars(named.order_by(found.c.latest.desc(), found.c.user_no)))


def newest_users(store: Store, limit: int = 1000) -> list[str]:
    """Ids of the newest users, the newest first."""
    asked = sa.select(users.c.user_id).order_by(users.c.user_no.desc()).limit(limit)
    with store.database.reading() as connection:
        return list(connection.scalars(asked))
