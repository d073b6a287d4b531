"""Named scenarios: JSON under names, read at each use, so that all processes of a store see a change at once."""

from __future__ import annotations

from functools import cached_property

from palate.errors import DataError
from palate.store.database import Database, Query
from palate.store.recording import check_text
from palate.store.schema import sa, set_state, state

MOST_SCENARIOS = 1000
MOST_NAME = 100  # characters
MOST_SIZE = 32_768  # bytes of the fields as JSON
BEGIN, END = "scenario ", "scenario!"  # in the state of the store, all names between these two are of scenarios


class Scenarios:
    """The scenarios of a store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, name: str, fields: str) -> None:
        """Keep fields under a name, in the place of its old ones. Raises `DataError` for what is too much."""
        check_name(name)
        if (size := len(fields.encode())) > MOST_SIZE:
            raise DataError(f"scenario {name!r}: its fields have {size:,} bytes as JSON; there can be {MOST_SIZE:,}")
        with self._database.writing() as connection:
            names = set(connection.scalars(sa.select(state.c.name).where(_ours)))
            if BEGIN + name not in names and len(names) >= MOST_SCENARIOS:
                most = f"there are {MOST_SCENARIOS:,} others, the most there can be"
                raise DataError(f"scenario {name!r} cannot be added: {most}")
            set_state(connection, BEGIN + name, fields)

    def get(self, name: str) -> str | None:
        """Return the fields of a name, None where there are none; a few µs on SQLite."""
        rows = [] if "\0" in name else self._get(name=BEGIN + name)
        return str(rows[0][0]) if rows else None

    @cached_property
    def _get(self) -> Query:
        name = sa.bindparam("name", type_=sa.Text)
        return self._database.query(sa.select(state.c.value).where(state.c.name == name))

    def page(self, limit: int = 100, after: str = "") -> dict[str, str]:
        """Return fields by name, in the order of the names, those after `after`."""
        asked = sa.select(state).where(_ours, state.c.name > BEGIN + after).order_by(state.c.name).limit(limit)
        with self._database.reading() as connection:
            return {row.name.removeprefix(BEGIN): row.value for row in connection.execute(asked)}

    def remove(self, name: str) -> int:
        """Remove a scenario; returns the number of removed ones."""
        check_name(name)
        with self._database.writing() as connection:
            return int(connection.execute(sa.delete(state).where(state.c.name == BEGIN + name)).rowcount)


_ours = (state.c.name >= BEGIN) & (state.c.name < END)


def check_name(name: str) -> None:
    """Raise `DataError` unless a scenario can have this name."""
    check_text("scenario", "the name", name, MOST_NAME)
