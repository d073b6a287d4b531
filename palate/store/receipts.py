"""Forgetting users, and the receipts of it: pending until models, bundles and files are without them, too."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from palate.data.times import SECOND, to_iso
from palate.errors import UnknownId
from palate.privacy.receipts import Document, hashes_of, new_salt, signed, users_of, verified
from palate.store.database import Database
from palate.store.forgotten import FORGETTINGS, drop_contexts, note_forgotten
from palate.store.recording import check_text, now
from palate.store.schema import ORDER, WITHDRAWN, Row, events, get_state, models, next_of, sa, set_state, state, users

FORMAT = 1
KEY = "key of receipts"
RECEIPT = "receipt "  # begins the name under which one is kept
ROWS = "rows of receipt "  # until it is done: events by numbers, which models learned from
DROPPED = "rows of receipts dropped"  # up to this number of forgettings
BACKUPS = "backups"
MOST_BACKUPS = 1000  # named, the newest
AT_ONCE = 1000  # users of one transaction
LEARNED = (events.c.user_no, events.c.item_no, events.c.type_no, events.c.moment, events.c.weight, events.c.seq)


class Forgotten(NamedTuple):
    """The id of a receipt, and how many rows were deleted."""

    receipt: str
    deleted: int


class Pending(NamedTuple):
    """A receipt that is not done.

    number  how many forgettings there were with it
    rows    events that went: user (counted within the receipt), item_no, type_no, moment, weight, seq
    """

    receipt: str
    number: int
    rows: list[Row]


class Receipts:
    """The receipts of a store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def forget(self, user_ids: Iterable[str]) -> Forgotten:
        """Delete users and all their events, in one transaction for all; the receipt is pending.

        Of each user stays a keyed hash, so that no import brings them back, and until the receipt is done what models
        learned from, by numbers alone. Raises `DataError` for what is no id.
        """
        asked = list(dict.fromkeys(user_ids))
        for user_id in asked:
            check_text("forget", "user_id", user_id)
        name, salt = secrets.token_hex(12), new_salt()
        with self._database.writing() as connection:
            for user_id in asked:
                note_forgotten(connection, user_id)
            number = int(get_state(connection, FORGETTINGS) or 0)
            counts, rows = self._delete(connection, asked)
            body = {"receipt": name, "format": FORMAT, "state": "pending", "asked": _now(), "done": None}
            body |= {"users": users_of(salt, hashes_of(salt, asked)), "removed": counts}
            self._keep(connection, name, body)
            set_state(connection, ROWS + name, json.dumps([number, rows]))
        if counts:
            self._database.erase()
        return Forgotten(name, counts.get("events", 0) + counts.get("users", 0))

    def _delete(self, connection: sa.Connection, asked: Sequence[str]) -> tuple[dict[str, int], list[Row]]:
        """Delete rows; returns how many of each kind, and what models learned from."""
        learned = connection.scalar(sa.select(sa.func.count()).select_from(models))
        counts: dict[str, int] = {}
        rows: list[Row] = []
        for low in range(0, len(asked), AT_ONCE):
            part = {"ids": self._database.listed(asked[low : low + AT_ONCE])}
            chosen = users.c.user_id.in_(self._database.rows("ids", sa.Text()))
            there = connection.execute(sa.select(users.c.user_no, users.c.attributes).where(chosen), part).all()
            place = {row.user_no: low + n for n, row in enumerate(there)}
            numbers = {"numbers": self._database.listed(list(place))}
            listed = self._database.rows("numbers", sa.Integer())
            theirs = events.c.user_no.in_(listed)
            if learned:
                ordered = sa.select(*LEARNED).where(theirs).order_by(events.c.user_no, *ORDER)
                rows += [[place[row[0]], *row[1:]] for row in connection.execute(ordered, numbers)]
            said = connection.scalars(sa.select(events.c.context_no).where(theirs).distinct(), numbers).all()
            gone = connection.execute(sa.delete(events).where(theirs), numbers).rowcount
            drop_contexts(self._database, connection, said)
            connection.execute(sa.delete(users).where(users.c.user_no.in_(listed)), numbers)
            known = sum(row.attributes not in (None, "{}") for row in there)
            for kind, count in (("events", gone), ("users", len(there)), ("attributes of users", known)):
                if count:
                    counts[kind] = counts.get(kind, 0) + count
        if counts:
            next_of(connection, WITHDRAWN)
        return counts, rows

    def get(self, receipt: str) -> Document:
        """Return a receipt. Raises `UnknownId`."""
        with self._database.reading() as connection:
            text = get_state(connection, RECEIPT + receipt)
        if text is None:
            raise UnknownId(f"receipt {receipt!r} is unknown")
        found: Document = json.loads(text)
        return found

    def all(self) -> list[Document]:
        """Return all receipts, the oldest first."""
        chosen = sa.select(state.c.value).where(state.c.name.startswith(RECEIPT))
        with self._database.reading() as connection:
            found: list[Document] = [json.loads(text) for text in connection.scalars(chosen)]
        return sorted(found, key=lambda each: str(each["asked"]))

    def pending(self) -> list[Pending]:
        """Return those that are not done, in their order."""
        chosen = sa.select(state.c.name, state.c.value).where(state.c.name.startswith(ROWS))
        with self._database.reading() as connection:
            found = [(row.name.removeprefix(ROWS), json.loads(row.value)) for row in connection.execute(chosen)]
        return sorted((Pending(name, *kept) for name, kept in found), key=lambda each: each.number)

    def done(self, names: Iterable[str], found: Mapping[str, object]) -> None:
        """State what was found and done besides the rows, and drop what was kept of these receipts until then."""
        with self._database.writing() as connection:
            for name in names:
                body = json.loads(get_state(connection, RECEIPT + name) or "{}")
                self._keep(connection, name, body | found | {"state": "done", "done": _now()})
                connection.execute(sa.delete(state).where(state.c.name == ROWS + name))

    def drop_rows(self, names: Iterable[str]) -> None:
        """Drop the rows that models learned from; the receipts are still pending."""
        with self._database.writing() as connection:
            dropped = int(get_state(connection, DROPPED) or 0)
            for name in names:
                number, _ = json.loads(get_state(connection, ROWS + name) or "[0, []]")
                set_state(connection, ROWS + name, json.dumps([number, []]))
                dropped = max(dropped, number)
            set_state(connection, DROPPED, str(dropped))

    def verified(self, document: Mapping[str, object]) -> bool:
        """Whether a receipt is as this store signed it."""
        with self._database.reading() as connection:
            key = get_state(connection, KEY)
        return key is not None and verified(document, bytes.fromhex(key))

    def _keep(self, connection: sa.Connection, name: str, body: Document) -> None:
        key = get_state(connection, KEY)
        if key is None:
            key = secrets.token_hex(32)
            set_state(connection, KEY, key)
        set_state(connection, RECEIPT + name, json.dumps(signed(body, bytes.fromhex(key))))

    def note_backup(self, place: str) -> None:
        """Note that there is a backup: it holds whoever is forgotten later."""
        with self._database.writing() as connection:
            known = json.loads(get_state(connection, BACKUPS) or "[]")
            set_state(connection, BACKUPS, json.dumps([*known, {"place": place, "made": _now()}][-MOST_BACKUPS:]))

    def backups(self) -> list[Document]:
        """Return the backups that were made of the store: place and time."""
        with self._database.reading() as connection:
            found: list[Document] = json.loads(get_state(connection, BACKUPS) or "[]")
        return found


def _now() -> str:
    return to_iso(now() // SECOND * SECOND)
