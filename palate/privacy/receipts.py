"""Receipts of forgetting: what was removed and how, signed, with no trace of a user but a salted hash of the id."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeAlias

How: TypeAlias = Literal["exact", "approximate", "retrain"]
Document: TypeAlias = dict[str, Any]  # an object of JSON, as a receipt is
WORST: tuple[How, ...] = ("exact", "approximate", "retrain")
SALT = 16  # bytes
SIGNATURE = "signature"


class Attack(NamedTuple):
    """How well users that left a model are told from users that it never saw, afterwards: AUC with its 95% interval.

    .5 is by chance. An attacker who knows whole histories goes by how far the model scores their items above others.
    """

    auc: float
    low: float
    high: float
    users: int
    unseen: int


@dataclass(frozen=True)
class Removal:
    """How the influence of users left a model.

    how       "exact": the model is that of a training without them, but for rounding. "approximate": it is near one.
              "retrain": what was learned from all users together still holds them, and only a new training is
              without them. Whatever it says, vectors, histories and hashes of the users are gone.
    distance  how far the model is from one that was trained without them, by `measure`; None where nothing says
    parts     the same of the models that this one is made of
    attack    on the model, where there were users that it never saw
    """

    recipe: str
    how: How
    distance: float | None = None
    measure: str = ""
    parts: tuple[Removal, ...] = ()
    attack: Attack | None = None

    def as_dict(self) -> Document:
        """Return it as JSON has it."""
        about: Document = {"recipe": self.recipe, "how": self.how, "distance": self.distance, "measure": self.measure}
        about |= {"attack": None if self.attack is None else self.attack._asdict()}
        return about | ({"parts": [each.as_dict() for each in self.parts]} if self.parts else {})


@dataclass(frozen=True)
class Receipt:
    """What `forget` did: the removal, the rows by kind, when (microseconds since 1970 UTC), and whom, by hashes.

    `names` says whether it is about a user, to those who know the id.
    """

    removal: Removal
    removed: Mapping[str, int]
    when: int
    salt: str
    hashes: tuple[str, ...] = field(repr=False)

    @property
    def how(self) -> How:
        """Whether the model is that of a training without the users."""
        return self.removal.how

    @property
    def distance(self) -> float | None:
        """How far the model is from one that was trained without them."""
        return self.removal.distance

    @property
    def attack(self) -> Attack | None:
        """How well the users are told from users that the model never saw."""
        return self.removal.attack

    def names(self, user_id: object) -> bool:
        """Whether the receipt is about a user."""
        return hashed(self.salt, str(user_id)) in self.hashes

    def as_dict(self) -> Document:
        """Return it as JSON has it."""
        about = {"when": self.when, "removed": dict(self.removed), "users": users_of(self.salt, self.hashes)}
        return about | self.removal.as_dict()

    def signed(self, key: bytes) -> Document:
        """Return it as JSON has it, signed."""
        return signed(self.as_dict(), key)


def new_salt() -> str:
    """Draw a salt."""
    return secrets.token_hex(SALT)


def hashed(salt: str, user_id: str) -> str:
    """Hash an id: HMAC-SHA-256 with the salt."""
    return hmac.digest(bytes.fromhex(salt), user_id.encode("utf-8", "surrogatepass"), hashlib.sha256).hex()


def hashes_of(salt: str, user_ids: Iterable[str]) -> tuple[str, ...]:
    """Hash ids; the order of the hashes says nothing about that of the ids."""
    return tuple(sorted(hashed(salt, user_id) for user_id in user_ids))


def users_of(salt: str, hashes: Iterable[str]) -> Document:
    """Return what a receipt says of its users."""
    return {"hash": "HMAC-SHA-256 of the id, by the salt", "salt": salt, "hashes": list(hashes)}


def names(document: Mapping[str, object], user_id: str) -> bool:
    """Whether a receipt is about a user."""
    users = document.get("users")
    if not isinstance(users, Mapping):
        return False
    try:
        return hashed(str(users["salt"]), user_id) in users["hashes"]
    except (LookupError, ValueError, TypeError):
        return False


def signed(document: Mapping[str, object], key: bytes) -> Document:
    """Return a receipt with the HMAC-SHA-256 of all else in it, by a key."""
    rest = {name: value for name, value in document.items() if name != SIGNATURE}
    return rest | {SIGNATURE: hmac.digest(key, canonical(rest), hashlib.sha256).hex()}


def verified(document: Mapping[str, object], key: bytes) -> bool:
    """Whether a receipt is as it was signed."""
    given = document.get(SIGNATURE)
    return isinstance(given, str) and hmac.compare_digest(given.encode(), signed(document, key)[SIGNATURE].encode())


def canonical(document: Mapping[str, object]) -> bytes:
    """Return a receipt as the bytes that are signed: JSON with sorted names, without spaces."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode()


def worst(hows: Iterable[How]) -> How:
    """Return the least of several ways: "exact" where all are."""
    return max(hows, key=WORST.index, default="exact")
