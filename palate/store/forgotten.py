"""Events that imports leave out: those of forgotten users, and those that were deleted as feedback.

Only keyed hashes are kept of both, so that a log that still holds them brings nothing back.
"""

from __future__ import annotations

import hmac
import json
import secrets
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from palate.store.database import Database
from palate.store.schema import Row, contexts, events, get_state, next_of, sa, set_state, state

KEY = "key of the forgotten"
FORGETTINGS = "forgettings"  # how many there were
USER = "forgotten "  # begins the name under which a hash is kept, with the number of the forgetting
MOMENTS = "moments of imports without times"
EVENT = tuple(events.c[name] for name in ("user_no", "item_no", "type_no", "time", "weight"))


def note_forgotten(connection: sa.Connection, user_id: str) -> None:
    """Keep the hash of an id, under a key that the store makes for itself."""
    set_state(connection, _user(_key(connection), user_id), str(next_of(connection, FORGETTINGS)))


def forgotten_since(connection: sa.Connection, number: int, ids: Iterable[str]) -> set[str]:
    """Return those of the ids that were forgotten after the first `number` forgettings; time by all of them."""
    key = get_state(connection, KEY)
    rows = connection.execute(sa.select(state.c.name, state.c.value).where(state.c.name.startswith(USER))).all()
    names = {row.name for row in rows if int(row.value or 1) > number}
    return {user_id for user_id in ids if _user(key, user_id) in names} if key and names else set()


def forgotten_of(database: Database, connection: sa.Connection, ids: Iterable[str]) -> set[str]:
    """Return those of the ids that were forgotten."""
    key = get_state(connection, KEY)
    names = {} if key is None else {_user(key, user_id): user_id for user_id in ids}
    return {names[name] for name in _kept(database, connection, names)}


def bring_back(database: Database, connection: sa.Connection, ids: Iterable[str]) -> None:
    """Drop the hashes of these ids."""
    key = get_state(connection, KEY)
    if key is not None:
        names = [_user(key, user_id) for user_id in ids]
        chosen = state.c.name.in_(database.rows("names", sa.Text()))
        connection.execute(sa.delete(state).where(chosen), {"names": database.listed(names)})


def drop_contexts(database: Database, connection: sa.Connection, numbers: Iterable[int | None]) -> None:
    """Delete those of these contexts that no event has any more."""
    asked = sorted({number for number in numbers if number is not None})
    if asked:
        used = sa.select(events.c.context_no).where(events.c.context_no == contexts.c.context_no).exists()
        chosen = contexts.c.context_no.in_(database.rows("contexts", sa.Integer())) & ~used
        connection.execute(sa.delete(contexts).where(chosen), {"contexts": database.listed(asked)})


def note_taken_back(connection: sa.Connection, rows: Sequence[Row]) -> None:
    """Keep the hashes of events that go, each with the columns `EVENT`."""
    if not rows:
        return
    key, untimed = _key(connection), set(moments(connection))
    taken = Counter(_event(key, (*row[:3], None if row[3] in untimed else row[3], row[4])) for row in rows)
    for name, count in taken.items():
        set_state(connection, name, str(int(get_state(connection, name) or 0) + count))


def taken_back(database: Database, connection: sa.Connection, rows: Iterable[Row]) -> list[int]:
    """How often each of these events was deleted: numbers of user, item, type; time, None without one; weight."""
    key = get_state(connection, KEY)
    names = [] if key is None else [_event(key, row) for row in rows]
    kept = _kept(database, connection, set(names))
    return [int(kept.get(name, 0)) for name in names]


def moments(connection: sa.Connection) -> list[int]:
    """When events without times were imported."""
    found: list[int] = json.loads(get_state(connection, MOMENTS) or "[]")
    return found


def _kept(database: Database, connection: sa.Connection, names: Iterable[str]) -> dict[str, str]:
    asked = list(names)
    if not asked:
        return {}
    chosen = sa.select(state.c.name, state.c.value).where(state.c.name.in_(database.rows("names", sa.Text())))
    return {row.name: row.value for row in connection.execute(chosen, {"names": database.listed(asked)})}


def _key(connection: sa.Connection) -> str:
    key = get_state(connection, KEY)
    if key is None:
        key = secrets.token_hex(32)
        set_state(connection, KEY, key)
    return key


def _user(key: str, user_id: str) -> str:
    return f"{USER}{_hash(key, user_id)}"


def _event(key: str, row: Row) -> str:
    *numbers, weight = row
    return f"taken back {_hash(key, repr((*numbers, float(np.float32(1 if weight is None else weight)))))}"


def _hash(key: str, text: str) -> str:
    return hmac.digest(bytes.fromhex(key), text.encode(), "sha256").hex()
