"""Events as feedback: for each user, item and type only the newest event, by time, then by arrival."""

from __future__ import annotations

from typing import NamedTuple

from palate.store.database import Database
from palate.store.forgotten import EVENT, drop_contexts, note_taken_back
from palate.store.schema import ORDER, WITHDRAWN, contexts, event_types, events, items, next_of, sa, users


class Recorded(NamedTuple):
    """An event as it is stored; `seq` grows in the order in which events were committed."""

    seq: int
    user_id: str
    item_id: str
    event_type: str
    time: int
    weight: float | None
    event_id: str | None
    context: str | None = None  # as `palate.data.contexts` writes it


named_events = sa.select(
    *(events.c.seq, users.c.user_id, items.c.item_id, event_types.c.name),
    *(events.c.time, events.c.weight, events.c.event_id, contexts.c.context),
).select_from(
    events.join(users, users.c.user_no == events.c.user_no)
    .join(items, items.c.item_no == events.c.item_no)
    .join(event_types, event_types.c.type_no == events.c.type_no)
    .outerjoin(contexts, contexts.c.context_no == events.c.context_no)
)


class Feedback:
    """The feedback in a store; it is written by `Store.submit`, with `keep`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(
        self,
        *,
        user_id: str | None = None,
        item_id: str | None = None,
        event_type: str | None = None,
        until: int | None = None,
        limit: int | None = None,
        after: int = 0,
    ) -> list[Recorded]:
        """Return the feedback of a user, on an item, of a type, at or before the time `until`, by seq.

        The next page comes `after` the last seq of this one. Its cost grows with the events of the user, with those
        on the item from `after` to the end of the page, or without either with all events of the page.
        """
        # The sum keeps a database from walking along all events where it can look up those of one user. Those on an
        # item stand in this order in an index of their own.
        seq = events.c.seq if user_id is None else events.c.seq + sa.literal_column("0")
        asked = named_events.where(seq > after).order_by(seq).limit(limit)
        if until is not None:
            asked = asked.where(events.c.time <= until)
        asked = asked.where(_newest(until), *_of(user_id, item_id, event_type))
        with self._database.reading() as connection:
            return [Recorded(*row) for row in connection.execute(asked)]

    def withdraw(self, user_id: str, item_id: str, event_type: str | None = None, time: int | None = None) -> int:
        """Delete the events of a user on an item, of one type or any, of one time or any; returns how many."""
        chosen = _of(user_id, item_id, event_type)
        return self._delete(*chosen, *([] if time is None else [events.c.time == time]))

    def withdraw_event(self, event_id: str) -> int:
        """Delete the event of this event id; returns how many there were, 0 or 1."""
        return self._delete(events.c.event_id == event_id)

    def _delete(self, *chosen: sa.ColumnElement[bool]) -> int:
        """Delete events; no import brings them back."""
        with self._database.writing() as connection:
            rows = connection.execute(sa.delete(events).where(*chosen).returning(*EVENT, events.c.context_no)).all()
            if rows:
                note_taken_back(connection, rows)
                drop_contexts(self._database, connection, (row.context_no for row in rows))
                next_of(connection, WITHDRAWN)
            return len(rows)


def _newest(until: int | None) -> sa.ColumnElement[bool]:
    """Condition that a user has no newer event of the same type on the same item, at or before the time `until`."""
    later = events.alias()
    newer = sa.tuple_(*(later.c[column.name] for column in ORDER)) > sa.tuple_(*ORDER)
    same = [later.c[name] == events.c[name] for name in ("user_no", "item_no", "type_no")]
    if until is not None:
        same.append(later.c.time <= until)
    return ~sa.select(later.c.seq).where(*same, newer).exists()


def _of(user_id: str | None, item_id: str | None, event_type: str | None) -> list[sa.ColumnElement[bool]]:
    """Conditions on the numbers of events: an id that is unknown has none."""
    named = (
        (events.c.user_no, users.c.user_no, users.c.user_id, user_id),
        (events.c.item_no, items.c.item_no, items.c.item_id, item_id),
        (events.c.type_no, event_types.c.type_no, event_types.c.name, event_type),
    )
    return [
        column == sa.select(number).where(name == value).scalar_subquery()
        for column, number, name, value in named
        if value is not None
    ]
