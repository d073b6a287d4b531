"""Gorse's bodies and answers, and what they are here. Fields that it does not name are ignored, as gorse does."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Annotated, Any, TypeAlias
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
from palate.store.people import UserProfile
from palate.store.recording import MOST_TYPE_CHARACTERS

LONGEST = 10**15  # microseconds, of a delay
UNITS = {
    name: Decimal(size)
    for name, size in {"ns": "1e-3", "us": "1", "µs": "1", "ms": "1e3", "s": "1e6", "m": "6e7", "h": "36e8"}.items()
}
PIECE = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|ms|s|m|h)")
READ = "read"  # gorse's type of what was seen
MOMENT = TypeAdapter(Moment)
NO_TIME = ("", "0001-01-01T00:00:00Z")  # how a client says that it knows none


def _sound(text: str) -> str:
    if "\0" in text:
        raise ValueError("must be text without NUL")
    return text


def _duration(text: object) -> object:
    """Microseconds of a duration as Go writes it: 1h30m, 500ms."""
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
N: TypeAlias = Annotated[int, Query(ge=0, description="Length of the answer.")]
Offset: TypeAlias = Annotated[int, Query(ge=0, description="Places to leave out at its beginning.")]
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
    """How many there were."""

    RowAffected: int


class Score(BaseModel):
    """An item or a person of a list."""

    Id: str
    Score: float


class UserPatch(BaseModel):
    """What is told of a person anew; null leaves it."""

    Labels: Any = None
    Subscribe: list[str] | None = None
    Comment: str | None = None

    def attributes(self) -> dict[str, Any]:
        """Return what is kept of it."""
        return _told(labels=self.Labels, subscribe=self.Subscribe, comment=self.Comment)


class User(UserPatch):
    """A person."""

    UserId: WireId

    def person(self) -> UserProfile:
        """Return what the store takes."""
        return UserProfile(self.UserId, _given(self.attributes()))


class UserPage(BaseModel):
    """Some people, and where the others begin; an empty cursor: there are none."""

    Cursor: str
    Users: list[User]


class ItemPatch(BaseModel):
    """What is told of an item anew; null leaves it."""

    IsHidden: StrictBool | None = None
    Categories: list[str] | None = None
    Timestamp: Time = None
    Labels: Any = None
    Comment: str | None = None

    def attributes(self) -> dict[str, Any]:
        """Return what is kept of it as attributes."""
        time = None if self.Timestamp is None else to_iso(self.Timestamp)
        return _told(categories=self.Categories, labels=self.Labels, comment=self.Comment, timestamp=time)


class ItemIn(ItemPatch):
    """An item."""

    ItemId: WireId

    def item(self) -> Item:
        """Return what the store takes."""
        return Item(self.ItemId, _given(self.attributes()), not self.IsHidden)


class ItemOut(BaseModel):
    """An item as it is told."""

    ItemId: str
    IsHidden: bool
    Categories: list[str]
    Timestamp: str
    Labels: Any
    Comment: str


class ItemPage(BaseModel):
    """Some items, and where the others begin."""

    Cursor: str
    Items: list[ItemOut]


class FeedbackIn(BaseModel):
    """Something a person did; 0 is gorse's word for no value."""

    FeedbackType: Kind
    UserId: WireId
    ItemId: WireId
    Timestamp: Time = None
    Value: Finite | None = Field(None, description="Multiplies the weight of the type; 0 is none.")
    Comment: str | None = Field(None, description="Not kept.")

    def event(self) -> Event:
        """Return what the store takes."""
        return Event(self.UserId, self.ItemId, self.FeedbackType, self.Timestamp, self.weight)

    def step(self) -> SessionEvent:
        """Return it as a part of a session."""
        return SessionEvent(self.ItemId, self.FeedbackType, self.weight, self.Timestamp)

    @property
    def weight(self) -> float | None:
        """Weight of the event: without a value, what is read is seen and no more, as by a write-back."""
        return self.Value or (0.0 if self.FeedbackType == READ else None)


class FeedbackOut(BaseModel):
    """Feedback as it is told."""

    FeedbackType: str
    UserId: str
    ItemId: str
    Timestamp: str
    Value: float
    Comment: str


class FeedbackPage(BaseModel):
    """Some feedback, and where the rest begins."""

    Cursor: str
    Feedback: list[FeedbackOut]


class Health(BaseModel):
    """Whether the store answers. There is no cache that could fail."""

    Ready: bool
    DataStoreError: str | None
    CacheStoreError: str | None
    DataStoreConnected: bool
    CacheStoreConnected: bool


def user_out(person: UserProfile) -> dict[str, Any]:
    """Return a person as gorse does."""
    told = person.attributes
    return {
        "UserId": person.user_id,
        "Labels": told.get("labels"),
        "Subscribe": told.get("subscribe"),
        "Comment": _text(told.get("comment", "")),
    }


def item_out(item: Item) -> dict[str, Any]:
    """Return an item as gorse does; without a time of its own it is from when the store first saw it."""
    told = item.attributes
    moment = moment_of(told.get("timestamp"))
    return {
        "ItemId": item.item_id,
        "IsHidden": not item.available,
        "Categories": categories_of(item),
        "Timestamp": to_iso(item.created if moment is None else moment),
        "Labels": told.get("labels"),
        "Comment": _text(told.get("comment", "")),
    }


def feedback_out(event: Recorded) -> dict[str, Any]:
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
    """Microseconds since 1970 UTC of the attribute `timestamp`, in any form of a time; None where it is none."""
    try:
        return None if value in NO_TIME else MOMENT.validate_python(value)
    except ValidationError:
        return None


def categories_of(item: Item) -> list[str]:
    """Return the categories of an item as texts, as conditions see them: a single one may have been told bare."""
    told = item.attributes.get("categories", [])
    return [_text(each) for each in (told if isinstance(told, list) else [told]) if each is not None]


def _text(value: object) -> str:
    """Return text as it is, and what is none as JSON spells it."""
    return value if isinstance(value, str) else "" if value is None else json.dumps(value, ensure_ascii=False)


def _told(**values: Any) -> dict[str, Any]:
    """Values that are told; empty ones as None, which takes an attribute away."""
    return {name: None if value in ("", []) else value for name, value in values.items() if value is not None}


def _given(attributes: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in attributes.items() if value is not None}
