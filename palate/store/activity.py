"""Recent activity of a store: counts of events over time, the newest events and the newest users."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from palate.arrays import Longs
from palate.data.times import DAY
from palate.store.events import Recorded, Store
from palate.store.schema import ORDER, contexts, event_types, events, items, sa, users

MOST = 100_000  # newest events that are counted: some tens of milliseconds
LATEST = 10_000  # newest events by arrival, from which the newest by time are shown
SECOND = 1_000_000
# Possible lengths of a bucket: 1, 5, 30 s, 1, 5, 15 min, 1, 6 h, a day, a week, a month, a quarter, a year.
WIDTHS = [n * SECOND for n in (1, 5, 30, 60, 300, 900, 3600, 21_600)] + [n * DAY for n in (1, 7, 30, 91, 365)]


@dataclass(frozen=True, eq=False)
class Activity:
    """Counts of events in B equal times from `start` on, each `width` long (microseconds), by T types.

    count (B, T) int64; types: the names, the most frequent first; whole: whether all events of that time are counted,
    not only those among the newest `MOST`, provided that events arrive in the order of their times. An event with a
    time later than its arrival counts at its arrival.
    """

    start: int
    width: int
    count: Longs
    types: Sequence[str]
    whole: bool


def activity(store: Store, since: int | None = None, until: int | None = None, buckets: int = 100) -> Activity:
    """Count the newest events by time, only those in [since, until), in at most `buckets` buckets."""
    with store.database.reading() as connection:
        newest = connection.scalar(sa.select(sa.func.max(events.c.seq))) or 0
        chosen = [events.c.seq > newest - MOST]
        chosen += [] if since is None else [events.c.moment >= since]
        chosen += [] if until is None else [events.c.moment < until]
        oldest = connection.scalar(
            sa.select(events.c.moment).where(events.c.seq > newest - MOST).order_by(events.c.seq).limit(1)
        )
        whole = newest <= MOST or (since is not None and oldest is not None and oldest < since)
        first, last = connection.execute(
            sa.select(sa.func.min(events.c.moment), sa.func.max(events.c.moment)).where(*chosen)
        ).one()
        if first is None:
            return Activity(since or 0, SECOND, np.zeros((0, 0), np.int64), (), whole)
        low = first if since is None else since
        high = last + 1 if until is None else until
        width = next((width for width in WIDTHS if high - low <= width * buckets), -(-(high - low) // buckets))
        bucket = ((events.c.moment - low) // width).label("bucket")
        counted = sa.select(bucket, events.c.type_no, sa.func.count()).where(*chosen)
        rows = connection.execute(counted.group_by(bucket, events.c.type_no)).all()
    names = store.event_types()
    total: dict[str, int] = {}
    for _, number, count in rows:
        total[names[number]] = total.get(names[number], 0) + count
    types = sorted(total, key=lambda name: (-total[name], name))
    table = np.zeros((-(-(high - low) // width), len(types)), np.int64)
    for place, number, count in rows:
        table[place, types.index(names[number])] = count
    return Activity(low, width, table, types, whole)


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


def newest_users(store: Store, limit: int = 1000) -> list[str]:
    """Ids of the newest users, the newest first."""
    asked = sa.select(users.c.user_id).order_by(users.c.user_no.desc()).limit(limit)
    with store.database.reading() as connection:
        return list(connection.scalars(asked))
