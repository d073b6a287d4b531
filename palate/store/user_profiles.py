"""Users of a store and their attributes. The attributes are stored and returned; models do not learn from them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from palate.errors import UnknownId
from palate.store.database import Database
from palate.store.items import Attributes, check_attributes, decoded, encoded, merged
from palate.store.recording import check_text, now
from palate.store.schema import Expression, Row, sa, users


class UserProfile(NamedTuple):
    """A user with attributes."""

    user_id: str
    attributes: Mapping[str, Any] = {}


class UserProfiles:
    """The users of a store. Every user with an event is one; `Store.forget` removes a user."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, many: Iterable[UserProfile]) -> None:
        """Insert users, or replace their attributes. Raises `DataError` before anything is written."""
        checked = {user.user_id: user for user in (check_user(f"user {n}", user) for n, user in enumerate(many))}
        if checked:
            with self._database.writing() as connection:
                self.write(connection, list(checked.values()))

    def write(self, connection: sa.Connection, many: Sequence[UserProfile]) -> int:
        """Write distinct, checked users within a transaction; returns the number of new or changed users."""
        chosen = users.c.user_id.in_(self._database.rows("ids", sa.Text()))
        listed = self._database.listed([user.user_id for user in many])
        there = {
            row.user_id: _ordered(_profile(row)) for row in connection.execute(_chosen.where(chosen), {"ids": listed})
        }
        rows = {
            user.user_id: {"id": user.user_id, "attributes": encoded(user.attributes)}
            for user in many
            if there.get(user.user_id) != _ordered(user)
        }
        values: dict[str, Expression] = {"attributes": sa.bindparam("attributes")}
        old = [row for name, row in rows.items() if name in there]
        if old:
            connection.execute(sa.update(users).where(users.c.user_id == sa.bindparam("id")).values(values), old)
        new = [row for name, row in rows.items() if name not in there]
        if new:
            connection.execute(
                sa.insert(users).values(values | {"user_id": sa.bindparam("id"), "created": now()}), new
            )
        return len(rows)

    def patch(self, user_id: str, attributes: Attributes) -> UserProfile:
        """Change some attributes, None removes one; returns the user. Raises `UnknownId`, `DataError`."""
        with self._database.writing() as connection:
            row = connection.execute(_chosen.where(users.c.user_id == user_id)).first()
            if row is None:
                raise UnknownId(f"user {user_id!r} is unknown")
            profile = check_user("user 0", UserProfile(user_id, merged(_profile(row).attributes, attributes)))
            self.write(connection, [profile])
            return profile

    def get(self, user_id: str) -> UserProfile | None:
        """Return a user, or None for an unknown id."""
        with self._database.reading() as connection:
            row = connection.execute(_chosen.where(users.c.user_id == user_id)).first()
        return None if row is None else _profile(row)

    def known(self, ids: Iterable[str]) -> set[str]:
        """Return those of the ids that are users."""
        chosen = sa.select(users.c.user_id).where(users.c.user_id.in_(self._database.rows("ids", sa.Text())))
        with self._database.reading() as connection:
            return set(connection.scalars(chosen, {"ids": self._database.listed(list(ids))}))

    def page(self, limit: int = 100, after: str = "") -> list[UserProfile]:
        """Users by id, those after `after`."""
        asked = _chosen.where(users.c.user_id > after).order_by(users.c.user_id).limit(limit)
        with self._database.reading() as connection:
            return [_profile(row) for row in connection.execute(asked)]

    def every(self) -> list[UserProfile]:
        """All users by id, of one moment."""
        with self._database.reading() as connection:
            return [_profile(row) for row in connection.execute(_chosen.order_by(users.c.user_id))]


def check_user(place: str, user: UserProfile) -> UserProfile:
    """Raise `DataError` with the place, the value and the rule it breaks."""
    check_text(place, "user_id", user.user_id)
    check_attributes(place, user.attributes)
    return user


_chosen = sa.select(users.c.user_id, users.c.attributes)


def _profile(row: Row) -> UserProfile:
    return UserProfile(row[0], decoded(row[1] or "{}"))


def _ordered(user: UserProfile) -> str:
    return json.dumps(user.attributes, sort_keys=True)
