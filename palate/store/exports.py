"""Whole logs and catalogues out of a store."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

import polars as pl
from polars.io.plugins import register_io_source

from palate.errors import check
from palate.files import written
from palate.store.catalogues import frame_of
from palate.store.database import Database
from palate.store.events import Store
from palate.store.logs import CONTEXT, EVENT_ID, GIVEN, KEYS, SIGNED, WEIGHT
from palate.store.profiles import frame_of as users_frame
from palate.store.scan import CONTEXT as CONTEXT_NO
from palate.store.scan import NAMED, NUMBERS, PART, Columns, Gathering, Names, contexts_of, newest
from palate.store.schema import BELOW_ZERO, events, sa

Watch: TypeAlias = Callable[[int, int], None]

SINKS: dict[str, Callable[[pl.LazyFrame, Path], object]] = {
    ".parquet": pl.LazyFrame.sink_parquet,
    ".csv": pl.LazyFrame.sink_csv,
    ".jsonl": pl.LazyFrame.sink_ndjson,
}


def export_events(store: Store, out: str | Path, *, watch: Watch | None = None) -> int:
    """Write all events to a .parquet, .csv or .jsonl file that `read_log` reads; returns how many there are.

    Columns user_id, item_id, event_type, timestamp, then where any event has one, weight, event_id and context. An
    event without a weight counts 1 there, and a column weight_given says so; where a weight is below 0 the column is
    called signed_weight. The file shows the store at one moment, whatever is written meanwhile, and `import_events`
    restores it exactly.
    """
    with store.database.reading() as connection:
        kinds: dict[str, pl.DataType] = {name: pl.String() for name in KEYS.values()}
        kinds["timestamp"] = pl.Datetime("us", "UTC")
        weight = SIGNED if _occurs(connection, BELOW_ZERO) else WEIGHT
        contextual = _occurs(connection, events.c.context_no.is_not(None))
        if contextual or _occurs(connection, events.c.weight.is_not(None)):  # which mark an export
            kinds |= {weight: pl.Float64(), GIVEN: pl.Boolean()}
        if _occurs(connection, events.c.event_id.is_not(None)):
            kinds[EVENT_ID] = pl.String()
        if contextual:
            kinds[CONTEXT] = pl.String()
        return write_frames(_named(store.database, connection, weight, watch), pl.Schema(kinds), Path(out))


def _occurs(connection: sa.Connection, condition: sa.ColumnElement[bool]) -> bool:
    return connection.execute(sa.select(events.c.seq).where(condition).limit(1)).first() is not None


def _named(
    database: Database, connection: sa.Connection, weight_name: str, watch: Watch | None
) -> Iterator[pl.DataFrame]:
    """All events with their ids, part by part."""
    names = {number: Names.read(database, connection, number) for number in NAMED}
    said = contexts_of(connection)
    for columns in event_parts(database, connection, NUMBERS, watch):
        texts = {NAMED[n].name: names[n].ids.gather(names[n].rows(columns[n])) for n in NAMED}
        texts["event_type"] = texts.pop("name")
        weight = pl.Series(columns["weight"])
        others = {
            "timestamp": pl.Series(columns["time"]).cast(pl.Datetime("us", "UTC")),
            weight_name: weight.fill_nan(1),
            GIVEN: weight.is_not_nan(),
            EVENT_ID: text_column(columns["event_id"], len(weight)),
            CONTEXT: pl.Series([said.get(n) for n in columns[CONTEXT_NO].tolist()] if said else [None] * len(weight)),
        }
        yield pl.DataFrame(texts | others)


def export_items(store: Store, out: str | Path) -> int:
    """Write all items to a .parquet, .csv or .jsonl file that `read_catalogue` reads; returns how many there are.

    Columns item_id, available, one for each attribute, and `attributes`: lists of texts are JSON in CSV; values of
    several kinds, and objects, are text everywhere. What is not exact in its column, or has none since the reader
    would refuse it, stands in `attributes` as a JSON object, so that `import_items` stores items as they were.
    """
    frame = frame_of(store.items.every(), spelled=Path(out).suffix == ".csv")
    return write_frames(iter([frame]), frame.schema, Path(out))


def export_users(store: Store, out: str | Path) -> int:
    """Write all users to a .parquet, .csv or .jsonl file that `import_users` reads; returns how many there are.

    Columns user_id, one for each attribute, and `attributes`, as `export_items` writes them.
    """
    frame = users_frame(store.profiles.every(), spelled=Path(out).suffix == ".csv")
    return write_frames(iter([frame]), frame.schema, Path(out))


def event_parts(
    database: Database, connection: sa.Connection, numbers: Sequence[str], watch: Watch | None = None
) -> Iterator[Columns]:
    """Columns of all events, part by part, as a `Gathering` of these numbers gives them with event ids."""
    gathering = Gathering(database, numbers, whole=True)
    last = newest(connection)
    for low in range(0, last, PART):
        high = min(low + PART, last)
        yield gathering.read(connection, {"low": low, "high": high})
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

    with written(out) as aside:
        SINKS[out.suffix](register_io_source(source, schema=schema), aside)
    return rows
