"""Users that were forgotten: a keyed hash is all that is kept of an id, so that no import brings its events back."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Iterable

from palate.store.database import Database
from palate.store.schema import get_state, sa, set_state, state

KEY = "key of the forgotten"
PREFIX = "forgotten "


def note_forgotten(connection: sa.Connection, user_id: str) -> None:
    """Keep the hash of an id, under a key that the store makes for itself."""
    key = get_state(connection, KEY)
    if key is None:
        key = secrets.token_hex(32)
        set_state(connection, KEY, key)
    set_state(connection, _name(key, user_id), "")


def forgotten_of(database: Database, connection: sa.Connection, ids: Iterable[str]) -> set[str]:
    """Return those of the ids that were forgotten."""
    key = get_state(connection, KEY)
    if key is None:
        return set()
    names = {_name(key, user_id): user_id for user_id in ids}
    chosen = state.c.name.in_(database.rows("names", sa.Text()))
    found = connection.scalars(sa.select(state.c.name).where(chosen), {"names": database.listed(list(names))})
    return {names[name] for name in found}


def bring_back(database: Database, connection: sa.Connection, ids: Iterable[str]) -> None:
    """Drop the hashes of these ids."""
    key = get_state(connection, KEY)
    if key is not None:
        names = [_name(key, user_id) for user_id in ids]
        chosen = state.c.name.in_(database.rows("names", sa.Text()))
        connection.execute(sa.delete(state).where(chosen), {"names": database.listed(names)})


def _name(key: str, user_id: str) -> str:
    return PREFIX + hmac.digest(bytes.fromhex(key), user_id.encode(), "sha256").hex()
