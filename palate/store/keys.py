"""API keys: each is shown once and stored as a hash, with its scopes."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from functools import cached_property
from typing import NamedTuple

from palate.errors import SettingError, UnknownId, check
from palate.store.database import Database, Query
from palate.store.events import Store
from palate.store.recording import check_text, now
from palate.store.schema import keys, sa

SCOPES = ("read", "write", "admin")
MARK = "pk_"
PREFIX = len(MARK) + 8  # characters of a secret that are kept as they are, to find it by
RANDOM = 40  # bytes; 34 of them stand behind the prefix


class Key(NamedTuple):
    """A stored key; times in microseconds since 1970 UTC, `revoked` is None while it is valid."""

    prefix: str
    name: str
    scopes: frozenset[str]
    created: int
    revoked: int | None


class Keys:
    """The API keys of a store.

    Only the SHA-256 of a secret is kept: 256 random bits cannot be guessed, so the hash need not be a slow one.
    """

    def __init__(self, store: Store) -> None:
        self._database: Database = store.database

    def create(self, name: str, scopes: Iterable[str]) -> str:
        """Create a key with scopes; returns its secret, which is shown only here.

        Raises `SettingError` for an unknown scope, none, or a name in use.
        """
        asked = frozenset(scopes)
        check(bool(asked), "scopes", sorted(asked), f"must have one or more of {', '.join(SCOPES)}")
        check(asked <= set(SCOPES), "scopes", sorted(asked), f"must be of {', '.join(SCOPES)}")
        check_text("key", "name", name)
        secret = MARK + secrets.token_urlsafe(RANDOM)
        row = {"prefix": secret[:PREFIX], "name": name, "scopes": " ".join(sorted(asked))}
        with self._database.writing() as connection:
            if connection.execute(sa.select(keys).where(keys.c.name == name)).first() is not None:
                raise SettingError(f"name={name!r}: there is a key of this name; names are never used again")
            connection.execute(sa.insert(keys).values(**row, sha256=_hash(secret), created=now()))
        return secret

    def list(self) -> list[Key]:
        """All keys by the time they were made, revoked ones too."""
        asked = sa.select(keys.c.prefix, keys.c.name, keys.c.scopes, keys.c.created, keys.c.revoked)
        with self._database.reading() as connection:
            rows = connection.execute(asked.order_by(keys.c.created, keys.c.prefix)).all()
        return [Key(prefix, name, frozenset(scopes.split()), made, gone) for prefix, name, scopes, made, gone in rows]

    def revoke(self, name: str) -> None:
        """Revoke a key from the next request on; raises `UnknownId`."""
        with self._database.writing() as connection:
            good = sa.update(keys).where(keys.c.name == name, keys.c.revoked.is_(None))
            if not connection.execute(good.values(revoked=now())).rowcount:
                raise UnknownId(f"key {name!r} is unknown, or was revoked before")

    def verify(self, secret: str) -> frozenset[str]:
        """Scopes of a secret; none for one that is unknown or revoked.

        The row is found by the prefix, which reveals nothing of the rest; the rest is compared in constant time.
        """
        if not secret.isascii() or "\0" in secret:  # the secret is whatever a client sent
            return frozenset()
        rows = self._found(prefix=secret[:PREFIX])
        sha256, scopes = rows[0] if rows else ("", "")
        return frozenset(scopes.split()) if hmac.compare_digest(sha256, _hash(secret)) else frozenset()

    @cached_property
    def _found(self) -> Query:
        prefix = sa.bindparam("prefix", type_=sa.Text)
        return self._database.query(
            sa.select(keys.c.sha256, keys.c.scopes).where(keys.c.prefix == prefix, keys.c.revoked.is_(None))
        )


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
