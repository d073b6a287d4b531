"""People of a store, and what is told of them. It is kept and given back; nothing is learned from it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from palate.errors import UnknownId
from palate.store.database import Database
from palate.store.items import check_attributes, decoded, encoded, merged
from palate.store.recording import check_text, now
from palate.store.schema import sa, users


class Person(NamedTuple):
    """A person and what is told of them."""

    user_id: str
    attributes: Mapping[str, Any] = {}


class People:
    """The people of a store. Whoever an event names is there; `Store.forget` takes them away."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, many: Iterable[Person]) -> None:
        """Insert people, or replace what is told of them. Raises `DataError` before anything is written."""
        rows = {}
        for n, person in enumerate(many):
            check_text(f"user {n}", "user_id", person.user_id)
            check_attributes(f"user {n}", person.attributes)
            rows[person.user_id] = {"id": person.user_id, "attributes": encoded(person.attributes)}
        if rows:
            with self._database.writing() as connection:
                self._write(connection, rows)

    def _write(self, connection: sa.Connection, rows: Mapping[str, Mapping[str, Any]]) -> None:
        there = self._known(connection, list(rows))
        told: dict[str, Any] = {"attributes": sa.bindparam("attributes")}
        old = [row for name, row in rows.items() if name in there]
        if old:
            connection.execute(sa.update(users).where(users.c.user_id == sa.bindparam("id")).values(told), old)
        new = [row for name, row in rows.items() if name not in there]
        if new:
            connection.execute(sa.insert(users).values(told | {"user_id": sa.bindparam("id"), "created": now()}), new)

    def patch(self, user_id: str, attributes: Mapping[str, Any]) -> Person:
        """Change some attributes, None takes one away; returns the person. Raises `UnknownId`, `DataError`."""
        with self._database.writing() as connection:
            row = connection.execute(_told.where(users.c.user_id == user_id)).first()
            if row is None:
                raise UnknownId(f"user {user_id!r} is unknown")
            person = Person(user_id, merged(_person(row).attributes, attributes))
            check_attributes("user 0", person.attributes)
            self._write(connection, {user_id: {"id": user_id, "attributes": encoded(person.attributes)}})
            return person

    def get(self, user_id: str) -> Person | None:
        """Return a person, or None if nobody has this id."""
        with self._database.reading() as connection:
            row = connection.execute(_told.where(users.c.user_id == user_id)).first()
        return None if row is None else _person(row)

    def known(self, ids: Iterable[str]) -> set[str]:
        """Return those of the ids that somebody has."""
        with self._database.reading() as connection:
            return self._known(connection, list(ids))

    def _known(self, connection: sa.Connection, ids: list[str]) -> set[str]:
        chosen = users.c.user_id.in_(self._database.rows("ids", sa.Text()))
        return set(connection.scalars(sa.select(users.c.user_id).where(chosen), {"ids": self._database.listed(ids)}))

    def page(self, limit: int = 100, after: str = "") -> list[Person]:
        """People by id, those after `after`."""
        asked = _told.where(users.c.user_id > after).order_by(users.c.user_id).limit(limit)
        with self._database.reading() as connection:
            return [_person(row) for row in connection.execute(asked)]


_told = sa.select(users.c.user_id, users.c.attributes)


def _person(row: Any) -> Person:
    return Person(row[0], decoded(row[1] or "{}"))
