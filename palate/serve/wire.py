"""The bodies of requests and answers: what they hold, checked by pydantic, documented in the OpenAPI."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal, Self, TypeAlias, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    FailFast,
    Field,
    StringConstraints,
    model_validator,
)
from pydantic_core import PydanticCustomError

from palate.data.times import from_iso, scaled
from palate.data.values import LARGEST_WEIGHT
from palate.errors import DataError
from palate.ranking.request import (
    MOST_NAMED,
    MOST_PLACES,
    MOST_RULES,
    SOURCES,
    Boost,
    Cap,
    ListRequest,
    Pin,
    SessionEvent,
)
from palate.serve.problems import OUT_OF_BOUNDS
from palate.store.events import Event
from palate.store.recording import EARLIEST, LATEST, MOST_CHARACTERS


def _as_id(value: object) -> object:
    """Make whole numbers text: an id is text on the wire."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _as_moment(value: object) -> object:
    """Microseconds since 1970 UTC of ISO 8601 text, or of seconds, milliseconds or microseconds by their size."""
    if isinstance(value, str):
        try:
            return from_iso(value)
        except ValueError:
            raise ValueError("must be ISO 8601, or a number of seconds, ms or us since 1970") from None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1e18:
        raise ValueError("must be ISO 8601, or a number of seconds, ms or us since 1970")
    size = abs(value)
    return scaled(value, 1_000_000 if size < 1e11 else 1_000 if size < 1e14 else 1)


def _as_weight(value: float) -> float:
    if abs(value) > LARGEST_WEIGHT:
        raise PydanticCustomError(OUT_OF_BOUNDS, f"weights are at most {LARGEST_WEIGHT:,.0f} in size")
    return value


T = TypeVar("T")
Batch = Annotated[list[T], FailFast()]  # the first bad entry ends the work
Text: TypeAlias = Annotated[str, StringConstraints(min_length=1, max_length=MOST_CHARACTERS)]
WireId: TypeAlias = Annotated[Text, BeforeValidator(_as_id, json_schema_input_type=str | int)]
Moment: TypeAlias = Annotated[
    int, BeforeValidator(_as_moment, json_schema_input_type=int | float | str), Field(ge=EARLIEST, le=LATEST)
]
Finite: TypeAlias = Annotated[
    float,
    Field(
        strict=True, allow_inf_nan=False, json_schema_extra={"minimum": -LARGEST_WEIGHT, "maximum": LARGEST_WEIGHT}
    ),
    AfterValidator(_as_weight),
]


class Body(BaseModel):
    """A body that knows its fields: a misspelt one is an error, not silence."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Strict(Body):
    """A body whose values are of the types it says: no number as text, no truth as a number."""

    model_config = ConfigDict(strict=True)


class EventIn(Strict):
    """Something a person did."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"user_id": "anna", "item_id": "260", "event_type": "like", "event_id": "e-1f3a"}]
        }
    )

    user_id: WireId
    item_id: WireId
    event_type: Annotated[str, StringConstraints(min_length=1, max_length=100)] = Field(
        description="Its weight is the service's: like, view, purchase, dislike, ..."
    )
    timestamp: Moment | None = Field(
        None,
        description="ISO 8601, or seconds, ms or us since 1970, at most 48 hours ahead; now if left out.",
    )
    weight: Finite | None = Field(None, description="Multiplies the weight of the type.")
    event_id: Text | None = Field(None, description="Sent again with the same id, an event counts once.")

    def event(self) -> Event:
        """Return what the store takes."""
        return Event(self.user_id, self.item_id, self.event_type, self.timestamp, self.weight, self.event_id)


class Accepted(Body):
    """Events are on the disk."""

    accepted: int = Field(description="Events that were new.")
    repeated: int = Field(description="Events whose event_id was there before.")


class Stored(Body):
    """Items are on the disk."""

    stored: int


class StepIn(Strict):
    """An event of a session."""

    item_id: WireId
    event_type: str | None = None
    weight: Finite | None = None
    timestamp: Moment | None = Field(default=None, description="As of an event; not known if left out.")

    def event(self) -> SessionEvent:
        """Return what the recommender takes."""
        return SessionEvent(self.item_id, self.event_type, self.weight, self.timestamp)


class BoostIn(Strict):
    """Items that meet a condition score so many times as high."""

    condition: str = Field(max_length=4000)
    factor: float = Field(gt=0, le=1e6)


class PinIn(Strict):
    """An item at a place of the first page, counted from 1."""

    item_id: WireId
    position: int = Field(ge=1, le=MOST_PLACES)


class CapIn(Strict):
    """At most so many items with the same value of an attribute."""

    attribute: str
    most: int = Field(ge=1)


class RecommendQuery(Body):
    """Who asks for how many items, and what must hold of them."""

    user_id: WireId | None = Field(None, description="Anybody, known or not.")
    k: int = Field(10, ge=1, le=MOST_PLACES, description="Length of the list.")
    filter: str | None = Field(None, max_length=4000, description="An SQL condition on the attributes of items.")
    exclude: Batch[WireId] = Field([], max_length=MOST_NAMED, description="Items never shown.")
    near: Batch[WireId] = Field([], max_length=100, description="Items on the page, for somebody nobody knows.")
    keep_seen: bool = Field(False, description="Show items of the history too.")
    explore: float = Field(0.1, ge=0, le=1, description="Share of places for new items.")
    cursor: str | None = Field(None, max_length=20_000, description="Of the answer before: the next page.")
    attributes: Batch[str] = Field([], max_length=100, description="Attributes told of each item.")

    def asked(self, session: Sequence[StepIn] = ()) -> ListRequest:
        """Return what the recommender takes."""
        return ListRequest(
            user_id=self.user_id,
            k=self.k,
            session=tuple(
                SessionEvent(step.item_id, step.event_type, step.weight, step.timestamp) for step in session
            ),
            anchor_items=tuple(self.near),
            filter=self.filter,
            exclude=tuple(self.exclude),
            keep_seen=self.keep_seen,
            explore=self.explore,
            cursor=self.cursor,
        )


class RecommendIn(RecommendQuery):
    """The same with rules for the list."""

    model_config = ConfigDict(
        strict=True,
        json_schema_extra={
            "examples": [{"user_id": "5", "k": 5, "filter": "price < 20 AND category = 'sci-fi' AND NOT adult"}]
        },
    )

    boost: Batch[BoostIn] = Field([], max_length=MOST_RULES)
    pin: Batch[PinIn] = Field([], max_length=MOST_RULES)
    cap: Batch[CapIn] = Field([], max_length=MOST_RULES)

    def asked(self, session: Sequence[StepIn] = ()) -> ListRequest:
        """Return what the recommender takes."""
        return replace(
            super().asked(session),
            boost=tuple(Boost(each.condition, each.factor) for each in self.boost),
            pin=tuple(Pin(each.item_id, each.position) for each in self.pin),
            cap=tuple(Cap(each.attribute, each.most) for each in self.cap),
        )


class SessionIn(RecommendIn):
    """The same with a history in the body, oldest first: ids, or events; nothing of it is stored."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"history": ["1", "260"], "k": 5}]})

    history: Batch[StepIn | WireId] = Field(max_length=MOST_NAMED)

    def steps(self) -> list[StepIn]:
        """Return the history as events."""
        return [each if isinstance(each, StepIn) else StepIn(item_id=each) for each in self.history]


class Recommended(BaseModel):
    """An item of a list."""

    item_id: str
    score: float
    source: Literal[SOURCES]  # type: ignore[valid-type]
    reason: str
    because: list[str] = Field(description="Past items that speak most for it.")
    attributes: dict[str, Any] | None = None


class ModelTold(BaseModel):
    """The model that answered."""

    version: int
    recipe: str | None = None
    created: str | None = None


class Recommendations(BaseModel):
    """A list, best first."""

    items: list[Recommended]
    model: ModelTold | None = None
    cursor: str | None = Field(None, description="Asks for the next page; null when there is none.")
    reason: str | None = Field(None, description="Why the list is empty.")
    warnings: list[str] = Field([], description="Attributes that no item has, histories out of reach.")


class Told(BaseModel):
    """What is told of an item: attributes under `attributes`, or beside the others by their own names."""

    model_config = ConfigDict(
        strict=True,
        extra="allow",
        json_schema_extra={"examples": [{"title": "Star Wars", "categories": ["Sci-Fi"], "price": 9.5}]},
    )

    available: bool | None = Field(None, description="False hides it at once; null leaves it as it is.")
    attributes: dict[str, Any] = {}

    @model_validator(mode="after")
    def _once(self) -> Self:
        twice = self.attributes.keys() & (self.model_extra or {}).keys()
        if twice:
            raise ValueError(f"{min(twice)!r} is told in `attributes` and beside it; it must be told once")
        return self

    def told(self) -> dict[str, Any]:
        """Return all attributes."""
        return {**(self.model_extra or {}), **self.attributes}


class ItemIn(Told):
    """An item."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"item_id": "260", "title": "Star Wars", "categories": ["Sci-Fi"], "price": 9.5}]
        }
    )

    item_id: WireId


class ItemBody(Told):
    """What is told of the item that the address names."""

    item_id: WireId | None = Field(None, description="Need not be told; if it is, it is that of the address.")

    def of(self, item_id: str) -> ItemIn:
        """Return the item with its id; raises `DataError` where the body names another."""
        if self.item_id not in (None, item_id):
            raise DataError(f"item_id: {self.item_id!r}: the address names {item_id!r:.80}; both must be one")
        return ItemIn(item_id=item_id, available=self.available, attributes=self.told())


class ItemOut(BaseModel):
    """An item as it is stored."""

    item_id: str
    available: bool
    attributes: dict[str, Any]
    created: str
    updated: str
