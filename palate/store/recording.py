"""Writing events: they are checked and numbered, each event id is stored once, a transaction takes many batches."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import chain
from time import time_ns
from typing import Any, Literal, NamedTuple, TypeAlias

from palate.data.contexts import as_context, written
from palate.data.values import FIRST_SECOND, LARGEST_WEIGHT, LAST_SECOND
from palate.errors import DataError, EventConflict
from palate.store.database import Database
from palate.store.feedback import Recorded, named_events
from palate.store.forgotten import EVENT, note_taken_back
from palate.store.schema import (
    ORDER,
    REWRITTEN,
    WITHDRAWN,
    Cursor,
    Expression,
    contexts,
    event_types,
    events,
    items,
    next_change,
    next_of,
    sa,
    users,
)

MOST_CHARACTERS = 1000  # of an id
MOST_TYPE_CHARACTERS = 100
EARLIEST, LATEST = FIRST_SECOND * 1_000_000, LAST_SECOND * 1_000_000 + 999_999
COLUMNS = ("user_no", "item_no", "type_no", "time", "weight", "event_id", "moment", "context_no")


class Event(NamedTuple):
    """One interaction of a user with an item; time in microseconds since 1970 UTC; an `event_id` counts once.

    An event without a time gets the time of its arrival in the store. A time later than the arrival is kept as given,
    but the event is ordered among the events of its user by its arrival. Its context, {"device": "phone"}, is kept as
    it is when the event comes first.
    """

    user_id: str
    item_id: str
    event_type: str
    time: int | None = None
    weight: float | None = None
    event_id: str | None = None
    context: Mapping[str, object] | None = None

    @property
    def context_text(self) -> str | None:
        """The context as the store has it, None for an empty one. Raises `DataError`."""
        return written(as_context(self.context)) if self.context else None

    def times(self, clock: int, newest: int) -> tuple[int, int]:
        """Return time and moment of an event that arrives now; `newest` is the moment of the user's newest event.

        If the clock was set back, the event still comes after the stored ones.
        """
        arrival = max(clock, newest)
        return (clock, arrival) if self.time is None else (self.time, min(self.time, arrival))


# Which events are kept where a user has several of one type on one item: all of them, or one of them.
Keep: TypeAlias = Literal["all", "first", "last"]
Key: TypeAlias = tuple[str, str, str]  # user, item, type


class Batch(NamedTuple):
    """Events stored together; `keep` says which of several on one user, item and type stay."""

    events: Sequence[Event]
    keep: Keep = "all"


class Content(NamedTuple):
    """The content of an event apart from its time: it must be the same whenever an event id is sent again."""

    user_id: str
    item_id: str
    event_type: str
    weight: float | None

    def __str__(self) -> str:
        weight = "" if self.weight is None else f" of weight {self.weight:g}"
        return f"{_shown(self.event_type)}{weight} of user {_shown(self.user_id)} on item {_shown(self.item_id)}"


class Appended(NamedTuple):
    """Number of new events, and of events that were already stored."""

    new: int
    repeated: int


def now() -> int:
    """Microseconds since 1970 UTC."""
    return time_ns() // 1000


def check_text(place: str, name: str, value: object, most: int = MOST_CHARACTERS) -> None:
    """Raise `DataError` unless the value can be an id."""
    if not isinstance(value, str) or not 0 < len(value) <= most:
        raise DataError(f"{place}: {name} is {_shown(value)}; it must be text of 1 to {most:,} characters")
    if value.isascii():
        sound = "\0" not in value
    else:
        sound = "\0" not in value and not any("\ud800" <= letter <= "\udfff" for letter in value)
    if not sound:
        raise DataError(f"{place}: {name} is {_shown(value)}; it must be Unicode text without NUL")


def check_event(n: int, event: Event) -> None:
    """Raise `DataError` with the place of the n-th event, the value and the rule it breaks."""
    place = f"event {n}"
    check_text(place, "user_id", event.user_id)
    check_text(place, "item_id", event.item_id)
    check_text(place, "event_type", event.event_type, MOST_TYPE_CHARACTERS)
    if event.event_id is not None:
        check_text(place, "event_id", event.event_id)
    if event.context:
        as_context(event.context, f"{place}: context")
    if event.time is not None:
        check_time(place, event.time)
    weight = event.weight
    if weight is not None and not (
        isinstance(weight, (int, float)) and not isinstance(weight, bool) and _finite(weight)
    ):
        raise DataError(f"{place}: weight is {_shown(weight)}; it must be a finite number, 1e6 at most, or none")


def check_time(place: str, time: object) -> None:
    """Raise `DataError` unless it is a time."""
    if not isinstance(time, int) or isinstance(time, bool) or not EARLIEST <= time <= LATEST:
        rule = "it must be whole microseconds since 1970, in the years 1 to 9999"
        raise DataError(f"{place}: time is {_shown(time)}; {rule}")


def _finite(weight: float) -> bool:
    return math.isfinite(weight) and abs(weight) <= LARGEST_WEIGHT


def _float(weight: float | None) -> float | None:
    """Return a weight as the databases take it: no whole number beyond 64 bits."""
    return None if weight is None else float(weight)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}..."


class Recorder:
    """Writes checked events within a transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database
        # These are asked for every transaction, so the driver gets them itself: see `Query`.
        self._numbers = {
            table: database.text(sa.select(name, number).where(name.in_(database.rows("ids", sa.Text()))))
            for table, (name, number) in NAMES.items()
        }
        newest = sa.select(sa.func.max(events.c.moment)).where(events.c.user_no == users.c.user_no).scalar_subquery()
        asked = users.c.user_id.in_(database.rows("ids", sa.Text()))
        self._moments = database.text(sa.select(users.c.user_id, newest).where(asked))

    def record(self, connection: sa.Connection, batches: Sequence[Batch]) -> list[Appended | EventConflict]:
        """Store the new events of each batch; a batch with a conflicting event id is not stored at all."""
        every = chain.from_iterable(batch.events for batch in batches)
        ids = [event.event_id for event in every if event.event_id is not None]
        seen = self._stored(connection, ids) if ids else {}
        waiting: list[Event] = []
        answers: list[Appended | EventConflict] = []
        for batch in batches:
            try:
                fresh, ids_of = _fresh(batch.events, seen)
            except EventConflict as error:
                answers.append(error)
                continue
            seen |= ids_of
            if batch.keep == "all":
                waiting += fresh
                new = len(fresh)
            else:
                self._insert(connection, waiting)
                waiting = []
                new = self._record_once(connection, fresh, batch.keep)
            answers.append(Appended(new, len(batch.events) - new))
        self._insert(connection, waiting)
        return answers

    def _record_once(self, connection: sa.Connection, fresh: list[Event], keep: Keep) -> int:
        """Store events without an earlier one of their user, item and type; an earlier one stays or is replaced."""
        chosen: dict[Key, Event] = {}
        for event in fresh:
            key = event.user_id, event.item_id, event.event_type
            if keep == "last" or key not in chosen:
                chosen[key] = event
        there = self._newest(connection, chosen)
        self._insert(connection, [event for key, event in chosen.items() if key not in there])
        if keep == "last" and there:
            values: dict[str, Expression] = {
                name: sa.bindparam(name) for name in ("time", "weight", "moment", "context_no")
            }
            changed = sa.update(events).where(events.c.seq == sa.bindparam("old")).values(values)
            clock, newest = now(), self._newest_moments(connection, (user for user, *_ in there))
            rows: list[dict[str, object]] = []
            context = self._contexts(connection, [chosen[key] for key in there])
            for key, old in there.items():
                time, moment = chosen[key].times(clock, newest[key[0]])
                said = context.get(chosen[key].context_text or "")
                row = {"old": old.seq, "time": time, "weight": _float(chosen[key].weight), "moment": moment}
                rows.append({**row, "context_no": said})
            if any(there[key].weight != _float(chosen[key].weight) for key in there):
                next_of(connection, WITHDRAWN)  # counts that include the old weight are taken again
            next_of(connection, REWRITTEN)
            note_taken_back(connection, [old[: len(EVENT)] for old in there.values()])
            connection.execute(changed, rows)
        return len(chosen) - len(there)

    def _newest(self, connection: sa.Connection, asked: Collection[Key]) -> dict[Key, Any]:
        """Read the newest event of each user, item and type that has one: the columns `EVENT`, and its `seq`."""
        named = sa.select(*EVENT, events.c.seq, users.c.user_id, items.c.item_id, event_types.c.name)
        chosen = (
            named.select_from(events.join(users, users.c.user_no == events.c.user_no))
            .join(items, items.c.item_no == events.c.item_no)
            .join(event_types, event_types.c.type_no == events.c.type_no)
            .where(users.c.user_id.in_(self._database.rows("users", sa.Text())))
            .where(items.c.item_id.in_(self._database.rows("items", sa.Text())))
            .order_by(*ORDER)  # so that the newest is what stays under a key
        )
        listed = self._database.listed
        ids = {"users": listed(list({key[0] for key in asked})), "items": listed(list({key[1] for key in asked}))}
        rows = ((row, (row.user_id, row.item_id, row.name)) for row in connection.execute(chosen, ids))
        return {key: row for row, key in rows if key in asked}

    def _stored(self, connection: sa.Connection, ids: list[str]) -> dict[str, Content]:
        """Return what is stored under those event ids that are known."""
        found = self._found(connection, events, ids)
        if not found:
            return {}
        chosen = events.c.seq.in_(self._database.rows("seqs", sa.BigInteger()))
        rows = connection.execute(named_events.where(chosen), {"seqs": self._database.listed(list(found.values()))})
        return {
            event.event_id or "": Content(*event[1:4], event.weight) for event in (Recorded(*row) for row in rows)
        }

    def _found(self, connection: sa.Connection, table: sa.Table, names: Sequence[str]) -> dict[str, int]:
        """Return the numbers of those names that have one."""
        text, brought = self._numbers[table]
        asked = brought | {"ids": self._database.listed(names)}
        return dict(driver_cursor(connection).execute(text, asked).fetchall())

    def _insert(self, connection: sa.Connection, new: list[Event]) -> None:
        if not new:
            return
        user, item, kind = (
            self.numbers(connection, table, names)
            for table, names in (
                (users, (event.user_id for event in new)),
                (items, (event.item_id for event in new)),
                (event_types, (event.event_type for event in new)),
            )
        )
        context = self._contexts(connection, new)
        clock, newest = now(), self._newest_moments(connection, user)
        rows = []
        for event in new:
            time, moment = event.times(clock, newest[event.user_id])
            numbers = user[event.user_id], item[event.item_id], kind[event.event_type]
            said = context.get(event.context_text or "") if context else None
            rows.append((*numbers, time, _float(event.weight), event.event_id, moment, said))
        self._database.insert(driver_cursor(connection), events, COLUMNS, rows)

    def _contexts(self, connection: sa.Connection, new: Iterable[Event]) -> dict[str, int]:
        """Return the numbers of the contexts of events."""
        texts = [text for event in new if (text := event.context_text) is not None]
        return self.numbers(connection, contexts, texts) if texts else {}

    def _newest_moments(self, connection: sa.Connection, ids: Iterable[str]) -> dict[str, int]:
        """Return the moments of users' newest events, that of the first second there is for those without one."""
        text, brought = self._moments
        asked = brought | {"ids": self._database.listed(list(dict.fromkeys(ids)))}
        found = driver_cursor(connection).execute(text, asked).fetchall()
        return {user_id: EARLIEST if moment is None else moment for user_id, moment in found}

    def numbers(
        self, connection: sa.Connection, table: sa.Table, names: Iterable[str], *, add: bool = True
    ) -> dict[str, int]:
        """Return the number of each name in its table; those that had none are left out, or get one if `add`."""
        asked = list(dict.fromkeys(names))
        found = self._found(connection, table, asked)
        missing = [name for name in asked if name not in found]
        if missing and add:
            self._add(connection, table, missing)
            found |= self._found(connection, table, missing)
        return found

    def _add(self, connection: sa.Connection, table: sa.Table, names: list[str]) -> None:
        others: dict[str, object] = {}
        moment = now()
        if table is users:
            others = {"created": moment}
        elif table is items:
            others = {"attributes": "{}", "available": True, "removed": False, "created": moment, "updated": moment}
            others["change"] = next_change(connection)
        name = NAMES[table][0].name
        rows = [(each, *others.values()) for each in names]
        self._database.insert(driver_cursor(connection), table, (name, *others), rows)


def _fresh(batch: Iterable[Event], seen: Mapping[str, Content]) -> tuple[list[Event], dict[str, Content]]:
    """Return the events whose id was not seen, and their contents by id. Raises `EventConflict`."""
    fresh: list[Event] = []
    new: dict[str, Content] = {}
    for n, event in enumerate(batch):
        name = event.event_id
        if name is not None:
            content = Content(event.user_id, event.item_id, event.event_type, _float(event.weight))
            known = new.get(name) or seen.get(name)
            if known is not None and known != content:
                raise EventConflict(f"event {n}: event_id {_shown(name)} is that of {known}, not of {content}")
            if known is not None:
                continue
            new[name] = content
        fresh.append(event)
    return fresh, new


NAMES = {
    users: (users.c.user_id, users.c.user_no),
    items: (items.c.item_id, items.c.item_no),
    event_types: (event_types.c.name, event_types.c.type_no),
    contexts: (contexts.c.context, contexts.c.context_no),
    events: (events.c.event_id, events.c.seq),
}


def driver_cursor(connection: sa.Connection) -> Cursor:
    """Cursor of the driver within the transaction."""
    return connection.connection.cursor()
