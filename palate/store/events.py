"""The store: every event and item, kept for good; one indexed read gives a user's history."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import NamedTuple

import numpy as np

from palate.arrays import Floats, Longs
from palate.data.contexts import MOST_CONTEXTS, NO_CONTEXT
from palate.data.interactions import Interactions
from palate.models.trending import STEP
from palate.store.database import Query
from palate.store.dialects import open_database
from palate.store.distinct import Distinct
from palate.store.feedback import Feedback, Recorded, named_events
from palate.store.forgotten import FORGETTINGS, forgotten_since
from palate.store.histories import Histories, Past
from palate.store.impressions import Impressions
from palate.store.items import Items
from palate.store.pulse import Pulses
from palate.store.receipts import Receipts
from palate.store.recording import Appended, Batch, Event, Keep, check_event
from palate.store.scan import read_all
from palate.store.scenarios import Scenarios
from palate.store.schema import (
    ORDER,
    WITHDRAWN,
    contexts,
    event_types,
    events,
    items,
    sa,
    set_state,
    state,
    users,
)
from palate.store.together import Together
from palate.store.user_profiles import UserProfiles
from palate.store.writer import Writer

__all__ = ["Appended", "Counts", "Event", "Past", "Recorded", "Store"]

MOST_EVENT_TYPES = 1000


class Counts(NamedTuple):
    """Numbers of events, users and items; removed items do not count."""

    events: int
    users: int
    items: int


class Tally(NamedTuple):
    """Events that agree, (N,) each: numbers of items and types, weights (nan without one), steps of time, counts."""

    item: Longs
    kind: Longs
    weight: Floats
    step: Longs
    events: Longs


class Store:
    """Events and items in SQLite or PostgreSQL; shared by threads, and by processes that each open it.

    url         where it is, as `open` takes it again
    in_process  True where a read takes microseconds (SQLite), so that it needs no thread of its own
    """

    def __init__(self, url: str | Path) -> None:
        self.url = str(url)
        self.database = open_database(url)
        self.in_process = self.database.in_process
        try:
            self.database.migrate()
        except BaseException:
            self.database.close()
            raise
        self.items = Items(self.database)
        self.profiles = UserProfiles(self.database)
        self.feedback = Feedback(self.database)
        self.histories = Histories(self.database)
        self.together = Together(self.database)
        self.pulses = Pulses(self.database)
        self.scenarios = Scenarios(self.database)
        self.receipts = Receipts(self.database)
        self.impressions = Impressions(self.database)
        self._writer = Writer(self.database)
        self._types = Distinct("event_type", MOST_EVENT_TYPES, "types", lambda: set(self.event_types().values()))
        self._contexts = Distinct("context", MOST_CONTEXTS, "contexts", self._read_contexts)
        self._lock = Lock()

    @classmethod
    def open(cls, url: str | Path) -> Store:
        """Open a store by the path of an SQLite file or a URL; what is missing is made, what is old is migrated.

        Raises `StoreError` for what cannot be opened, is no store, or is from a newer version.
        """
        return cls(url)

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Store({self.database.place})"

    def close(self) -> None:
        """Write what was submitted, then close all connections."""
        self._writer.close()
        self.database.close()

    # Writing

    def append(self, events: Sequence[Event], keep: Keep = "all") -> Appended:
        """Store events; returns when they are committed and on the disk. Raises as `submit` and its future do."""
        return self.submit(events, keep).result()

    def submit(self, events: Sequence[Event], keep: Keep = "all") -> Future[Appended]:
        """Store events together with all others that wait; the future is done when they are on the disk.

        An event whose event_id is stored already, or stands earlier in the sequence, is counted as repeated and
        changes nothing; it may have another time, since a client that sends again may date it again. Raises
        `DataError` for a bad event, before anything is written; the future raises `EventConflict` where an event_id
        is that of an event of another user, item, type or weight, and `StoreError` if the transaction failed, and
        then none of its events is stored.

        keep  what stays where a user has an event of the same type on the same item: "all"; "first", the one that
              is stored, so that the other counts as repeated; "last", the other in the place of the newest one
        """
        checked = list(events)
        new_types, new_contexts = dict[str, int](), dict[str, int]()
        for n, event in enumerate(checked):
            check_event(n, event)
            self._types.note(event.event_type, n, new_types)
            if event.context and (context := event.context_text) is not None:
                self._contexts.note(context, n, new_contexts)
        if not new_types and not new_contexts:
            return self._writer.submit(Batch(checked, keep))
        with self._lock:
            self._types.check(new_types)
            self._contexts.check(new_contexts)
            future = self._writer.submit(Batch(checked, keep))
            self._types.coming.update(new_types.keys())
            self._contexts.coming.update(new_contexts.keys())
        future.add_done_callback(lambda _: self._arrived(new_types, new_contexts))
        return future

    def _arrived(self, types: Mapping[str, int], contexts: Mapping[str, int]) -> None:
        """Forget what was to come: it is stored now, or never will be."""
        with self._lock:
            self._types.coming -= Counter(types.keys())
            self._contexts.coming -= Counter(contexts.keys())

    def forget(self, user_id: str) -> int:
        """Delete a user and all their events, now, from the store's files too; returns the number of rows deleted.

        A keyed hash of the id is kept, so that no import brings them back (`import_log`). The receipt of it is done
        when the models are without the user, too: `palate.live.forgetting.forget`, or the next training, does that.
        """
        return self.receipts.forget([user_id]).deleted

    def forgettings(self) -> int:
        """How often users were forgotten."""
        return int(self.state(FORGETTINGS) or 0)

    def forgotten_since(self, number: int, ids: Iterable[str]) -> set[str]:
        """Return those of the ids that were forgotten after the first `number` forgettings."""
        with self.database.reading() as connection:
            return forgotten_since(connection, number, ids)

    # Reading

    def history(self, user_id: str, most: int = 2000, until: int | None = None) -> Past:
        """Newest `most` events of a user, those at or before the time `until` only; empty for an unknown user."""
        return self.histories.newest(user_id, most, until)

    def events(self, user_id: str, limit: int = 100, before: int | None = None) -> list[Recorded]:
        """Events of a user, newest first: by time, then by arrival.

        The next page comes `before` the last seq of this one; if that event is gone meanwhile, it begins at the one
        that was stored before it.
        """
        asked = named_events.where(users.c.user_id == user_id).limit(limit)
        with self.database.reading() as connection:
            if before is not None:
                place = self._place(connection, user_id, before)
                if place is None:
                    return []
                asked = asked.where(sa.tuple_(*ORDER) < sa.tuple_(*place))
            ordered = asked.order_by(*(column.desc() for column in ORDER))
            return [Recorded(*row) for row in connection.execute(ordered)]

    def _place(self, connection: sa.Connection, user_id: str, before: int) -> tuple[int, int] | None:
        """Moment and seq that a page of a user's events ends before."""
        theirs = sa.select(*ORDER).join(users, users.c.user_no == events.c.user_no).where(users.c.user_id == user_id)
        found = connection.execute(theirs.where(events.c.seq == before)).first()
        if found is None:
            earlier = theirs.where(events.c.seq < before).order_by(events.c.seq.desc()).limit(1)
            found = connection.execute(earlier).first()
            return None if found is None else (found[0], found[1] + 1)
        return found[0], found[1]

    def users(self, limit: int = 100, after: str = "") -> list[str]:
        """Ids of users in their order, those after `after`."""
        asked = sa.select(users.c.user_id).where(users.c.user_id > after).order_by(users.c.user_id).limit(limit)
        with self.database.reading() as connection:
            return list(connection.scalars(asked))

    def event_types(self) -> dict[int, str]:
        """Names of event types by number."""
        return dict(self._event_types())

    @cached_property
    def _event_types(self) -> Query:
        return self.database.query(
            sa.select(event_types.c.type_no, event_types.c.name).order_by(event_types.c.type_no)
        )

    def counts(self) -> Counts:
        """Count events, users and items."""
        with self.database.reading() as connection:
            count = sa.select(sa.func.count())
            return Counts(
                connection.scalar(count.select_from(events)) or 0,
                connection.scalar(count.select_from(users)) or 0,
                connection.scalar(count.select_from(items).where(~items.c.removed)) or 0,
            )

    def newest(self) -> int:
        """`seq` of the newest event, 0 if there is none."""
        return int(self._newest()[0][0] or 0)

    @cached_property
    def _newest(self) -> Query:
        return self.database.query(sa.select(sa.func.max(events.c.seq)))

    def withdrawn(self) -> int:
        """How often events were taken out of the store, or given another weight."""
        return int(self.state(WITHDRAWN) or 0)

    def tally(self, low: int, high: int) -> Tally:
        """Count the events with low < seq <= high that agree in item, type, weight and step of time.

        Steps are `palate.models.trending.STEP` long.
        """
        packed, packed_weights = self._tally(low=low, high=high)[0]
        item, kind, step, count = self.database.unpacked(packed, 4)
        weight = self.database.unpacked_weights(packed_weights, len(item)).astype(np.float32)
        return Tally(item, kind, weight, step, count)

    @cached_property
    def _tally(self) -> Query:
        low, high = (sa.bindparam(name, type_=sa.BigInteger) for name in ("low", "high"))
        step = (events.c.moment // sa.literal_column(str(STEP), sa.BigInteger)).label("step")
        alike = events.c.item_no, events.c.type_no, events.c.weight, step
        chosen = sa.select(*alike, sa.func.count().label("count")).where(events.c.seq > low, events.c.seq <= high)
        grouped = chosen.group_by(*alike).subquery().c
        packed = self.database.packed(grouped.item_no, grouped.type_no, grouped.step, grouped["count"])
        return self.database.query(sa.select(packed, self.database.packed_weights(grouped.weight)))

    def check_contexts(self, texts: Sequence[str]) -> None:
        """Raise `DataError` for contexts of an import that are too many with those there are."""
        with self._lock:
            self._contexts.check({text: 0 for text in texts if text != NO_CONTEXT})

    def _read_contexts(self) -> set[str]:
        with self.database.reading() as connection:
            return set(connection.scalars(sa.select(contexts.c.context)))

    def state(self, name: str) -> str | None:
        """Value kept under a name."""
        rows = self._state(name=name)
        return rows[0][0] if rows else None

    @cached_property
    def _state(self) -> Query:
        return self.database.query(
            sa.select(state.c.value).where(state.c.name == sa.bindparam("name", type_=sa.Text))
        )

    def set_state(self, name: str, value: str) -> None:
        """Keep a value under a name, for all processes."""
        with self.database.writing() as connection:
            set_state(connection, name, value)

    def log(
        self, weights: Mapping[str, float] | None = None, *, since: int | None = None, last: int | None = None
    ) -> Interactions:
        """Read all events, or those at or after the time `since`, as a log to learn from.

        weights  factors of event types, {"view": 1, "cart": 3}; 1 where it names none. They multiply the weights of
                 events, 1 where none was given.
        last     `seq` of the last event that is read

        The events of a user are in their order: by time, then by arrival. A time later than the arrival of its event
        is that of the arrival. Where impressions were counted and events name their places, the log knows how likely
        users look at each place (`palate.data.examination`).
        """
        return read_all(self.database, weights or {}, since, last)
