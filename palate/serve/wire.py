"""The bodies of requests and answers; pydantic checks them, the OpenAPI document describes them."""

from __future__ import annotations

from typing import Annotated, Literal, Self, TypeAlias, TypeVar

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

from palate.data.contexts import MOST_PLACES, POSITION, RULE, as_context
from palate.data.times import from_iso, scaled
from palate.data.values import LARGEST_WEIGHT
from palate.errors import DataError
from palate.ranking.request import (
    MOST_ID,
    MOST_NAMED,
    MOST_NEAR,
    MOST_RULES,
    MOST_USERS,
    SOURCES,
    USUAL_SOURCES,
    Source,
)
from palate.serve.problems import OUT_OF_BOUNDS
from palate.store.events import Event
from palate.store.recording import EARLIEST, LATEST, MOST_CHARACTERS
from palate.store.scenarios import MOST_NAME


def _as_id(value: object) -> object:
    """Turn integers into text: an id is text on the wire."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _as_batch(value: object) -> object:
    """Turn one object into a list of it."""
    return [value] if isinstance(value, dict) else value


def _as_moment(value: object) -> object:
    """Return microseconds since 1970 UTC; the size of a number gives its unit: seconds, ms or us."""
    if isinstance(value, str):
        try:
            return from_iso(value)
        except ValueError:
            raise ValueError("must be ISO 8601, or a number of seconds, ms or us since 1970") from None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1e18:
        raise ValueError("must be ISO 8601, or a number of seconds, ms or us since 1970")
    size = abs(value)
    return scaled(value, 1_000_000 if size < 1e11 else 1_000 if size < 1e14 else 1)


def _as_context(value: object) -> dict[str, str]:
    try:
        return as_context(value)
    except DataError:
        raise ValueError(RULE) from None


def _as_weight(value: float) -> float:
    if abs(value) > LARGEST_WEIGHT:
        raise PydanticCustomError(OUT_OF_BOUNDS, f"weights are at most {LARGEST_WEIGHT:,.0f} in size")
    return value


USER = "Known or not; without one the list is for a new user."
EXCLUDED = "Items that the list leaves out."
DIVERSIFY = "How unlike each other the items are; 0 keeps the list as it is."
CALIBRATE = "The mix of an attribute follows that of the history"
CONTEXT = "Of the request, such as device or place; for a model that learned from the contexts of events."
EXPLORE = "Share of positions for new items; or how the list explores"
EXPLORES = {"share": "share", "thompson": "strength"}  # methods, and what their number is in a query
ATTRIBUTES = "Attributes that the answer gives with each item."
NEAR = "Items on the page, for a user without events."

SCENARIO = "A scenario that is kept; the fields of the request win over its fields."

T = TypeVar("T")
Batch = Annotated[list[T], FailFast()]  # validation stops at the first invalid entry
Text: TypeAlias = Annotated[str, StringConstraints(min_length=1, max_length=MOST_CHARACTERS)]
Name: TypeAlias = Annotated[str, StringConstraints(min_length=1, max_length=MOST_NAME)]
WireId: TypeAlias = Annotated[Text, BeforeValidator(_as_id, json_schema_input_type=str | int)]
ListId: TypeAlias = Annotated[str, StringConstraints(min_length=1, max_length=MOST_ID)]
Moment: TypeAlias = Annotated[
    int, BeforeValidator(_as_moment, json_schema_input_type=int | float | str), Field(ge=EARLIEST, le=LATEST)
]
Share: TypeAlias = Annotated[float, Field(ge=0, le=1)]
ContextIn: TypeAlias = Annotated[
    dict[str, str], BeforeValidator(_as_context, json_schema_input_type=dict[str, str | int | bool])
]
Finite: TypeAlias = Annotated[
    float,
    Field(
        strict=True, allow_inf_nan=False, json_schema_extra={"minimum": -LARGEST_WEIGHT, "maximum": LARGEST_WEIGHT}
    ),
    AfterValidator(_as_weight),
]


class Body(BaseModel):
    """A body with a fixed set of fields: a misspelt name is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Strict(Body):
    """A body without conversions: text is no number, true is no number."""

    model_config = ConfigDict(strict=True)


class EventIn(Strict):
    """An event of a user."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"user_id": "anna", "item_id": "260", "event_type": "like", "event_id": "e-1f3a"}]
        }
    )

    user_id: WireId
    item_id: WireId
    event_type: Annotated[str, StringConstraints(min_length=1, max_length=100)] = Field(
        description="like, view, purchase, dislike, ...; the service sets the weight of each type."
    )
    timestamp: Moment | None = Field(
        None,
        description="ISO 8601, or seconds, ms or us since 1970, at most 48 hours ahead; now by default.",
    )
    weight: Finite | None = Field(None, description="Multiplies the weight of the type.")
    event_id: Text | None = Field(None, description="An event that is sent again with the same id counts once.")

    context: ContextIn | None = Field(None, description="Circumstances of the event, such as device or place.")
    list_id: ListId | None = Field(
        None, description="`id` of the answer that showed the item: its place becomes `position` of the context."
    )

    def event(self, place: int = 0) -> Event:
        """Return the event for the store; place: of the item in the list that showed it, 0 for none."""
        context = {**(self.context or {}), **({POSITION: place} if place else {})}
        own = self.timestamp, self.weight, self.event_id, context or None
        return Event(self.user_id, self.item_id, self.event_type, *own)


class ImpressionIn(Strict):
    """A list that a user saw."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"list_id": "AQAEAQAA", "seen": 5}]})

    list_id: ListId = Field(description="`id` of the answer.")
    seen: int | None = Field(None, ge=0, le=MOST_PLACES, description="Places that came into view; all by default.")


class Counted(Body):
    """The impressions are on the disk."""

    counted: int = Field(description="Items at places.")


class Accepted(Body):
    """The events are on the disk."""

    accepted: int = Field(description="Events that were new.")
    repeated: int = Field(description="Events whose event_id was stored before.")


class StepIn(Strict):
    """An event of a session."""

    item_id: WireId
    event_type: str | None = None
    weight: Finite | None = None
    timestamp: Moment | None = Field(default=None, description="As in an event; unknown by default.")


class BoostIn(Strict):
    """A factor on the scores of items that meet a condition."""

    condition: str = Field(max_length=4000)
    factor: float = Field(gt=0, le=1e6)


class PinIn(Strict):
    """An item at a fixed position of the first page, counted from 1."""

    item_id: WireId
    position: int = Field(ge=1, le=MOST_PLACES)


class CapIn(Strict):
    """The most items with the same value of an attribute."""

    attribute: str
    most: int = Field(ge=1)


class ShareIn(Strict):
    """The least share of the list for items that meet a condition."""

    condition: str = Field(max_length=4000)
    least: float = Field(ge=0, le=1)


class DiversifyIn(Strict):
    """Items of the list that are unlike each other."""

    strength: float = Field(0.3, ge=0, le=1)
    by: Text | None = Field(None, description="An attribute; the item vectors of the model by default.")
    method: Literal["dpp", "mmr"] = "dpp"
    personal: bool = Field(True, description="Whether a narrow taste gets less than one that roams.")


class CalibrateIn(Strict):
    """A list whose mix of an attribute follows that of the history."""

    attribute: Text
    strength: float = Field(0.5, ge=0, le=1)
    half_life: float = Field(50, ge=0, allow_inf_nan=False, description="In events; 0 counts all alike.")


def calibration(text: str) -> tuple[str, float | None]:
    """Split ATTRIBUTE:STRENGTH, such as genres:0.5. Raises `ValueError`."""
    attribute, colon, strength = text.rpartition(":")
    if not colon:
        return strength, None
    try:
        number = float(strength)
    except ValueError:
        number = -1.0
    if not (attribute and 0 <= number <= 1):
        raise ValueError("must be an attribute and a strength from 0 to 1, such as genres:0.5")
    return attribute, number


def _as_calibration(text: str) -> str:
    calibration(text)
    return text


class ExploreIn(Strict):
    """How a list explores; each item of the answer comes with its propensity."""

    method: Literal["share", "thompson"] = Field(
        "thompson", description="thompson draws the scores as far as the model leaves them open; share leaves them."
    )
    share: float = Field(0.1, ge=0, le=1, description="Share of positions for new items.")
    strength: float = Field(1.0, ge=0, le=10, description="Standard deviations of the draws, times it; 0 draws none.")
    seed: int | None = Field(None, ge=0, lt=1 << 63, description="The same seed and history give the same list.")


def _as_exploring(value: object) -> object:
    """Turn METHOD or METHOD:NUMBER, such as thompson:0.5, into fields; other text is a share."""
    method, colon, number = value.partition(":") if isinstance(value, str) else ("", "", "")
    if method not in EXPLORES:
        return value
    try:
        return {"method": method} | ({EXPLORES[method]: float(number)} if colon else {})
    except ValueError:
        raise ValueError("must be a share from 0 to 1, or a method and a number, such as thompson:0.5") from None


class Asked(Body):
    """What a request for a list has beside the fields that a scenario may have, too."""

    user_id: Text | None = Field(None, description=USER)
    scenario: Name | None = Field(None, description=SCENARIO)
    cursor: str | None = Field(None, max_length=20_000, description="From the answer before; asks for the next page.")


class ListFields(Body):
    """What a list is made by, in a query and in a body."""

    k: int = Field(10, ge=1, le=MOST_PLACES, description="Length of the list.")
    filter: str | None = Field(None, max_length=4000, description="An SQL condition on the attributes of items.")
    exclude: Batch[Text] = Field([], max_length=MOST_NAMED, description=EXCLUDED)
    near: Batch[Text] = Field([], max_length=MOST_NEAR, description=NEAR)
    keep_seen: bool = Field(False, description="Whether items of the history may come.")
    explore: Share | ExploreIn = Field(0.1, description=f"{EXPLORE}.")
    attributes: Batch[str] = Field([], max_length=100, description=ATTRIBUTES)
    long_tail: float | None = Field(None, ge=0, le=1, description="How much popularity counts against an item.")
    sources: Batch[Source] = Field(
        list(USUAL_SOURCES), min_length=1, max_length=len(SOURCES), description="What fills the list, in this order."
    )


def _as_pairs(value: object) -> object:
    """Turn texts KEY:VALUE, such as device:phone, into a context."""
    pairs = [each.partition(":") for each in value if isinstance(each, str)] if isinstance(value, list) else []
    if not all(key and colon for key, colon, _ in pairs):
        raise ValueError("must be a key and a value, such as device:phone")
    return _as_context({key: text for key, _, text in pairs})


class RecommendQuery(ListFields, Asked):
    """A request for a list without rules; a query is text, so its ids are."""

    explore: Annotated[Share | ExploreIn, BeforeValidator(_as_exploring, json_schema_input_type=float | str)] = Field(
        0.1, description=f"{EXPLORE}, such as thompson or thompson:0.5."
    )
    context: Annotated[dict[str, str], BeforeValidator(_as_pairs, json_schema_input_type=list[str])] = Field(
        {}, description=f"{CONTEXT} Keys and values, such as device:phone."
    )
    diversify: float | None = Field(None, ge=0, le=1, description=DIVERSIFY)
    calibrate: Annotated[Text, AfterValidator(_as_calibration)] | None = Field(
        None, description=f"{CALIBRATE}: the attribute and the strength, such as genres:0.5."
    )


class Rules(Strict):
    """Rules for the items of a list, and its stages."""

    boost: Batch[BoostIn] = Field([], max_length=MOST_RULES)
    pin: Batch[PinIn] = Field([], max_length=MOST_RULES)
    cap: Batch[CapIn] = Field([], max_length=MOST_RULES)
    share: Annotated[Batch[ShareIn], BeforeValidator(_as_batch, json_schema_input_type=ShareIn | list[ShareIn])] = (
        Field([], max_length=MOST_RULES, description="One or several.")
    )
    diversify: Annotated[float, Field(ge=0, le=1)] | DiversifyIn | None = Field(None, description=DIVERSIFY)
    calibrate: CalibrateIn | None = Field(None, description=f"{CALIBRATE}.")


class RuledFields(Rules, ListFields):
    """All that a list is made by."""

    exclude: Batch[WireId] = Field([], max_length=MOST_NAMED, description=EXCLUDED)
    near: Batch[WireId] = Field([], max_length=MOST_NEAR, description=NEAR)


class OneListIn(RuledFields, Asked):
    """A request for a list with rules."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"user_id": "5", "k": 5, "filter": "price < 20 AND category = 'sci-fi' AND NOT adult"}]
        }
    )

    user_id: WireId | None = Field(None, description=USER)
    context: ContextIn | None = Field(None, description=CONTEXT)


class RecommendIn(OneListIn):
    """A request for a list, or with `user_ids` for one of each user, all by the same fields."""

    user_ids: Batch[WireId] = Field(
        [], min_length=1, max_length=MOST_USERS, description="In place of `user_id`; the answer has `lists`."
    )

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.user_ids and (self.user_id is not None or self.cursor is not None):
            raise ValueError("`user_ids` goes neither with `user_id` nor with `cursor`, which is of one user")
        return self


class SessionIn(OneListIn):
    """A request for a list with a history, oldest first, of ids or events; the service stores nothing of it."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"history": ["1", "260"], "k": 5}]})

    history: Batch[StepIn | WireId] = Field(max_length=MOST_NAMED)
