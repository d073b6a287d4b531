"""The tables of a store and their migrations. The only file that imports SQLAlchemy (extra `serve`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import time_ns
from typing import Any, TypeAlias

from palate.errors import MissingExtra, StoreError

try:
    import sqlalchemy as sa
except ModuleNotFoundError:
    raise MissingExtra("sqlalchemy", "serve") from None

__all__ = [
    "MIGRATIONS",
    "ORDER",
    "Cursor",
    "DriverConnection",
    "Expression",
    "Packed",
    "Parameters",
    "Row",
    "Selection",
    "SqlType",
    "contexts",
    "event_types",
    "events",
    "get_state",
    "impressions",
    "items",
    "keys",
    "metadata",
    "migrate",
    "models",
    "newest_version",
    "next_change",
    "sa",
    "set_state",
    "state",
    "users",
    "version_of",
]

Expression: TypeAlias = sa.ColumnElement[Any]  # of any type, as the next two
Selection: TypeAlias = sa.Select[Any]
SqlType: TypeAlias = sa.types.TypeEngine[Any]
Row: TypeAlias = Sequence[Any]  # of a table or an answer
Parameters: TypeAlias = dict[str, object]  # of a statement
# What only one of the drivers has is called on these: they share no types.
DriverConnection: TypeAlias = Any
Cursor: TypeAlias = Any
Packed: TypeAlias = Any  # text in SQLite, bytes in PostgreSQL, None for no rows

# Compared byte by byte in both databases, so that pages by id have one order.
TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
SEQ = sa.BigInteger().with_variant(sa.Integer, "sqlite")  # SQLite numbers only INTEGER by itself

metadata = sa.MetaData()

users = sa.Table(
    "users",
    metadata,
    sa.Column("user_no", sa.Integer, primary_key=True),
    sa.Column("user_id", TEXT, nullable=False, unique=True),
    sa.Column("created", sa.BigInteger, nullable=False),
    sa.Column("attributes", TEXT),
    sqlite_autoincrement=True,  # the number of a forgotten user is never used again
)
items = sa.Table(
    "items",
    metadata,
    sa.Column("item_no", sa.Integer, primary_key=True),
    sa.Column("item_id", TEXT, nullable=False, unique=True),
    sa.Column("attributes", TEXT, nullable=False),
    sa.Column("available", sa.Boolean, nullable=False),
    sa.Column("removed", sa.Boolean, nullable=False),
    sa.Column("created", sa.BigInteger, nullable=False),
    sa.Column("updated", sa.BigInteger, nullable=False),
    sa.Column("change", sa.BigInteger, nullable=False, index=True),
    sqlite_autoincrement=True,
)
event_types = sa.Table(
    "event_types",
    metadata,
    sa.Column("type_no", sa.Integer, primary_key=True),
    sa.Column("name", TEXT, nullable=False, unique=True),
)
contexts = sa.Table(
    "contexts",
    metadata,
    sa.Column("context_no", sa.Integer, primary_key=True),
    sa.Column("context", TEXT, nullable=False, unique=True),
    sqlite_autoincrement=True,
)
events = sa.Table(
    "events",
    metadata,
    sa.Column("seq", SEQ, primary_key=True),
    sa.Column("user_no", sa.Integer, nullable=False),
    sa.Column("item_no", sa.Integer, nullable=False),
    sa.Column("type_no", sa.Integer, nullable=False),
    sa.Column("time", sa.BigInteger, nullable=False),
    sa.Column("weight", sa.Double),
    sa.Column("event_id", TEXT),
    sa.Column("moment", sa.BigInteger, nullable=False),
    sa.Column("context_no", sa.Integer),
    sqlite_autoincrement=True,
)
# How often lists showed an item at a place, the first being 1: of no user.
impressions = sa.Table(
    "impressions",
    metadata,
    sa.Column("item_no", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("shown", sa.BigInteger, nullable=False),
)
# The one order of a user's events: time, then arrival. `time` is what was given; `moment` is the same, but for a time
# later than the event's arrival, which counts at its arrival.
ORDER = (events.c.moment, events.c.seq)
# The sign of an event's own weight, as `palate.data.ragged` reads it of whole weights. None is 1.
BELOW_ZERO = sa.func.coalesce(events.c.weight, sa.literal_column("1")) < sa.literal_column("0")
NOT_ZERO = events.c.weight.is_(None) | (events.c.weight != 0)


def above_zero(rows: sa.FromClause) -> sa.ColumnElement[bool]:
    """Whether the own weight of events of a selection is above 0."""
    found: sa.ColumnElement[bool] = rows.c.weight.is_(None) | (rows.c.weight > sa.literal_column("0"))
    return found


# These indexes cover a history, so that reading one touches no page of the table. The second finds the items of a
# user by skipping from one to the next.
_read = (events.c.type_no, events.c.time, events.c.weight)
sa.Index("events_of_user", events.c.user_no, *ORDER, events.c.item_no, *_read)
sa.Index("events_of_pair", events.c.user_no, events.c.item_no, *ORDER, *_read)
sa.Index("events_of_item", events.c.item_no, events.c.seq)
sa.Index(
    "events_of_context",
    events.c.context_no,
    sqlite_where=events.c.context_no.is_not(None),
    postgresql_where=events.c.context_no.is_not(None),
)
sa.Index(
    "events_once",
    events.c.event_id,
    unique=True,
    sqlite_where=events.c.event_id.is_not(None),
    postgresql_where=events.c.event_id.is_not(None),
)
state = sa.Table(
    "state", metadata, sa.Column("name", TEXT, primary_key=True), sa.Column("value", TEXT, nullable=False)
)
keys = sa.Table(
    "keys",
    metadata,
    sa.Column("prefix", TEXT, primary_key=True),
    sa.Column("name", TEXT, nullable=False, unique=True),
    sa.Column("scopes", TEXT, nullable=False),
    sa.Column("sha256", TEXT, nullable=False),
    sa.Column("created", sa.BigInteger, nullable=False),
    sa.Column("revoked", sa.BigInteger),
)
models = sa.Table(
    "models",
    metadata,
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("created", sa.BigInteger, nullable=False),
    sa.Column("about", TEXT, nullable=False),
)

# Names of counters, and of the version of the active model, in the table of state.
WITHDRAWN = "withdrawn"  # how often events were deleted, or changed their weights
REWRITTEN = "rewritten"  # how often stored events changed their times or weights
CHANGES = "items"  # how often items changed
ACTIVE = "active model"
REPLACED = "rewritten models"  # how often the bundle of a version was rewritten


def _moments(connection: sa.Connection) -> None:
    """Give events their moment; those stored before count as arrived now."""
    for statement in (
        "ALTER TABLE events ADD COLUMN moment BIGINT NOT NULL DEFAULT 0",
        "UPDATE events SET moment = CASE WHEN time < :now THEN time ELSE :now END",
        "DROP INDEX events_of_user",
        "CREATE INDEX events_of_user ON events (user_no, moment, seq, item_no, type_no, time, weight)",
        "CREATE INDEX events_of_pair ON events (user_no, item_no, moment, seq, type_no, time, weight)",
        "CREATE INDEX IF NOT EXISTS events_of_item ON events (item_no, seq)",
    ):
        connection.execute(sa.text(statement), {"now": time_ns() // 1000} if ":now" in statement else {})


def _contexts(connection: sa.Connection) -> None:
    """Give events a context, and the store counts of what lists showed."""
    number = "INTEGER PRIMARY KEY AUTOINCREMENT" if connection.dialect.name == "sqlite" else "SERIAL PRIMARY KEY"
    text = "TEXT" if connection.dialect.name == "sqlite" else 'TEXT COLLATE "C"'
    for statement in (
        f"CREATE TABLE contexts (context_no {number}, context {text} NOT NULL UNIQUE)",
        "ALTER TABLE events ADD COLUMN context_no INTEGER",
        "CREATE INDEX events_of_context ON events (context_no) WHERE context_no IS NOT NULL",
        "CREATE TABLE impressions (item_no INTEGER NOT NULL, position INTEGER NOT NULL, shown BIGINT NOT NULL, "
        "PRIMARY KEY (item_no, position))",
    ):
        connection.execute(sa.text(statement))


# Step n brings a store from version n + 1 to n + 2. A step is never changed once it is released.
MIGRATIONS: list[Callable[[sa.Connection], None]] = [_moments, _contexts]


def migrate(connection: sa.Connection) -> None:
    """Create the tables, or migrate them to the newest version, within the caller's transaction.

    Raises `StoreError` for a store from a newer version.
    """
    newest = newest_version()
    found = version_of(connection)
    if found > newest:
        raise StoreError(f"its schema is version {found}; this version of palate reads up to {newest}: upgrade it")
    if found == 0:
        metadata.create_all(connection, checkfirst=False)
        set_state(connection, "items", "0")
    else:
        for step in MIGRATIONS[found - 1 :]:
            step(connection)
    if found < newest:
        set_state(connection, "schema", str(newest))


def newest_version() -> int:
    """Version of the schema that this version of palate writes."""
    return len(MIGRATIONS) + 1


def version_of(connection: sa.Connection) -> int:
    """Version of the schema of a database; 0 without a store."""
    if not sa.inspect(connection).has_table(state.name):
        return 0
    found = get_state(connection, "schema")
    if found is None or not found.isdecimal():
        raise StoreError(f"it has a table {state.name!r} with schema {found!r}: it is not a store")
    return int(found)


def get_state(connection: sa.Connection, name: str) -> str | None:
    """Return the value kept under a name."""
    return connection.scalar(sa.select(state.c.value).where(state.c.name == name))


def set_state(connection: sa.Connection, name: str, value: str) -> None:
    """Keep a value under a name."""
    if not connection.execute(sa.update(state).where(state.c.name == name).values(value=value)).rowcount:
        connection.execute(sa.insert(state).values(name=name, value=value))


def next_of(connection: sa.Connection, name: str) -> int:
    """Raise the counter kept under a name, which begins at 0; returns it."""
    raised = sa.cast(sa.cast(state.c.value, sa.BigInteger) + 1, sa.Text)
    changed = sa.update(state).where(state.c.name == name).values(value=raised).returning(state.c.value)
    value = connection.execute(changed).scalar()
    if value is None:
        connection.execute(sa.insert(state).values(name=name, value="1"))
    return int(value or 1)


def next_change(connection: sa.Connection) -> int:
    """Raise the counter of changes of items; returns it."""
    return next_of(connection, CHANGES)
