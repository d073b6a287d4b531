"""Import of whole logs, catalogues and user files; the export is in `exports`."""

from __future__ import annotations

import json
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from palate.arrays import AnyArray, Bools, Ints, Longs
from palate.data.columns import CATALOGUE, LOG
from palate.data.contexts import NO_CONTEXT
from palate.errors import DataError
from palate.store.catalogues import read_items
from palate.store.database import Database
from palate.store.events import MOST_EVENT_TYPES, Store
from palate.store.exported import places_of
from palate.store.exports import Watch, export_events, export_items, export_users, text_column
from palate.store.feedback import Recorded, named_events
from palate.store.forgotten import MOMENTS, forgotten_of, moments, taken_back
from palate.store.forgotten import bring_back as drop_forgotten
from palate.store.items import check_item
from palate.store.logs import EVENT_IDS, EventRows, id_conflict, read_events
from palate.store.profiles import read_users
from palate.store.recording import MOST_TYPE_CHARACTERS, Recorder, check_text, driver_cursor, now
from palate.store.scan import Gathering
from palate.store.schema import Parameters, contexts, event_types, events, items, sa, set_state, users
from palate.store.user_profiles import check_user

__all__ = [
    "Imported",
    "Watch",
    "export_events",
    "export_items",
    "export_users",
    "import_events",
    "import_items",
    "import_log",
    "import_users",
]

EVENTS = 200_000  # of an import in one transaction: about a second, in which other writers wait
ITEMS = 10_000  # looked up at once
USERS = 1000  # whose events are compared at once
TABLES = {"user": users, "item": items, "event": event_types}
NUMBERS = {"user": "user_no", "item": "item_no", "event": "type_no"}
SAME = (*NUMBERS.values(), "time")  # events that agree in these and in their weights are equal


class Imported(NamedTuple):
    """Number of new events, or users, and of those left out because their users were forgotten."""

    new: int
    forgotten: int


def import_events(
    store: Store,
    source: object,
    *,
    event_type: str = "event",
    bring_back: bool = False,
    watch: Watch | None = None,
    **reading: Any,
) -> int:
    """Store the events of a log as `import_log` does; returns how many were new."""
    return import_log(store, source, event_type=event_type, bring_back=bring_back, watch=watch, **reading).new


def import_log(
    store: Store,
    source: object,
    *,
    event_type: str = "event",
    bring_back: bool = False,
    watch: Watch | None = None,
    **reading: Any,
) -> Imported:
    """Store the events of a log that `read_log` reads, with its arguments, or of what `export_events` wrote.

    event_type  type of the events of a log without types
    bring_back  also stores events of forgotten users, which ends their being forgotten, and events that were deleted;
                otherwise both are left out
    watch       is called with (events done, of all)

    Each event of a log is stored once, however often it comes: where n events of a log agree in user, item, type,
    time and weight, the store has n of them in the end, those counted that were there before. Events without times
    get the time of the import, and agree with those of such imports whatever their times; weights are kept unless all
    are 1. With `event_id` each id is stored once, also where an export has its events in another order, or with other
    times or weights; what was stored first stays. After an interruption the rest is stored. Raises `DataError` before
    anything is written.
    """
    check_text("import", "event_type", event_type, MOST_TYPE_CHARACTERS)
    rows = read_events(source, event_type, reading)
    if len(rows.names["event"]) > MOST_EVENT_TYPES:
        raise DataError(f"import: {len(rows.names['event']):,} event types; there can be {MOST_EVENT_TYPES:,}")
    store.check_contexts(rows.contexts)
    work = _Import(store, rows, bring_back)
    work.check_ids(source)
    new = left = done = 0
    for part in rows.parts(EVENTS):
        stored = work.store(part)
        new, left, done = new + stored.new, left + stored.forgotten, part.stop
        if watch is not None:
            watch(done, len(rows))
    return Imported(new, left)


class _Import:
    """Events on their way into a store, part by part."""

    def __init__(self, store: Store, rows: EventRows, bring_back: bool) -> None:
        self._database = store.database
        self._rows = rows
        self._bring_back = bring_back
        self._recorder = Recorder(store.database)
        self._moment = now()

    def store(self, part: slice) -> Imported:
        """Store a part, in one transaction."""
        with self._database.writing() as connection:
            kept = self._remembered(connection, part)
            last = connection.scalar(sa.select(sa.func.max(users.c.user_no))) or 0
            frame = self._frame(connection, np.flatnonzero(kept) + part.start)
            new = self._new(connection, frame, last)
            if len(new):
                self._database.insert_frame(driver_cursor(connection), events, new)
                if self._rows.time is None:
                    times = {*moments(connection), self._moment}
                    set_state(connection, MOMENTS, json.dumps(sorted(times)))
        return Imported(len(new), len(kept) - int(kept.sum()))

    def _remembered(self, connection: sa.Connection, part: slice) -> Bools:
        """Which events of a part are those of users that were not forgotten, (N,)."""
        user = self._rows.code["user"][part]
        used = np.unique(user)
        names = self._rows.names["user"].gather(used).to_list()
        if self._bring_back:
            drop_forgotten(self._database, connection, names)
            return np.ones(len(user), np.bool_)
        gone = forgotten_of(self._database, connection, names)
        return ~np.isin(user, used[[name in gone for name in names]])

    def _frame(self, connection: sa.Connection, rows: Longs, *, add: bool = True) -> pl.DataFrame:
        """Rows of the table of events; names that have no number get one if `add`, else -1."""
        log = self._rows
        columns = {NUMBERS[role]: self._numbers(connection, role, code[rows], add) for role, code in log.code.items()}
        columns["time"] = np.full(len(rows), self._moment) if log.time is None else log.time[rows]
        columns["moment"] = np.minimum(columns["time"], self._moment)
        frame = pl.DataFrame(columns)
        if log.context is not None and add:
            frame = frame.with_columns(context_no=self._context_numbers(connection, log.context[rows]))
        if log.weight is not None:
            weight = pl.Series(log.weight[rows])
            if weight.dtype == pl.Float32:  # as short as it can be: 0.1, not 0.10000000149
                weight = weight.cast(pl.String).cast(pl.Float64)
            frame = frame.with_columns(weight=weight.fill_nan(None))
        return frame if log.event_id is None else frame.with_columns(event_id=log.event_id.gather(rows))

    def _numbers(self, connection: sa.Connection, role: str, codes: AnyArray, add: bool) -> Longs:
        """Numbers in the store of coded ids, (N,)."""
        used, place = np.unique(codes, return_inverse=True)
        names = self._rows.names[role].gather(used).to_list()
        numbers = self._recorder.numbers(connection, TABLES[role], names, add=add)
        return np.array([numbers.get(name, -1) for name in names], np.int64)[place]

    def _context_numbers(self, connection: sa.Connection, codes: Ints) -> pl.Series:
        """Numbers in the store of contexts, (N,), null for an empty one."""
        texts = self._rows.contexts
        used = [texts[code] for code in np.unique(codes).tolist()]
        numbers = self._recorder.numbers(connection, contexts, (text for text in used if text != NO_CONTEXT))
        of_code = pl.Series([numbers.get(text) for text in texts], dtype=pl.Int64)
        return of_code.gather(codes)

    def _new(self, connection: sa.Connection, frame: pl.DataFrame, last: int) -> pl.DataFrame:
        """Events of a part that the store does not have; users with a number above `last` have none.

        One with an event id is there if its id is. The others are there as far as the store has as many that are
        equal, those besides that were found by their ids. What was taken back counts as if it were there.
        """
        old = frame["user_no"] <= last
        if not old.any() and "event_id" not in frame.columns:
            return frame
        kind = pl.Float32 if self._rows.weight is None else pl.Series(self._rows.weight[:0]).dtype
        key = [name for name in (*SAME, "compared") if name != "time" or self._rows.time is not None]
        compared = pl.col("weight").fill_null(1).cast(kind)
        asked = frame if "weight" in frame.columns else frame.with_columns(weight=pl.lit(None, pl.Float64))
        asked = asked.with_columns(compared=compared, named=False, known=False)
        if "event_id" in frame.columns:
            stored = self._stored(connection, frame["event_id"])["event_id"].implode()
            id_ = pl.col("event_id")
            asked = asked.with_columns(named=id_.is_not_null(), known=id_.is_in(stored).fill_null(value=False))
        held = self._held(connection, frame.filter(old)).with_columns(compared=compared).group_by(key).len("held")
        nth = (~pl.col("named")).cum_sum().over(key)
        asked = asked.with_columns(taken=pl.Series(self._taken_back(connection, asked), dtype=pl.Int64))
        there = pl.col("held").fill_null(0).cast(pl.Int64) + pl.col("taken") - pl.col("known").sum().over(key)
        new = pl.when("named").then(~pl.col("known") & (pl.col("taken") == 0)).otherwise(nth > there)
        return frame.filter(asked.join(held, on=key, how="left", maintain_order="left").select(new).to_series())

    def _taken_back(self, connection: sa.Connection, asked: pl.DataFrame) -> list[int]:
        """How often each of these events was taken back."""
        if self._bring_back:
            return [0] * len(asked)
        time = pl.col("time") if self._rows.time is not None else pl.lit(None)
        rows = asked.select(*NUMBERS.values(), time, "weight").iter_rows()
        return taken_back(self._database, connection, rows) or [0] * len(asked)

    def _held(self, connection: sa.Connection, asked: pl.DataFrame) -> pl.DataFrame:
        """Events of these users that the store has, as far as they may be equal to these."""
        time = asked["time"] if self._rows.time is not None else pl.Series(moments(connection), dtype=pl.Int64)
        theirs = events.c.user_no.in_(self._database.rows("users", sa.Integer()))
        chosen = theirs & events.c.time.between(time.min() or 0, time.max() or 0)
        numbers = asked["user_no"].unique().to_list()
        parts = [numbers[low : low + USERS] for low in range(0, max(1, len(numbers)), USERS)]
        found = [self._gathered(connection, chosen, {"users": self._database.listed(part)}) for part in parts]
        held = pl.concat([frame.drop("event_id") for frame in found])
        return held if self._rows.time is not None else held.filter(pl.col("time").is_in(time.implode()))

    def _stored(self, connection: sa.Connection, ids: pl.Series) -> pl.DataFrame:
        """Events that the store has under these ids."""
        chosen = events.c.event_id.in_(self._database.rows("ids", sa.Text()))
        return self._gathered(connection, chosen, {"ids": self._database.listed(ids.drop_nulls().to_list())})

    def _gathered(self, connection: sa.Connection, chosen: sa.ColumnElement[bool], asked: Parameters) -> pl.DataFrame:
        gathering = Gathering(self._database, [*SAME], whole=True, chosen=chosen)
        columns = gathering.read(connection, asked)
        weight = pl.Series(columns["weight"], dtype=pl.Float64).fill_nan(None)
        ids = text_column(columns["event_id"], len(weight))
        return pl.DataFrame({name: columns[name] for name in SAME} | {"weight": weight, "event_id": ids})

    def check_ids(self, source: object) -> None:
        """Raise `DataError` for an event id that the store has for another event."""
        if self._rows.event_id is None:
            return
        for low in range(0, len(self._rows), EVENTS):
            with self._database.reading() as connection:
                frame = self._frame(connection, np.arange(low, min(low + EVENTS, len(self._rows))), add=False)
                stored = self._stored(connection, frame["event_id"])
                agreeing = [*(SAME[:2] if self._rows.own else SAME), "event_id"]
                both = frame.with_columns(there=True).join(stored, on=agreeing, how="right", nulls_equal=True)
                other = both.filter(pl.col("there").is_null())["event_id"]
            if len(other):
                raise _conflict(self._database, source, other[0], own=self._rows.own)


def _conflict(database: Database, source: object, event_id: str, *, own: bool) -> DataError:
    with database.reading() as connection:
        there = Recorded(*connection.execute(named_events.where(events.c.event_id == event_id)).one())
    place = f"{database.place} (user {there.user_id!r}, item {there.item_id!r}, {there.event_type!r})"
    given = ["the log"] if own else places_of(source, "event_id", EVENT_IDS, None, event_id)
    return id_conflict(event_id, [*given, place])


def import_items(store: Store, source: object, *, watch: Watch | None = None, **reading: Any) -> int:
    """Put the items of a catalogue that `read_catalogue` reads, with its arguments, or of what `export_items` wrote.

    Returns the number of changed items. An item replaces the stored one; missing values are left out.
    All are stored or none: raises `DataError` with the row before anything is written.
    """
    given, names = read_items(source, reading)
    count = 0
    for item in given():
        count += 1
        try:
            check_item("import", item)
        except DataError:
            check_item(next(places_of(source, "item", CATALOGUE, reading.get("item"), item.item_id), "import"), item)
    changed = done = 0
    rest = given()
    with store.database.writing() as connection:
        while part := list(islice(rest, ITEMS)):
            changed += store.items.write(connection, part)
            done += len(part)
            if watch is not None:
                watch(done, count)
    store.items.name_columns(names)
    return changed


def import_users(
    store: Store, source: object, *, bring_back: bool = False, user: str | None = None, on_error: str = "raise"
) -> Imported:
    """Put the users of a file and their attributes: of what `export_users` wrote, or a column of users beside others.

    Returns the number of users that are new or changed, and of those left out because they were forgotten. The
    attributes of a user replace the stored ones. All are stored or none: raises `DataError` with the row before
    anything is written.

    bring_back  also stores forgotten users, which ends their being forgotten
    user        name of the column of users where it is unusual
    on_error    "raise", or "skip" rows that break a rule
    """
    given = read_users(source, user=user, on_error=on_error)
    for each in given():
        try:
            check_user("import", each)
        except DataError:
            check_user(next(places_of(source, "user", LOG, user, each.user_id), "import"), each)
    changed = left = 0
    rest = given()
    with store.database.writing() as connection:
        while part := list(islice(rest, ITEMS)):
            names = [each.user_id for each in part]
            if bring_back:
                drop_forgotten(store.database, connection, names)
            gone = forgotten_of(store.database, connection, names)
            kept = [each for each in part if each.user_id not in gone]
            changed, left = changed + store.profiles.write(connection, kept), left + len(gone)
    return Imported(changed, left)
