"""Whole logs and catalogues in and out of a store."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime, time
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import polars as pl
from polars.io.plugins import register_io_source

from palate.data.catalogue import read_catalogue
from palate.data.columns import untyped
from palate.data.interactions import Interactions
from palate.data.readers import read_log
from palate.errors import DataError, StoreError, check
from palate.store.database import Database
from palate.store.events import MOST_EVENT_TYPES, Store
from palate.store.items import Item
from palate.store.recording import MOST_TYPE_CHARACTERS, Recorder, check_text, driver_cursor, now
from palate.store.scan import NAMED, NUMBERS, PART, Gathering, Names, newest
from palate.store.schema import event_types, events, get_state, items, sa, set_state, users

Watch: TypeAlias = Callable[[int, int], None]

EVENTS = 200_000  # of an import in one transaction: about a second, in which other writers wait
ITEMS = 10_000
FIXED = ("item", "available")  # of a catalogue, which become no attributes
SINKS: dict[str, Callable[[pl.LazyFrame, Path], object]] = {
    ".parquet": pl.LazyFrame.sink_parquet,
    ".csv": pl.LazyFrame.sink_csv,
    ".jsonl": pl.LazyFrame.sink_ndjson,
}
TABLES = {"user_no": users, "item_no": items, "type_no": event_types}


def import_events(
    store: Store, source: object, *, event_type: str = "event", watch: Watch | None = None, **reading: Any
) -> int:
    """Store the events of a log that `read_log` reads, with its arguments; returns how many were new.

    event_type  type of the events of a log without types
    watch       is told (events done, of all)

    A log is imported once: doing it again adds nothing, and after an interruption the rest. Events without times get
    the time of the import; weights are kept unless all are 1. Raises `DataError` before anything is written.
    """
    check_text("import", "event_type", event_type, MOST_TYPE_CHARACTERS)
    log = read_log(source, **reading)
    for name, ids in (("user_id", log.users.ids), ("item_id", log.items.ids)):
        _check_ids(name, ids)
    for name in log.event_types:
        check_text("import", "event_type", name, MOST_TYPE_CHARACTERS)
    if len(log.event_types) > MOST_EVENT_TYPES:
        raise DataError(f"import: {len(log.event_types):,} event types; there can be {MOST_EVENT_TYPES:,}")
    work = _Import(store, log, event_type)
    before = done = work.done()
    while done < len(log):
        done = work.go_on()
        if watch is not None:
            watch(done, len(log))
    return done - before


class _Import:
    """A log on its way into a store, part by part; the store keeps how far it has come, in the same transactions."""

    def __init__(self, store: Store, log: Interactions, event_type: str) -> None:
        self._store = store
        self._log = log
        self._types = log.event_types if log.event is not None else (event_type,)
        self._name = f"imported {_fingerprint(log, self._types)}"
        self._recorder = Recorder(store.database)
        self._moment = now()
        self._weighted = bool((log.weight != 1).any())

    def done(self) -> int:
        """Events that are in."""
        return int(self._store.state(self._name) or 0)

    def go_on(self) -> int:
        """Store the next part; returns how many events are in now."""
        database = self._store.database
        with database.writing() as connection:
            low = int(get_state(connection, self._name) or 0)
            high = min(low + EVENTS, len(self._log))
            frame = self._part(connection, slice(low, high))
            database.insert_frame(driver_cursor(connection), events, frame)
            set_state(connection, self._name, str(high))
        return high

    def _part(self, connection: sa.Connection, part: slice) -> pl.DataFrame:
        log = self._log
        kind = np.zeros(part.stop - part.start, np.int16) if log.event is None else log.event[part]
        coded = {
            "user_no": (log.users.ids, log.user[part]),
            "item_no": (log.items.ids, log.item[part]),
            "type_no": (pl.Series(self._types, dtype=pl.String), kind),
        }
        columns = {name: self._numbers(connection, TABLES[name], *each) for name, each in coded.items()}
        columns["time"] = np.full(len(kind), self._moment) if log.timestamp is None else log.timestamp[part]
        columns["moment"] = np.minimum(columns["time"], self._moment)
        frame = pl.DataFrame(columns)
        if self._weighted:  # as short as it can be: 0.1, not 0.10000000149
            frame = frame.with_columns(weight=pl.Series(log.weight[part]).cast(pl.String).cast(pl.Float64))
        return frame

    def _numbers(self, connection: sa.Connection, table: sa.Table, ids: pl.Series, codes: Any) -> Any:
        """Numbers in the store of coded ids, (N,)."""
        used, place = np.unique(codes, return_inverse=True)
        names = ids.gather(used).cast(pl.String).to_list()
        numbers = self._recorder.numbers(connection, table, names)
        return np.array([numbers[name] for name in names], np.int64)[place]


def import_items(store: Store, source: object, *, watch: Watch | None = None, **reading: Any) -> int:
    """Put the items of a catalogue that `read_catalogue` reads, with its arguments; returns how many it changed.

    What is told of an item replaces what was told of it; what is missing is left out. Raises `DataError`.
    """
    read = read_catalogue(source, **reading)
    frame = read.frame.with_columns(pl.col("item_id").cast(pl.String))
    _check_ids("item_id", frame["item_id"])
    # As short as they can be: 9.99, not 9.989999771118164.
    frame = frame.with_columns(pl.col(pl.Float32).cast(pl.String).cast(pl.Float64))
    changed = 0
    for low in range(0, len(frame), ITEMS):
        part = frame[low : low + ITEMS]
        changed += store.items.put(_item(row) for row in part.iter_rows(named=True))
        if watch is not None:
            watch(low + len(part), len(frame))
    own = {role: name for role, name in read.named.items() if role not in FIXED}
    store.items.name_columns({name: role for role, full in own.items() for name in (full, untyped(full))})
    return changed


def _item(row: dict[str, Any]) -> Item:
    available = row.pop("available", None)
    item_id = row.pop("item_id")
    told = {name: _plain(value) for name, value in row.items()}
    attributes = {name: value for name, value in told.items() if value is not None}
    return Item(item_id, attributes, available is not False)


def _plain(value: Any) -> Any:
    """Turn a value into what JSON has: dates and the like are text, nan and infinity are None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, (date, datetime, time)):
        return value.isoformat()
    return value if value is None or isinstance(value, (str, int)) else str(value)


def _check_ids(name: str, ids: pl.Series) -> None:
    """Raise `DataError` for the first id that a store refuses."""
    if ids.dtype == pl.String:
        for value in ids.filter((ids.str.len_chars() > 900) | ids.str.contains("\0", literal=True)):
            check_text("import", name, value)


def _fingerprint(log: Interactions, types: tuple[str, ...]) -> str:
    """Return a name for exactly these events in this order."""
    known = hashlib.sha256(repr(types).encode())
    for ids in (log.users.ids, log.items.ids):
        known.update("\0".join(ids.cast(pl.String)).encode())
    for column in (log.start, log.item, log.weight, log.timestamp, log.event):
        if column is not None:
            known.update(np.ascontiguousarray(column).data)
    return known.hexdigest()


def export_events(store: Store, out: str | Path, *, watch: Watch | None = None) -> int:
    """Write all events to a .parquet, .csv or .jsonl file that `read_log` reads; returns how many there are.

    Columns user_id, item_id, event_type, timestamp, and weight and event_id where any event has one; an event without
    a weight counts 1 there. They are of one moment, whoever writes meanwhile.
    """
    with store.database.reading() as connection:
        kinds = {"weight": pl.Float64(), "event_id": pl.String()}
        schema = pl.Schema(
            dict.fromkeys(("user_id", "item_id", "event_type"), pl.String())
            | {"timestamp": pl.Datetime("us", "UTC")}
            | {name: kind for name, kind in kinds.items() if _occurs(connection, name)}
        )
        return write_frames(_named(store.database, connection, watch), schema, Path(out))


def _occurs(connection: sa.Connection, name: str) -> bool:
    return connection.execute(sa.select(events.c.seq).where(events.c[name].is_not(None)).limit(1)).first() is not None


def _named(database: Database, connection: sa.Connection, watch: Watch | None) -> Iterator[pl.DataFrame]:
    """All events with their ids, part by part."""
    names = {number: Names.read(database, connection, number) for number in NAMED}
    for columns in event_parts(database, connection, NUMBERS, watch):
        texts = {NAMED[n].name: names[n].ids.gather(names[n].rows(columns[n])) for n in NAMED}
        texts["event_type"] = texts.pop("name")
        times = pl.Series(columns["time"]).cast(pl.Datetime("us", "UTC"))
        weight = pl.Series(columns["weight"]).fill_nan(1)
        yield pl.DataFrame(
            {**texts, "timestamp": times, "weight": weight, "event_id": text_column(columns["event_id"], len(weight))}
        )


def export_items(store: Store, out: str | Path) -> int:
    """Write all items to a .parquet, .csv or .jsonl file that `read_catalogue` reads; returns how many there are.

    Columns item_id, available, and one for each attribute: lists of texts are JSON in CSV; values of several kinds,
    and objects, are text everywhere.
    """
    found = list(_every(store))
    names = dict.fromkeys(name for item in found for name in item.attributes)
    columns = {
        "item_id": pl.Series([item.item_id for item in found], dtype=pl.String),
        "available": pl.Series([item.available for item in found], dtype=pl.Boolean),
    } | {name: _column([item.attributes.get(name) for item in found]) for name in names}
    frame = pl.DataFrame(columns)
    if Path(out).suffix == ".csv":
        lists = [name for name, kind in frame.schema.items() if isinstance(kind, pl.List)]
        texts = [pl.Series(name, [_json(value) for value in frame[name]], pl.String) for name in lists]
        frame = frame.with_columns(*texts)
    return write_frames(iter([frame]), frame.schema, Path(out))


def _every(store: Store) -> Iterator[Item]:
    after = ""
    while page := store.items.page(ITEMS, after):
        yield from page
        after = page[-1].item_id


def _column(values: list[Any]) -> pl.Series:
    """Values of an attribute, as text unless all are of one kind."""
    kinds = {type(value) for value in values if value is not None}
    if kinds == {list} and all(isinstance(each, str) for value in values if value for each in value):
        return pl.Series(values, dtype=pl.List(pl.String))
    for allowed, dtype in (({bool}, pl.Boolean), ({int}, pl.Int64), ({int, float}, pl.Float64)):
        if kinds <= allowed and all(abs(value or 0) < 1 << 63 for value in values):
            return pl.Series(values, dtype=dtype, strict=False)
    return pl.Series([_json(value) for value in values], dtype=pl.String)


def _json(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value.to_list() if isinstance(value, pl.Series) else value, ensure_ascii=False)


def event_parts(
    database: Database, connection: sa.Connection, numbers: Sequence[str], watch: Watch | None = None
) -> Iterator[dict[str, Any]]:
    """Columns of all events, part by part, as a `Gathering` of these numbers gives them with event ids."""
    gathering = Gathering(database, numbers, ids=True)
    last = newest(connection)
    for low in range(0, last, PART):
        high = min(low + PART, last)
        yield gathering.columns(connection.execute(gathering.select, {"low": low, "high": high}).one())
        if watch is not None:
            watch(high, last)


def text_column(values: list[str | None] | None, n: int) -> pl.Series:
    """Event ids as a `Gathering` gives them, (n,)."""
    return pl.Series([None] * n if values is None else values, dtype=pl.String)


def write_frames(frames: Iterator[pl.DataFrame], schema: pl.Schema, out: Path) -> int:
    """Write frames to a file as they come, aside, then rename; returns the number of rows.

    Raises `SettingError` for a suffix it does not know, `StoreError` if the file cannot be written.
    """
    check(out.suffix in SINKS, "out", str(out), f"must end with one of {' '.join(SINKS)}")
    rows = 0

    def source(columns: list[str] | None, *_: object) -> Iterator[pl.DataFrame]:
        nonlocal rows
        for frame in frames:
            rows += len(frame)
            yield frame.select(columns or schema.names())

    aside = out.with_name(f".{out.name}.new")
    try:
        SINKS[out.suffix](register_io_source(source, schema=schema), aside)
        with aside.open("rb") as file:
            os.fsync(file.fileno())
        aside.replace(out)
    except OSError as error:
        raise StoreError(f"{out}: cannot be written: {error}") from error
    finally:
        aside.unlink(missing_ok=True)
    return rows
