"""All events of a store, column by column, in parts of many rows; and as a log to learn from."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import polars as pl

from palate.arrays import AnyArray, Ints
from palate.data.contexts import NO_CONTEXT
from palate.data.event_types import EventType
from palate.data.examination import with_examination
from palate.data.interactions import Interactions
from palate.data.readers import Grown
from palate.data.vocabulary import Vocabulary
from palate.store.database import Database
from palate.store.impressions import counts_of
from palate.store.recording import driver_cursor
from palate.store.schema import Parameters, Row, contexts, event_types, events, items, sa, users

PART = 1 << 16  # numbers of seq read at once
CONTEXT = "context_no"  # 0 where an event has none
NUMBERS = ("user_no", "item_no", "type_no", "time", CONTEXT)
LEARNED = ("user_no", "item_no", "type_no", "moment")  # a time later than an event's arrival counts at its arrival
KINDS = {
    "user_no": np.int32,
    "item_no": np.int32,
    "type_no": np.int16,
    "moment": np.int64,
    "weight": np.float32,
    CONTEXT: np.int32,
}
NAMED = {"user_no": users.c.user_id, "item_no": items.c.item_id, "type_no": event_types.c.name}
Columns: TypeAlias = dict[str, Any]  # arrays (N,), and event ids as a list or None


class Gathering:
    """A select of the events with :low < seq <= :high, in their order, those of a moment at or after `since`.

    Given `chosen`, it takes the events of that condition instead. It gives one row, which `columns` unpacks: of whole
    numbers those named, then weights. If `whole`, event ids too, and `read` gives weights to the last digit.
    """

    def __init__(
        self,
        database: Database,
        numbers: Sequence[str],
        *,
        whole: bool,
        since: int | None = None,
        chosen: sa.ColumnElement[bool] | None = None,
    ) -> None:
        self._database = database
        self._numbers = numbers
        low, high = (sa.bindparam(name, type_=sa.BigInteger) for name in ("low", "high"))
        asked = sa.select(events).where((events.c.seq > low) & (events.c.seq <= high) if chosen is None else chosen)
        if whole or not database.in_order:
            asked = asked.order_by(events.c.seq)
        if since is not None:
            asked = asked.where(events.c.moment >= since)
        rows = asked.subquery().c
        given = [sa.func.coalesce(rows[n], sa.literal_column("0")) if n == CONTEXT else rows[n] for n in numbers]
        packed = database.packed(*given), database.packed_weights(rows.weight)
        self.select = sa.select(*packed, *([database.packed_texts(rows.event_id)] if whole else []))
        self._weights = database.text(asked.with_only_columns(events.c.weight))

    def read(self, connection: sa.Connection, asked: Parameters) -> Columns:
        """Read the columns of whole events within a transaction."""
        found = self.columns(connection.execute(self.select, asked).one())
        if not np.isnan(found["weight"]).all():  # SQLite packs 15 digits of them, and a double needs up to 17
            text, brought = self._weights
            rows = driver_cursor(connection).execute(text, {**brought, **asked}).fetchall()
            found["weight"] = np.array([row[0] for row in rows], np.float64)
        return found

    def columns(self, row: Row) -> Columns:
        """Arrays (N,) by name; weights are nan where none was given. Event ids are a list, None where all are."""
        numbers = self._database.unpacked(row[0], len(self._numbers))
        found: Columns = dict(zip(self._numbers, numbers, strict=True))
        found["weight"] = self._database.unpacked_weights(row[1], numbers.shape[1])
        if len(row) > 2:
            found["event_id"] = None if row[2] is None else json.loads(row[2])
        return found


@dataclass(frozen=True)
class Names:
    """Ids in the order of their numbers; `row` is the place of each number among them, -1 without one."""

    ids: pl.Series
    row: Ints

    @classmethod
    def read(cls, database: Database, connection: sa.Connection, number: str) -> Names:
        """Read the ids that stand behind a column of numbers."""
        name = NAMED[number]
        column = name.table.c[number]
        low, high = (sa.bindparam(end, type_=sa.Integer) for end in ("low", "high"))
        gathered = sa.select(database.packed(column), database.packed_texts(name))
        part = gathered.where(column > low, column <= high)
        last = connection.scalar(sa.select(sa.func.max(column))) or 0
        row = np.full(last + 1, -1, np.int32)
        ids = [pl.Series("id", [], pl.String)]
        for first in range(0, last, PART):
            packed, texts = connection.execute(part, {"low": first, "high": first + PART}).one()
            numbers = database.unpacked(packed, 1)[0]
            order = np.argsort(numbers)
            row[numbers[order]] = np.arange(len(order), dtype=np.int32) + np.int32(sum(map(len, ids)))
            ids.append(pl.Series("id", [] if texts is None else json.loads(texts), pl.String).gather(order))
        return cls(pl.concat(ids), row)

    def rows(self, numbers: AnyArray) -> Ints:
        """Place of each number, (N,)."""
        return self.row[np.where(numbers < len(self.row), numbers, 0)]

    def used(self, rows: Ints) -> tuple[Vocabulary, Ints]:
        """Drop the ids that none of the rows (N,) names: the others, and the rows among them."""
        used = np.bincount(rows, minlength=len(self.ids)) > 0
        place = np.cumsum(used, dtype=np.int32) - np.int32(1)
        return Vocabulary(self.ids.filter(pl.Series(used))), place[rows]


def newest(connection: sa.Connection) -> int:
    """Seq of the newest event, 0 if there is none."""
    return int(connection.scalar(sa.select(sa.func.max(events.c.seq))) or 0)


def contexts_of(connection: sa.Connection) -> dict[int, str]:
    """Return all contexts by their numbers."""
    return {row.context_no: row.context for row in connection.execute(sa.select(contexts))}


def read_all(
    database: Database, weights: Mapping[str, float], since: int | None, until: int | None = None
) -> Interactions:
    """Read the log; see `Store.log`."""
    with database.reading() as connection:
        last = newest(connection) if until is None else min(until, newest(connection))
        several = connection.execute(sa.select(contexts.c.context_no).limit(1)).first() is not None
    columns = _columns(database, last, since, (*LEARNED, CONTEXT) if several else LEARNED)
    with database.reading() as connection:  # after the events, so that every number they hold has its name
        names = {number: Names.read(database, connection, number) for number in NAMED}
        texts = contexts_of(connection)
        shown = counts_of(connection)
    rows = {number: names[number].rows(columns.pop(number)) for number in NAMED}
    left = rows["user_no"] >= 0
    if not left.all():  # a user was forgotten since the events were read
        rows, columns = ({name: column[left] for name, column in table.items()} for table in (rows, columns))
    users, user = names["user_no"].used(rows.pop("user_no"))
    items, item = names["item_no"].used(rows.pop("item_no"))
    types, kind = names["type_no"].used(rows.pop("type_no"))
    weight = np.nan_to_num(columns.pop("weight"), copy=False, nan=1)
    weight *= np.array([EventType.of(name, weights).weight for name in types.ids], np.float32)[kind]
    event = kind.astype(np.int16)
    said = _context(columns.pop(CONTEXT), texts) if several else (None, ())
    log = Interactions.of(users, items, user, item, weight, columns.pop("moment"), event, tuple(types.ids), *said)
    known = replace(log, type_weights=weights)
    if not shown.size:
        return known
    return with_examination(known, items.codes(names["item_no"].ids)[names["item_no"].rows(shown[0])], *shown[1:])


def _context(numbers: Ints, texts: Mapping[int, str]) -> tuple[Ints | None, tuple[str, ...]]:
    """Return the contexts of events by their numbers (N,), and the texts of those there are, an empty one first."""
    used, code = np.unique(np.append(np.int32(0), numbers), return_inverse=True)
    found = (NO_CONTEXT, *(texts.get(number, NO_CONTEXT) for number in used[1:].tolist()))
    return (code[1:].astype(np.int32), found) if len(found) > 1 else (None, ())


def _columns(database: Database, last: int, since: int | None, numbers: Sequence[str]) -> dict[str, AnyArray]:
    """Read the events up to a seq by two threads."""
    gathering = Gathering(database, numbers, whole=False, since=since)
    query = database.query(gathering.select)

    def read(low: int) -> dict[str, AnyArray]:
        part = gathering.columns(query(low=low, high=min(low + PART, last))[0])
        return {name: part[name].astype(KINDS[name]) for name in grown}

    grown = {name: Grown(np.dtype(KINDS[name])) for name in (*numbers, "weight")}
    with ThreadPoolExecutor(2) as pool:
        for part in pool.map(read, range(0, last, PART)):
            for name, column in part.items():
                grown[name].add(column)
    return {name: column.taken() for name, column in grown.items()}
