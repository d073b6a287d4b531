"""The database of a store: connections, transactions, and the operations in which SQLite and PostgreSQL differ."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from typing import Any

import polars as pl

from palate.arrays import Doubles, Longs
from palate.errors import MissingExtra, StoreAway, StoreError
from palate.store.schema import (
    Cursor,
    DriverConnection,
    Expression,
    Packed,
    Parameters,
    Row,
    Selection,
    SqlType,
    migrate,
    newest_version,
    sa,
    version_of,
)


class Database(ABC):
    """Connections to one database; threads may share it.

    One write transaction runs at a time, over all processes: numbers and `seq` grow in the order in which they become
    visible, and a row that was not found may be inserted without a second look.
    """

    in_process: bool  # reads take microseconds
    in_order: bool  # rows come in the order of the table's key without ORDER BY
    pool: int  # connections of each kind that are kept open; those that a burst opens beyond are closed again

    def __init__(self, url: sa.URL, **settings: object) -> None:
        self.place = shown(url)
        try:
            self.engine = sa.create_engine(url, pool_size=self.pool, max_overflow=-1, **settings)
        except ModuleNotFoundError as error:
            raise MissingExtra(str(error.name), "serve") from None
        self.fault: type[Exception] = self.engine.dialect.loaded_dbapi.Error
        self._idle: list[Cursor] = []
        self._closed = False
        sa.event.listen(self.engine, "connect", lambda connection, _: self.prepare(connection))

    @abstractmethod
    def prepare(self, connection: DriverConnection) -> None:
        """Make a new connection of the driver ready."""

    @abstractmethod
    def pin(self, connection: DriverConnection) -> Cursor:
        """Return a cursor of a driver's connection whose every statement is a transaction of its own."""

    @abstractmethod
    def writing(self) -> AbstractContextManager[sa.Connection]:
        """Open a write transaction, as a context that gives its connection; an error undoes it."""

    @abstractmethod
    def erase(self) -> None:
        """Erase deleted rows from the files of this store."""

    @abstractmethod
    def scrub(self, texts: Sequence[str] | None) -> bool:
        """Leave no copy of deleted texts in the files of this store; None: of any. Returns whether that is done."""

    @property
    @abstractmethod
    def outside(self) -> tuple[str, ...]:
        """Files of the database that a store does not erase, a sentence each."""

    @abstractmethod
    def reading(self) -> AbstractContextManager[sa.Connection]:
        """Open a transaction in which all statements see one snapshot."""

    @abstractmethod
    def rows(self, name: str, kind: SqlType) -> Selection:
        """Select the values of the parameter `name`, which `listed` made, a row each."""

    @abstractmethod
    def listed(self, values: Sequence[object]) -> object:
        """Make a parameter of many values."""

    @abstractmethod
    def packed(self, *columns: Expression) -> Expression:
        """Gather columns of whole numbers over all rows in one value.

        A driver takes about a microsecond per row, so many rows are packed into one.
        """

    @abstractmethod
    def unpacked(self, value: Packed, columns: int) -> Longs:
        """Return the numbers of a packed value, (columns, N)."""

    @abstractmethod
    def packed_weights(self, column: Expression) -> Expression:
        """Gather a column of numbers that may be missing; None if all are."""

    @abstractmethod
    def unpacked_weights(self, value: Packed, n: int) -> Doubles:
        """Return the numbers of a packed value, (n,), nan where there is none."""

    @abstractmethod
    def packed_texts(self, column: Expression) -> Expression:
        """Gather a column of texts that may be missing as a JSON list; None if all are."""

    @abstractmethod
    def insert_frame(self, cursor: Cursor, table: sa.Table, frame: pl.DataFrame) -> None:
        """Insert many rows, the columns of the frame named as the table's."""

    @abstractmethod
    def number_on(self, connection: sa.Connection, table: sa.Table) -> None:
        """Set the next number of a table behind the numbers that were inserted explicitly."""

    @abstractmethod
    def damage(self, connection: sa.Connection) -> list[str]:
        """Faults that the database itself finds in its files, one line each."""

    @abstractmethod
    def size(self) -> int:
        """Bytes on disk."""

    @abstractmethod
    def insert(self, cursor: Cursor, table: sa.Table, columns: Sequence[str], rows: Iterable[Row]) -> None:
        """Insert rows through a cursor of the driver."""

    def text(self, statement: Selection) -> tuple[str, Parameters]:
        """Return the SQL of a statement for the driver itself, and the parameters it brings along."""
        compiled = statement.compile(dialect=self.engine.dialect)
        return str(compiled), {name: value for name, value in compiled.params.items() if value is not None}

    def query(self, statement: Selection) -> Query:
        """Prepare a statement that runs often."""
        return Query(self, *self.text(statement))

    def cursor(self) -> Cursor:
        """Take a cursor of the driver, in autocommit mode, for `give_back`."""
        with suppress(IndexError):  # another thread may take the last one at any moment
            return self._idle.pop()
        with self.explained():
            pinned = self.engine.raw_connection()
            connection: DriverConnection = pinned.driver_connection
            pinned.detach()
            return self.pin(connection)

    def give_back(self, cursor: Cursor) -> None:
        """Keep a cursor for the next query, unless there are enough."""
        if len(self._idle) >= self.pool:
            cursor.connection.close()
            return
        self._idle.append(cursor)
        if self._closed:
            self.drop()

    def fill(self) -> None:
        """Open the connections that stay open, so that the first burst of requests finds them."""
        with ExitStack() as together:
            for _ in range(self.pool):
                together.enter_context(self.reading())
        for cursor in [self.cursor() for _ in range(self.pool)]:
            self.give_back(cursor)

    @abstractmethod
    def lost(self, error: BaseException | None) -> bool:
        """Whether an error means that the connection is gone, and a new one may work."""

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Turn errors of the driver into a `StoreError` with the place; a closed database raises it, too.

        It is a `StoreAway` where the connection was lost.
        """
        if self._closed:
            raise StoreError(f"{self.place}: the store is closed", "the store is closed")
        try:
            yield
        except (sa.exc.SQLAlchemyError, self.fault) as error:
            raise self.explain(error) from error

    def explain(self, error: Exception) -> StoreError:
        """Build the error, with the place and the message of the driver."""
        original = error.orig if isinstance(error, sa.exc.DBAPIError) else error
        line = str(original).strip().splitlines()[0]
        if self.lost(error):
            return StoreAway(f"{self.place}: {line}", "the database is out of reach")
        return StoreError(f"{self.place}: {line}", line)

    def migrate(self) -> None:
        """Make the tables or bring them up to date; raises `StoreError` for those of a newer version."""
        with self.reading() as connection:  # so that to open a store waits for no writer
            if version_of(connection) == newest_version():
                return
        with self.writing() as connection:
            self.upgrade(connection)

    def upgrade(self, connection: sa.Connection) -> None:
        """Make the tables or bring them up to date within a transaction."""
        try:
            migrate(connection)
        except StoreError as error:
            raise StoreError(f"{self.place}: {error}", error.public) from None

    def drop(self) -> None:
        """Close the idle cursors."""
        with suppress(IndexError):
            while True:
                self._idle.pop().connection.close()

    def close(self) -> None:
        """Close all connections, those in use when they are given back."""
        self._closed = True
        self.drop()
        self.engine.dispose()


def shown(url: sa.URL) -> str:
    """Return a URL as it may be shown: without the passwords in it."""
    secret = [name for name in url.query if "password" in name.lower()]
    return url.difference_update_query(secret).render_as_string(hide_password=True)


class Query:
    """One statement that runs through the driver: by SQLAlchemy it takes several times as long as SQLite itself.

    The SQL is compiled once, and connections are taken from a stack, so each keeps its prepared statements.
    """

    def __init__(self, database: Database, text: str, brought: Parameters) -> None:
        self._database = database
        self._text = text
        self._brought = brought

    def __call__(self, **values: object) -> list[tuple[Any, ...]]:
        """Return all rows; a connection that was lost since the last query is replaced once."""
        given = self._brought | values
        database = self._database
        cursor = database.cursor()
        try:
            rows: list[tuple[Any, ...]] = cursor.execute(self._text, given).fetchall()
        except database.fault as error:
            cursor.connection.close()
            if not database.lost(error):
                raise database.explain(error) from error
            database.drop()  # the others are as old
            cursor = database.cursor()
            with database.explained():
                rows = cursor.execute(self._text, given).fetchall()
        database.give_back(cursor)
        return rows
