"""The two databases of a store: SQLite and PostgreSQL."""

from __future__ import annotations

import json
import mmap
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import reduce
from pathlib import Path
from time import monotonic, sleep

import numpy as np
import polars as pl

from palate.arrays import Doubles, Longs
from palate.errors import StoreError
from palate.kernels.decimals import read_decimals
from palate.store.database import Database, shown
from palate.store.schema import Cursor, DriverConnection, Expression, Packed, Row, Selection, SqlType, metadata, sa

WAIT = 60.0  # seconds for another process to end its transaction
LOOK = 0.001  # seconds between two checks whether it has ended
LONG = 64 << 20  # bytes of a write-ahead log that is emptied
READER, WRITER = 512, 8192  # KiB of pages in memory: each thread may have a reader, and the file is mapped
RETRY = 0.01  # seconds between two tries of what SQLite refuses at once
EMPTYING = 0.05  # seconds to wait for readers that keep it from being emptied
LOOKED_FOR = 20  # texts at most that are looked for in a file before it is built anew
REST = 20  # pause before the next try, as a multiple of the time that the last try took
LOCK = 0x70616C617465  # of PostgreSQL's advisory locks, the one that writers of a store hold
KNOWN = "give the path of an SQLite file, sqlite:///PATH, or postgresql://USER@HOST/NAME"


class SQLite(Database):
    """A file, shared by any number of threads and processes of one machine."""

    in_process = True
    pool = 3  # to open one again takes half a millisecond, to keep it up to a megabyte
    in_order = True  # a range of the key is a walk along the tree; to ask for its order would cost a fifth

    def __init__(self, url: sa.URL) -> None:
        arguments = {"timeout": WAIT, "check_same_thread": False, "isolation_level": None}
        super().__init__(url, paramstyle="named", connect_args=arguments)
        self.file = Path(str(url.database))
        self._to_empty, self._again = False, 0.0
        sa.event.listen(self.engine, "begin", _begin)

    def prepare(self, connection: DriverConnection) -> None:
        """Readers beside one writer (WAL); a commit is on the disk (FULL); what is deleted is overwritten.

        A new file is its owner's alone; what SQLite keeps beside it follows its mode.
        """
        if not self.file.stat().st_size:
            self.file.chmod(0o600)
        self._to_wal(connection)
        connection.executescript(
            "PRAGMA synchronous=FULL; PRAGMA fullfsync=ON; PRAGMA secure_delete=ON;"
            f"PRAGMA cache_size=-{READER}; PRAGMA mmap_size=2147418112"
        )

    def _to_wal(self, connection: DriverConnection) -> None:
        """Turn the log on; of two that do so at once with a new file, SQLite refuses one without waiting."""
        end = monotonic() + WAIT
        while True:
            try:
                connection.execute("PRAGMA journal_mode=WAL")
                return
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or monotonic() > end:
                    raise
            sleep(RETRY)

    def lost(self, error: BaseException | None) -> bool:
        """Return False: a file does not lose its connection."""
        return False

    def pin(self, connection: DriverConnection) -> Cursor:
        """Return a cursor; SQLite connections start in this mode."""
        return connection.cursor()

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """Begin with the lock, so that two writers never deadlock.

        Processes take turns at a file beside, where they look every millisecond: SQLite would look again after up to
        a tenth of a second.
        """
        with self._turn(), self.explained(), self.engine.connect() as connection:
            connection.execution_options(begin="BEGIN IMMEDIATE")
            with self._large_cache(connection), connection.begin():
                yield connection
            began = monotonic()
            if began >= self._again and (self._to_empty or self._written() > LONG):
                self._to_empty = not self._empty(connection)
                self._again = monotonic() + REST * (monotonic() - began) if self._to_empty else 0.0

    def erase(self) -> None:
        """Empty the write-ahead log; where readers are at work, with a later transaction."""
        self._to_empty, self._again = True, 0.0
        with self.writing():
            """The end of a transaction empties the log."""

    def scrub(self, texts: Sequence[str] | None) -> bool:
        """Empty the log, then build the file anew where a copy is left; False while readers keep the log.

        SQLite overwrites what is deleted, but not the copies that it leaves where it moved rows between pages.
        """
        self.erase()
        if self._to_empty:
            return False
        if texts is not None and len(texts) <= LOOKED_FOR and not self._holds(texts):
            return True
        with self._turn(), self.explained(), self.engine.connect() as connection:
            driver: DriverConnection = connection.connection.driver_connection
            driver.execute("VACUUM")
        self.erase()
        return not self._to_empty

    def _holds(self, texts: Sequence[str]) -> bool:
        with self.file.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return any(content.find(text.encode()) >= 0 for text in texts)

    @property
    def outside(self) -> tuple[str, ...]:
        """All files of the store are its own."""
        return ()

    @contextmanager
    def _large_cache(self, connection: sa.Connection) -> Iterator[None]:
        """Give a connection the memory of a writer; an import would else write the same pages to the log again."""
        driver: DriverConnection = connection.connection.driver_connection
        driver.execute(f"PRAGMA cache_size=-{WRITER}")
        try:
            yield
        finally:
            driver.execute(f"PRAGMA cache_size=-{READER}")

    def _written(self) -> int:
        log = Path(f"{self.file}-wal")
        return log.stat().st_size if log.exists() else 0

    def _empty(self, connection: sa.Connection) -> bool:
        driver: DriverConnection = connection.connection.driver_connection
        driver.execute(f"PRAGMA busy_timeout={EMPTYING * 1000:.0f}")
        try:
            busy = driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        except self.fault:  # it is the same log as before
            return False
        finally:
            driver.execute(f"PRAGMA busy_timeout={WAIT * 1000:.0f}")
        return not busy

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Wait for the turn of this writer; after `WAIT`, or without a file to lock, only SQLite's lock is left."""
        with ExitStack() as line:
            with suppress(ImportError, OSError):
                from fcntl import LOCK_EX, LOCK_NB, flock

                file = line.enter_context(self.file.with_name(f"{self.file.name}-turn").open("ab"))
                end = monotonic() + WAIT
                while monotonic() < end:
                    with suppress(BlockingIOError):
                        flock(file, LOCK_EX | LOCK_NB)
                        break
                    sleep(LOOK)
            yield

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """Begin; in WAL a transaction reads the snapshot of its first statement."""
        with self.explained(), self.engine.connect() as connection, connection.begin():
            yield connection

    def rows(self, name: str, kind: SqlType) -> Selection:
        """From a JSON list."""
        return sa.select(sa.func.json_each(sa.bindparam(name)).table_valued(sa.column("value", kind)).c.value)

    def listed(self, values: Sequence[object]) -> object:
        """As JSON."""
        return json.dumps(values)

    def packed(self, *columns: Expression) -> Expression:
        """As JSON lists, one behind the other."""
        return reduce(_joined, map(_json_list, columns))

    def unpacked(self, value: Packed, columns: int) -> Longs:
        """Read the JSON."""
        return read_decimals(np.frombuffer(value.encode(), np.uint8)).reshape(columns, -1)

    def packed_weights(self, column: Expression) -> Expression:
        """As a JSON list."""
        return sa.case((sa.func.count(column) > sa.literal_column("0"), _json_list(column)))

    def unpacked_weights(self, value: Packed, n: int) -> Doubles:
        """Read the JSON."""
        return np.full(n, np.nan) if value is None else np.array(json.loads(value), np.float64)

    def insert(self, cursor: Cursor, table: sa.Table, columns: Sequence[str], rows: Iterable[Row]) -> None:
        """One statement, run for each row."""
        marks = ", ".join("?" * len(columns))
        cursor.executemany(f"INSERT INTO {table.name} ({', '.join(columns)}) VALUES ({marks})", rows)

    def packed_texts(self, column: Expression) -> Expression:
        """By SQLite's own JSON."""
        return sa.case((sa.func.count(column) > sa.literal_column("0"), _json_list(column)))

    def insert_frame(self, cursor: Cursor, table: sa.Table, frame: pl.DataFrame) -> None:
        """Row by row."""
        self.insert(cursor, table, frame.columns, zip(*(column.to_list() for column in frame), strict=True))

    def number_on(self, connection: sa.Connection, table: sa.Table) -> None:
        """SQLite does this by itself."""

    def damage(self, connection: sa.Connection) -> list[str]:
        """Pages, order and indexes."""
        found = connection.exec_driver_sql("PRAGMA integrity_check").scalars().all()
        return [str(line) for line in found if line != "ok"]

    def size(self) -> int:
        """File and write-ahead log."""
        parts = (Path(f"{self.file}{ending}") for ending in ("", "-wal"))
        return sum(part.stat().st_size for part in parts if part.exists())


class PostgreSQL(Database):
    """A server, shared by any number of machines."""

    in_process = False
    pool = 16
    in_order = False

    def __init__(self, url: sa.URL) -> None:
        super().__init__(url.set(drivername="postgresql+psycopg"), pool_pre_ping=True)

    def prepare(self, connection: DriverConnection) -> None:
        """Have a commit mean that it is on the disk, whatever the server's default."""
        connection.autocommit = True
        if connection.execute("SHOW synchronous_commit").fetchone()[0] == "off":
            connection.execute("SET synchronous_commit TO on")
        connection.autocommit = False

    def lost(self, error: BaseException | None) -> bool:
        """Decide by the class of the error: connections (08), shutdown (57P), or no code, from the driver itself."""
        original = error.orig if isinstance(error, sa.exc.DBAPIError) else error
        if not isinstance(original, self.engine.dialect.loaded_dbapi.OperationalError):
            return False
        code = getattr(original, "sqlstate", None)
        return code is None or code.startswith(("08", "57P"))

    def pin(self, connection: DriverConnection) -> Cursor:
        """In autocommit mode."""
        connection.autocommit = True
        return connection.cursor(binary=True)

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """Begin with the lock of writers."""
        with self.explained(), self.engine.begin() as connection:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(LOCK)))
            yield connection

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """Begin a repeatable read, which sees the snapshot of its first statement."""
        options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        with self.explained(), self.engine.connect() as connection:
            connection.execution_options(**options)
            with connection.begin():
                yield connection

    def erase(self) -> None:
        """PostgreSQL manages its log itself."""

    def scrub(self, texts: Sequence[str] | None) -> bool:
        """Have the server free the deleted rows; what else it keeps is `outside`."""
        with self.explained(), self.engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT")
            connection.exec_driver_sql("VACUUM users, events, state")
        return True

    @property
    def outside(self) -> tuple[str, ...]:
        """What the server keeps."""
        return (
            "PostgreSQL's write-ahead log, its archive and replicas: the server's operator recycles them",
            "freed space in PostgreSQL's files until the server uses it again; VACUUM FULL rewrites them",
            "PostgreSQL's own backups",
        )

    def rows(self, name: str, kind: SqlType) -> Selection:
        """From an array."""
        return sa.select(sa.func.unnest(sa.bindparam(name, type_=sa.ARRAY(kind))))

    def listed(self, values: Sequence[object]) -> object:
        """As a list."""
        return list(values)

    def packed(self, *columns: Expression) -> Expression:
        """As big-endian bytes, one column behind the other."""
        return reduce(_joined, (_bytes(sa.func.int8send(sa.cast(column, sa.BigInteger))) for column in columns))

    def unpacked(self, value: Packed, columns: int) -> Longs:
        """Turn the bytes around; no rows give no bytes at all."""
        return np.frombuffer(value or b"", ">i8").astype(np.int64).reshape(columns, -1)

    def packed_weights(self, column: Expression) -> Expression:
        """As big-endian bytes, nan where there is none."""
        nan = sa.cast(sa.literal_column("'NaN'"), sa.Double)
        given = sa.func.count(column) > sa.literal_column("0")
        return sa.case((given, _bytes(sa.func.float8send(sa.func.coalesce(column, nan)))))

    def unpacked_weights(self, value: Packed, n: int) -> Doubles:
        """Turn the bytes around."""
        return np.full(n, np.nan) if value is None else np.frombuffer(value, ">f8").astype(np.float64)

    def insert(self, cursor: Cursor, table: sa.Table, columns: Sequence[str], rows: Iterable[Row]) -> None:
        """COPY, which takes all rows in one round trip."""
        with cursor.copy(f"COPY {table.name} ({', '.join(columns)}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)

    def packed_texts(self, column: Expression) -> Expression:
        """By PostgreSQL's own JSON."""
        return sa.case((sa.func.count(column) > sa.literal_column("0"), sa.cast(sa.func.json_agg(column), sa.Text)))

    def insert_frame(self, cursor: Cursor, table: sa.Table, frame: pl.DataFrame) -> None:
        """COPY, from CSV that polars writes much faster than Python hands over rows."""
        with cursor.copy(f"COPY {table.name} ({', '.join(frame.columns)}) FROM STDIN (FORMAT csv)") as copy:
            copy.write(frame.write_csv(include_header=False))

    def number_on(self, connection: sa.Connection, table: sa.Table) -> None:
        """Set the sequence."""
        column = next(iter(table.primary_key))
        highest = sa.select(sa.func.coalesce(sa.func.max(column), 0) + 1).scalar_subquery()
        connection.execute(
            sa.select(sa.func.setval(sa.func.pg_get_serial_sequence(table.name, column.name), highest, False))
        )

    def damage(self, connection: sa.Connection) -> list[str]:
        """PostgreSQL checks its pages by itself whenever it reads them."""
        return []

    def size(self) -> int:
        """Tables with their indexes."""
        with self.reading() as connection:
            sizes = (sa.func.pg_total_relation_size(table.name) for table in metadata.sorted_tables)
            return sum(connection.scalar(sa.select(size)) or 0 for size in sizes)


def open_database(url: str | Path) -> Database:
    """Open a database by its URL, or the path of an SQLite file; raises `StoreError` for another kind of URL."""
    text = str(url)
    parsed = sa.URL.create("sqlite", database=str(Path(text).absolute())) if "://" not in text else _parsed(text)
    kind = parsed.get_backend_name() if parsed.drivername != "postgres" else "postgresql"
    if kind == "postgresql":
        return PostgreSQL(parsed)
    if kind == "sqlite" and parsed.database not in (None, "", ":memory:"):
        return SQLite(parsed)
    raise StoreError(f"{shown(parsed)!r}: a store cannot be kept there; {KNOWN}")


def shown_place(url: str | Path) -> str:
    """Return a path or URL as it may be shown, in a log or to a client: without passwords."""
    return shown(_parsed(str(url))) if "://" in str(url) else str(url)


def _parsed(text: str) -> sa.URL:
    try:
        return sa.make_url(text)
    except (sa.exc.ArgumentError, ValueError):
        kind = text.partition("://")[0]  # what follows may hold a password
        raise StoreError(f"'{kind}://...': no URL of a database; {KNOWN}") from None


def _joined(left: Expression, right: Expression) -> Expression:
    return left.concat(right)


def _json_list(column: Expression) -> sa.ColumnElement[str]:
    return sa.func.json_group_array(column, type_=sa.Text)


def _bytes(column: Expression) -> sa.ColumnElement[bytes]:
    return sa.func.string_agg(column, sa.literal_column("''::bytea"), type_=sa.LargeBinary)


def _begin(connection: sa.Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get("begin", "BEGIN"))
