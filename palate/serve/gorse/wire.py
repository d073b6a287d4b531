"""Gorse's bodies and answers, translated from and to those of the store. Unknown fields are ignored."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Annotated, TypeAlias
from urllib.parse import unquote

from fastapi import Path, Query
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    StrictBool,
    StringConstraints,
    TypeAdapter,
    ValidationError,
)

from palate.data.times import to_iso
from palate.ranking.request import SessionEvent
from palate.serve.wire import Finite, Moment, WireId
from palate.store.events import Event, Recorded
from palate.store.items import Item
from palate.store.recording import MOST_TYPE_CHARACTERS
from palate.store.user_profiles import UserProfile

LONGEST = 10**15  # microseconds, of a delay
UNITS = {
    name: Decimal(size)
    for name, size in {"ns": "1e-3", "us": "1", "µs": "1", "ms": "1e3", "s": "1e6", "m": "6e7", "h": "36e8"}.items()
}
PIECE = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|ms|s|m|h)")
READ = "read"  # gorse's type of an item that the user has seen
MOMENT = TypeAdapter(Moment)
NO_TIME = ("", "0001-01-01T00:00:00Z")  # how a client states no time


def _sound(text: str) -> str:
    if "\0" in text:
        raise ValueError("must be text without NUL")
    return text


def _duration(text: object) -> object:
    """Return the microseconds of a duration in Go's notation: 1h30m, 500ms."""
    if not isinstance(text, str):
        return text
    pieces = PIECE.findall(text)
    if text not in ("", "0") and "".join(map("".join, pieces)) != text:
        raise ValueError("must be a duration such as 1h30m or 500ms")
    total = sum((Decimal(number) * UNITS[unit] for number, unit in pieces), Decimal(0))
    if total > LONGEST:
        raise ValueError("must be 30 years at most")
    return int(total)


Segment: TypeAlias = Annotated[str, Path(), BeforeValidator(unquote), AfterValidator(_sound)]  # of a path, as sent
Word: TypeAlias = Annotated[str, Query(), AfterValidator(_sound)]
N: TypeAlias = Annotated[int, Query(ge=0, description="Length of the list.")]
Offset: TypeAlias = Annotated[int, Query(ge=0, description="Number of items to skip at the beginning.")]
Delay: TypeAlias = Annotated[
    int,
    Query(alias="write-back-delay", description="Such as 1h30m."),
    BeforeValidator(_duration, json_schema_input_type=str),
]
Kind: TypeAlias = Annotated[str, StringConstraints(min_length=1, max_length=MOST_TYPE_CHARACTERS)]
Time: TypeAlias = Annotated[
    Moment | None,
    BeforeValidator(lambda value: None if value in NO_TIME else value, json_schema_input_type=str | None),
]


class Success(BaseModel):
    """The number of rows that changed."""

    RowAffected: int


class Score(BaseModel):
    """An item or a user of a list."""

    Id: str
    Score: float


class UserPatch(BaseModel):
    """Changed attributes of a user; null changes nothing."""

    Labels: object = None
    Subscribe: list[str] | None = None
    Comment: str | None = None

    def attributes(self) -> dict[str, object]:
        """Return the attributes that the store keeps."""
        return _attributes(labels=self.Labels, subscribe=self.Subscribe, comment=self.Comment)


class User(UserPatch):
    """A user."""

    UserId: WireId

    def user(self) -> UserProfile:
        """Return the user for the store."""
        return UserProfile(self.UserId, _given(self.attributes()))


class UserPage(BaseModel):
    """A page of users, and the cursor of the next page; it is empty on the last page."""

    Cursor: str
    Users: list[User]


class ItemPatch(BaseModel):
    """Changed attributes of an item; null changes nothing."""

    IsHidden: StrictBool | None = None
    Categories: list[str] | None = None
    Timestamp: Time = None
    Labels: object = None
    Comment: str | None = None

    def attributes(self) -> dict[str, object]:
        """Return the attributes that the store keeps."""
        time = None if self.Timestamp is None else to_iso(self.Timestamp)
        return _attributes(categories=self.Categories, labels=self.Labels, comment=self.Comment, timestamp=time)


class ItemIn(ItemPatch):
    """An item."""

    ItemId: WireId

    def item(self) -> Item:
        """Return the item for the store."""
        return Item(self.ItemId, _given(self.attributes()), not self.IsHidden)


class ItemOut(BaseModel):
    """A stored item."""

    ItemId: str
    IsHidden: bool
    Categories: list[str]
    Timestamp: str
    Labels: object
    Comment: str


class ItemPage(BaseModel):
    """A page of items, and the cursor of the next page."""

    Cursor: str
    Items: list[ItemOut]


class FeedbackIn(BaseModel):
    """An event of a user; a value of 0 stands for no value."""

    FeedbackType: Kind
    UserId: WireId
    ItemId: WireId
    Timestamp: Time = None
    Value: Finite | None = Field(None, description="Multiplies the weight of the type; 0 stands for no value.")
    Comment: str | None = Field(None, description="Not kept.")

    def event(self) -> Event:
        """Return the event for the store."""
        return Event(self.UserId, self.ItemId, self.FeedbackType, self.Timestamp, self.weight)

    def step(self) -> SessionEvent:
        """Return the event for a session."""
        return SessionEvent(self.ItemId, self.FeedbackType, self.weight, self.Timestamp)

    @property
    def weight(self) -> float | None:
        """Weight of the event; 0 for a read item without a value, as for a write-back."""
        return self.Value or (0.0 if self.FeedbackType == READ else None)


class FeedbackOut(BaseModel):
    """Stored feedback."""

    FeedbackType: str
    UserId: str
    ItemId: str
    Timestamp: str
    Value: float
    Comment: str


class FeedbackPage(BaseModel):
    """A page of feedback, and the cursor of the next page."""

    Cursor: str
    Feedback: list[FeedbackOut]


class Health(BaseModel):
    """Whether the store answers. There is no cache."""

    Ready: bool
    DataStoreError: str | None
    CacheStoreError: str | None
    DataStoreConnected: bool
    CacheStoreConnected: bool


def user_out(user: UserProfile) -> dict[str, object]:
    """Return a user as gorse does."""
    attributes = user.attributes
    return {
        "UserId": user.user_id,
        "Labels": attributes.get("labels"),
        "Subscribe": attributes.get("subscribe"),
        "Comment": _text(attributes.get("comment", "")),
    }


def item_out(item: Item) -> dict[str, object]:
    """Return an item as gorse does; without a timestamp, with the time of its first storing."""
    attributes = item.attributes
    moment = moment_of(attributes.get("timestamp"))
    return {
        "ItemId": item.item_id,
        "IsHidden": not item.available,
        "Categories": categories_of(item),
        "Timestamp": to_iso(item.created if moment is None else moment),
        "Labels": attributes.get("labels"),
        "Comment": _text(attributes.get("comment", "")),
    }


def feedback_out(event: Recorded) -> dict[str, object]:
    """Return an event as gorse does."""
    return {
        "FeedbackType": event.event_type,
        "UserId": event.user_id,
        "ItemId": event.item_id,
        "Timestamp": to_iso(event.time),
        "Value": event.weight or 0,
        "Comment": "",
    }


def moment_of(value: object) -> int | None:
    """Return microseconds since 1970 UTC of the attribute `timestamp`; None where it is no time."""
    try:
        return None if value in NO_TIME else MOMENT.validate_python(value)
    except ValidationError:
        return None


def categories_of(item: Item) -> list[str]:
    """Return the categories of an item as texts, as conditions see them; a single one may stand without a list."""
    found = item.attributes.get("categories", [])
    return [_text(each) for each in (found if isinstance(found, list) else [found]) if each is not None]


def _text(value: object) -> str:
    """Return text as it is, other values as JSON."""
    return value if isinstance(value, str) else "" if value is None else json.dumps(value, ensure_ascii=False)


def _attributes(**values: object) -> dict[str, object]:
    """Return the attributes that a body states; an empty value becomes None, which removes the attribute."""
    return {name: None if value in ("", []) else value for name, value in values.items() if value is not None}


def _given(attributes: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in attributes.items() if value is not None}
