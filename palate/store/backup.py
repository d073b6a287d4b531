"""Backup of a store to a file or folder, restore, and a check for damage."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeAlias, TypedDict

import polars as pl

from palate.data.times import to_iso
from palate.errors import SettingError, StoreError
from palate.files import aside_of, flush, parent_of, written
from palate.store.carried import FILES, carry_in, carry_out, check_free, models_of
from palate.store.copies import checksum_of, copy_checked, copy_database, sha256_of
from palate.store.database import Database
from palate.store.dialects import SQLite, open_database
from palate.store.events import Counts, Store
from palate.store.exports import Watch, event_parts, text_column, write_frames
from palate.store.recording import now
from palate.store.scan import CONTEXT
from palate.store.schema import (
    SqlType,
    contexts,
    event_types,
    events,
    items,
    metadata,
    newest_version,
    sa,
    users,
    version_of,
)
from palate.store.versions import Versions

FORMAT = 1
MANIFEST = "manifest.json"
ROWS = 50_000  # of other tables read at once
KINDS: dict[type[SqlType], pl.DataType] = {
    sa.Integer: pl.Int64(),
    sa.BigInteger: pl.Int64(),
    sa.Boolean: pl.Boolean(),
    sa.Double: pl.Float64(),
    sa.Text: pl.String(),
}
NUMBERS = ("seq", "user_no", "item_no", "type_no", "time", "moment", CONTEXT)

Frames: TypeAlias = Callable[[sa.Table], Iterable[pl.DataFrame]]


class FileFacts(TypedDict):
    """What a manifest states of a file."""

    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Report:
    """Result of `check`: faults, one line each, and the counts unless the database is damaged."""

    schema: int
    counts: Counts | None
    faults: tuple[str, ...]


def backup(store: Store, out: str | Path, *, watch: Watch | None = None, versions: Versions | None = None) -> None:
    """Copy a store as it is at one moment, while others go on writing; with its `versions` the active model, too.

    A path that ends with .db or .sqlite becomes an SQLite file, which only a store in SQLite can give. Any other
    becomes a folder of Parquet files, their checksums in a manifest; either database can be restored from it. Both
    are written aside, flushed and renamed.
    Raises `StoreError` for a target that is there, or that cannot be written.
    """
    target = Path(out)
    if target.exists():
        raise StoreError(f"{target}: exists; a backup never replaces anything")
    file = target.suffix in FILES
    if versions is not None:
        check_free(target)
    before = None if versions is None else versions.answering()
    with parent_of(target), written(target, folder=not file) as aside:
        if file:
            _copy_file(store, aside)
            line = f"{sha256_of(aside)}  {target.name}\n"
            with written(checksum_of(target)) as checksum:
                checksum.write_text(line, encoding="utf-8")
        else:
            _write_folder(store, aside, watch)
        if versions is not None:
            carry_out(versions, before, models_of(target) if file else models_of(aside))
    store.receipts.note_backup(str(target.absolute()))


def _copy_file(store: Store, target: Path) -> None:
    if not isinstance(store.database, SQLite):
        raise SettingError(f"{target}: only a store in SQLite is backed up to an SQLite file; name a folder")
    copy_database(store.database.file, target)


def _write_folder(store: Store, folder: Path, watch: Watch | None) -> None:
    files: dict[str, FileFacts] = {}
    with store.database.reading() as connection:
        schema = version_of(connection)
        for table in metadata.sorted_tables:
            path = folder / f"{table.name}.parquet"
            rows = write_frames(_frames(store.database, connection, table, watch), _schema(table), path)
            files[path.name] = {"rows": rows, "bytes": path.stat().st_size, "sha256": sha256_of(path)}
    body = {
        "format": FORMAT,
        "palate": version("palate"),
        "created": to_iso(now()),
        "schema": schema,
        "files": files,
    }
    (folder / MANIFEST).write_text(json.dumps(body, indent=2) + "\n", encoding="utf-8")
    flush(folder / MANIFEST)


def _schema(table: sa.Table) -> pl.Schema:
    return pl.Schema({column.name: KINDS[type(column.type)] for column in table.columns})


def _frames(
    database: Database, connection: sa.Connection, table: sa.Table, watch: Watch | None = None
) -> Iterator[pl.DataFrame]:
    """Rows of a table, part by part."""
    if table is events:
        for columns in event_parts(database, connection, NUMBERS, watch):
            weight = pl.Series(columns.pop("weight")).fill_nan(None)
            ids = text_column(columns.pop("event_id"), len(weight))
            context = pl.Series(columns.pop(CONTEXT))
            context = context.set(context == 0, None)
            yield pl.DataFrame({**columns, "weight": weight, "event_id": ids, CONTEXT: context})
        return
    rows = connection.execution_options(yield_per=ROWS).execute(sa.select(table).order_by(*table.primary_key))
    for part in rows.partitions():
        yield pl.DataFrame([tuple(row) for row in part], _schema(table), orient="row")


def restore(source: str | Path, url: str | Path, *, watch: Watch | None = None, models: Path | None = None) -> Store:
    """Make a store of a backup, in the same kind of database or another; returns it, open.

    The active model comes along if the backup has it, to the folder `models`, by default the one beside the store.

    Any SQLite file of a store will do, even one in use: it is copied as it is at one moment.
    Raises `StoreError` for a backup that is damaged or from a newer version, before anything is written, and for a
    store that already holds something. A restore that fails or is interrupted leaves nothing behind.
    """
    with _frames_of(Path(source)) as frames:
        database = open_database(url)
        if isinstance(database, SQLite) and not database.file.exists():
            _make_file(database.file, frames, watch)
        else:
            _fill(database, frames, watch)
    store = Store.open(url)
    carry_in(Path(source), store, models)
    return store


def _make_file(target: Path, frames: Frames, watch: Watch | None) -> None:
    """Make a store in an SQLite file, aside, then rename."""
    with parent_of(target), written(target) as aside:
        _fill(open_database(aside), frames, watch)
        if target.exists():
            raise StoreError(f"{target}: was made meanwhile; a backup is restored to a new store")


@contextmanager
def _frames_of(path: Path) -> Iterator[Frames]:
    """Check a backup, then read it."""
    if path.is_dir():
        manifest = _verified(path)
        yield lambda table: _read(path, table, manifest)
    else:
        with _copied(path) as original, original.database.reading() as connection:
            yield lambda table: _frames(original.database, connection, table)


@contextmanager
def _copied(path: Path) -> Iterator[Store]:
    """Open a checked copy of a file: to open a store may change it."""
    if not path.is_file():
        raise StoreError(f"{path}: no such file or folder")
    with aside_of(Path(tempfile.gettempdir()) / "palate-restore", folder=True) as folder:
        copy = folder / path.name
        copy_checked(path, copy)
        yield from _opened(path, copy)


def _opened(path: Path, copy: Path) -> Iterator[Store]:
    with closing(open_database(copy)) as database, database.reading() as connection:
        if version_of(connection) == 0:
            raise StoreError(f"{path}: is no backup: it holds no store")
    with Store.open(copy) as store:
        yield store


def _fill(database: Database, frames: Frames, watch: Watch | None) -> None:
    """Make the tables, where there are none, and insert the rows of all, in one transaction; closes the database."""
    with closing(database), database.writing() as connection:
        database.upgrade(connection)
        for table in (users, items, events):
            if connection.execute(sa.select(table).limit(1)).first() is not None:
                raise StoreError(f"{database.place}: has {table.name} already; a backup is restored to a new store")
        cursor = connection.connection.cursor()
        done = 0
        for table in metadata.sorted_tables:
            connection.execute(sa.delete(table))
            for frame in frames(table):
                database.insert_frame(cursor, table, frame)
                done += len(frame)
                if watch is not None:
                    watch(done, done)
        for table in (users, items, event_types, contexts, events):
            database.number_on(connection, table)


def _verified(folder: Path) -> Mapping[str, FileFacts]:
    """Return the files that the manifest of a backup names, each of them checked."""
    try:
        body = json.loads((folder / MANIFEST).read_bytes())
        if (body["format"], body["schema"]) != (FORMAT, newest_version()):
            raise StoreError(
                f"{folder}: of format {body['format']} and schema {body['schema']}, written by palate "
                f"{body['palate']}; this version restores {FORMAT} and {newest_version()}: use that one, then open "
                "the store with this one"
            )
        files: dict[str, FileFacts] = body["files"]
        for name, facts in files.items():
            if sha256_of(folder / name) != facts["sha256"]:
                raise StoreError(
                    f"{folder / name}: its sha256 is not the one that the manifest states: it was changed"
                )
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise StoreError(f"{folder}: is no backup, or is damaged: {error!r}") from error
    return files


def _read(folder: Path, table: sa.Table, files: Mapping[str, FileFacts]) -> Iterator[pl.DataFrame]:
    name = f"{table.name}.parquet"
    if name in files:
        yield from pl.scan_parquet(folder / name, glob=False).collect_batches()


def check(store: Store) -> Report:
    """Check a store for damage: its pages and indexes (SQLite), and references to missing rows."""
    with store.database.reading() as connection:
        faults = store.database.damage(connection)
        schema = version_of(connection)
        if faults:
            return Report(schema, None, tuple(faults))
        numbered = users.c.user_no, items.c.item_no, event_types.c.type_no, contexts.c.context_no
        for number, table in ((events.c[each.name], each.table) for each in numbered):
            lost_one = number.is_not(None) & number.not_in(sa.select(table.c[number.name]))
            asked = sa.select(sa.func.count()).where(lost_one)
            lost = connection.scalar(asked.select_from(events))
            if lost:
                faults.append(f"events with a {number.name} that is not in {table.name}: {lost:,}")
        for item_id, attributes in connection.execute(sa.select(items.c.item_id, items.c.attributes)):
            if not _is_object(attributes):
                faults.append(f"item {item_id!r}: its attributes are no JSON object: {attributes[:80]!r}")
    return Report(schema, store.counts(), tuple(faults))


def facts(store: Store) -> dict[str, Any]:
    """Summarise a store: its place, its counts, its first and last event."""
    with store.database.reading() as connection:
        schema = version_of(connection)
        first, last = connection.execute(sa.select(sa.func.min(events.c.time), sa.func.max(events.c.time))).one()
        kinds = sa.select(event_types.c.name).order_by(event_types.c.type_no)
        names = list(connection.scalars(kinds))
    times = {"first": first, "last": last}
    return {
        "store": store.database.place,
        "schema": schema,
        **store.counts()._asdict(),
        **{name: None if time is None else to_iso(time) for name, time in times.items()},
        "event_types": ", ".join(names),
        "bytes": store.database.size(),
    }


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False
