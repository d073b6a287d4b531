"""What a request asks of a list, and the list that answers it; plain values."""

from __future__ import annotations

from base64 import b64decode, urlsafe_b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import ceil
from struct import pack, unpack_from
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import numpy as np

from palate.data.contexts import MOST_PLACES, as_context
from palate.errors import ConditionError, SettingError, check, setting_error

MOST_NAMED = 10_000  # items that one request may name
MOST_ROWS = 20  # of a page
MOST_USERS = 100  # of one request for their lists
MOST_OF_USERS = 10_000  # places of these lists together
MOST_NEAR = 100  # anchor items of a request over HTTP
MOST_CHARACTERS = 8000  # of the conditions of one request
MOST_RULES = 20  # boosts, pins, caps or shares of one request
RULES = ("boost", "pin", "cap", "share")
MOST_STAGES = 40  # of all rows of a page
MOST_DRAWN = 10  # rows of a page whose scores are drawn
MOST_SHOWN = 2000  # items that the pages of a cursor may have shown
MOST_IN_ID = 100  # first items of a list that its id holds
MOST_ID = 600  # characters
BOUNDS = {
    **dict.fromkeys(("session", "anchor_items", "exclude"), (MOST_NAMED, "items")),
    **dict.fromkeys(("only", "shown_above"), (MOST_PLACES, "items")),
    **dict.fromkeys(RULES, (MOST_RULES, "rules")),
}

# Where an item of a list comes from. A rule pins it; a list that names no sources is filled from the next five.
Source: TypeAlias = Literal[
    "pinned",
    "personal",
    "session",
    "similar",
    "popular",
    "newest",
    "trending",
    "buy_again",
    "bought_together",
]
SOURCES: tuple[Source, ...] = get_args(Source)
USUAL_SOURCES = SOURCES[1:6]


@dataclass(frozen=True)
class Boost:
    """Multiplies the scores of items that meet the condition by `factor`; below 1 moves them down."""

    condition: str
    factor: float

    def __post_init__(self) -> None:
        check(0 < self.factor <= 1e6, "factor", self.factor, "must be above 0, up to a million")


@dataclass(frozen=True)
class Pin:
    """An item that stands at a place of the first page, the first being 1, whatever the scores."""

    item_id: str
    position: int

    def __post_init__(self) -> None:
        check(1 <= self.position <= MOST_PLACES, "position", self.position, f"must be 1 to {MOST_PLACES}")


@dataclass(frozen=True)
class Cap:
    """At most `most` items with the same value of an attribute; of a list, each value counts. Nulls are free."""

    attribute: str
    most: int

    def __post_init__(self) -> None:
        check(self.most >= 1, "most", self.most, "must be 1 or more")


@dataclass(frozen=True)
class Share:
    """At least the share `least` of the places of a list, 0 to 1, for items that meet the condition."""

    condition: str
    least: float

    def __post_init__(self) -> None:
        check(0 <= self.least <= 1, "least", self.least, "must be 0 to 1")

    def places(self, k: int) -> int:
        """Places of k, rounded up; 0.2 of 10 are 2, whatever floats say."""
        return ceil(self.least * k - 1e-9)


@dataclass(frozen=True)
class Explore:
    """How a list explores; the answer says how likely each item was at its place.

    method    "thompson": the scores of the model are drawn, as far as it leaves them open; "share": they stay
    share     of the list, at its end, for items that the model does not know; with "share" for cold-start items too
    strength  of the draws: standard deviations, times it; 0 draws nothing, as "share"
    seed      the same seed and history make the same list of a user; by default the time is the seed
    """

    method: Literal["share", "thompson"] = "thompson"
    share: float = 0.1
    strength: float = 1.0
    seed: int | None = None

    def __post_init__(self) -> None:
        check(self.method in ("share", "thompson"), "explore", self.method, "must be share or thompson")
        check(0 <= self.share <= 1, "explore", self.share, "must be 0 to 1")
        check(0 <= self.strength <= 10, "strength", self.strength, "must be 0 to 10")
        check(self.seed is None or 0 <= self.seed < 2**63, "seed", self.seed, "must be from 0 to 2^63 - 1, or None")


@dataclass(frozen=True)
class SessionEvent:
    """An event of a session, which is stored nowhere; time: microseconds since 1970 UTC."""

    item_id: str
    event_type: str | None = None
    weight: float | None = None
    time: int | None = None


@dataclass(frozen=True, kw_only=True)
class ListRequest:
    """The user of a list, its length, and the rules for its items.

    user_id       whose stored history counts; the user may be unknown
    session       events beside the stored ones, oldest first
    anchor_items  items on the page: a user without a history gets items similar to them
    filter        an SQL condition on the attributes of items; exclude: items never shown
    only          the only items that the list may show, None for any: each of them that is in the catalogue, whatever
                  the user saw or dislikes and whether it is available; those that nothing ranks by the history come
                  by popularity, then as given
    shown_above   items that the lists above this one on a page show: never shown here, pinned or not
    keep_seen     items of the history may be shown again
    explore       share of the list, at its end, for cold-start items: first those that the model does not know, then
                  those that it knows by their attributes alone; or how the list explores
    cursor        `RecommendationList.cursor` of the page before: what the pages showed is not shown again
    until         stored events after this time, in microseconds since 1970 UTC, do not count
    unseen_by     user whose seen items are not shown; nothing else of that user counts
    sources       the only sources that fill the list, in the order in which they are asked
    stages        of `palate.ranking.stages`, behind those of the model; one takes the place of one of its kind
    context       of the request, as {"device": "phone"}: a model that learned from contexts reads it
    """

    user_id: str | None = None
    k: int = 10
    session: tuple[SessionEvent, ...] = ()
    anchor_items: tuple[str, ...] = ()
    filter: str | None = None
    exclude: tuple[str, ...] = ()
    only: tuple[str, ...] | None = None
    shown_above: tuple[str, ...] = ()
    boost: tuple[Boost, ...] = ()
    pin: tuple[Pin, ...] = ()
    cap: tuple[Cap, ...] = ()
    share: tuple[Share, ...] = ()
    keep_seen: bool = False
    explore: float | Explore = 0.1
    cursor: str | None = None
    until: int | None = None
    unseen_by: str | None = None
    sources: tuple[Source, ...] = USUAL_SOURCES
    stages: tuple[object, ...] = ()
    context: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.context:
            object.__setattr__(self, "context", as_context(self.context))
        if not 1 <= self.k <= MOST_PLACES:
            raise setting_error("k", self.k, f"must be 1 to {MOST_PLACES}")
        if isinstance(self.explore, int | float) and not 0 <= self.explore <= 1:
            raise setting_error("explore", self.explore, "must be 0 to 1")
        if (size := sum(map(len, self.conditions))) > MOST_CHARACTERS:
            rule = f"filter, boosts and shares have {size:,} characters together; there can be {MOST_CHARACTERS:,}"
            raise ConditionError(self.conditions[-1], 0, rule)
        for source in self.sources:
            if source not in SOURCES[1:]:
                raise setting_error("sources", source, f"each must be one of {', '.join(SOURCES[1:])}")
        for name, (most, unit) in BOUNDS.items():
            if (count := len(getattr(self, name) or ())) > most:
                raise setting_error(name, f"{count} {unit}", f"there may be {most:,}")
        if len(self.pin) > min(len({pin.position for pin in self.pin}), len({pin.item_id for pin in self.pin})):
            raise SettingError("pin: two pins name the same place or the same item; each must be there once")

    @property
    def explored(self) -> float:
        """Share of the list that is kept for cold-start items."""
        return self.explore.share if isinstance(self.explore, Explore) else self.explore

    @property
    def exploring(self) -> Explore | None:
        """How scores are drawn, None where they are not."""
        asked = self.explore
        return asked if isinstance(asked, Explore) and asked.method == "thompson" and asked.strength else None

    @cached_property
    def conditions(self) -> list[str]:
        """The filter and the conditions of the boosts and shares."""
        rules: tuple[Boost | Share, ...] = (*self.boost, *self.share)
        return [*([self.filter] if self.filter else []), *(rule.condition for rule in rules)]


@dataclass(frozen=True, slots=True)
class ListItem:
    """An item of a list: its score, the source it comes from, why, and the past items that contribute most."""

    item_id: str
    score: float
    source: Source
    reason: str
    because: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RecommendationList:
    """A list, best first; `reason` says why it is empty, `cursor` asks for the next page, None if there is none.

    model     version and recipe of the model, None without one
    sources   number of items by source
    warnings  about the request: attributes that no item has, types that none of their values has, and a history that
              is out of reach
    unknown   items of `only` that are not in the catalogue
    propensities  of the items, where the request says by `Explore` how it explores: the probability that the item
              stands at its place, None where caps or shares choose among what is drawn; else empty
    numbers   the store's numbers of the items; first: the place of the first, over all pages of a cursor
    """

    items: tuple[ListItem, ...]
    model: Mapping[str, Any] | None = None
    cursor: str | None = None
    reason: str | None = None
    sources: Mapping[Source, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    propensities: tuple[float | None, ...] = ()
    numbers: tuple[int, ...] = ()
    first: int = 1


def conditions_of(rows: Sequence[ListRequest]) -> list[str]:
    """Return the conditions of the rows of a page, each once. Raises `SettingError` for a page out of bounds.

    A page is bounded as one request is, for what takes time with the number of items.
    """
    if not 1 <= len(rows) <= MOST_ROWS:
        raise setting_error("rows", f"{len(rows)} rows", f"must be 1 to {MOST_ROWS}")
    conditions = list(dict.fromkeys(condition for row in rows for condition in row.conditions))
    for count, most, unit in (
        (sum(row.k for row in rows), MOST_PLACES, "places"),
        (sum(len(row.anchor_items) for row in rows), MOST_NEAR, "items in near"),
        (sum(map(len, conditions)), MOST_CHARACTERS, "characters of conditions"),
        *((sum(len(getattr(row, kind)) for row in rows), MOST_RULES, f"rules in {kind}") for kind in RULES),
        (sum(len(row.stages) for row in rows), MOST_STAGES, "stages"),
        (sum(row.exploring is not None for row in rows), MOST_DRAWN, "rows by draws"),
    ):
        if count > most:
            raise setting_error("rows", f"{count:,} {unit} together", f"there may be {most:,}")
    return conditions


def check_users(rows: Sequence[ListRequest]) -> None:
    """Raise `SettingError` for the lists of too many users at once, before any is made: all are of one request."""
    if not 1 <= len(rows) <= MOST_USERS:
        raise setting_error("user_ids", f"{len(rows)} users", f"must be 1 to {MOST_USERS}")
    one = rows[0]
    for count, most, unit in (
        (one.k, MOST_OF_USERS, "places"),
        (len(one.stages), MOST_USERS, "stages"),
        (len(one.anchor_items), MOST_USERS, "items in near"),
        (one.exploring is not None, MOST_DRAWN, "lists by draws"),
    ):
        if count * len(rows) > most:
            raise setting_error("user_ids", f"{count * len(rows):,} {unit} together", f"there may be {most:,}")


# A cursor is the store's numbers of the items shown so far, as text: no page repeats an item, whatever changes.


def write_cursor(numbers: Sequence[int]) -> str | None:
    """Write the numbers as text; None when there are too many for another page."""
    if len(numbers) > MOST_SHOWN:
        return None
    return urlsafe_b64encode(pack(f"<{len(numbers)}I", *numbers)).decode().rstrip("=")


def read_cursor(cursor: str) -> list[int]:
    """Return the numbers of a cursor. Raises `SettingError` for text that is no cursor."""
    try:
        packed = b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True)
        if len(packed) > 4 * MOST_SHOWN:
            raise ValueError("too long")
        numbers: list[int] = np.frombuffer(packed, "<u4").tolist()
    except ValueError:
        raise SettingError(f"cursor={cursor[:40]!r}: is not one that an answer gave") from None
    return numbers


# The id of a list says which items stood at which places: nothing of a list is stored until it is seen.


class Shown(NamedTuple):
    """Items of a list, by the store's numbers, and the place of the first, over all pages of a cursor."""

    first: int
    numbers: list[int]

    def place_of(self, number: int) -> int:
        """Place of an item, 0 where the list does not show it, or further down than any place that counts."""
        place = self.first + self.numbers.index(number) if number in self.numbers else 0
        return place if place <= MOST_PLACES else 0


def list_id(answer: RecommendationList) -> str:
    """Return the id of an answer; equal lists have equal ids."""
    numbers = answer.numbers[:MOST_IN_ID]
    return urlsafe_b64encode(pack(f"<H{len(numbers)}I", answer.first, *numbers)).decode().rstrip("=")


def read_list_id(text: str) -> Shown:
    """Return what an id says. Raises `SettingError` for text that is none."""
    try:
        packed = b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True)
        if len(packed) % 4 != 2 or len(packed) > 2 + 4 * MOST_IN_ID:
            raise ValueError("of another length")
        first = int(unpack_from("<H", packed)[0])
        numbers: list[int] = np.frombuffer(packed, "<u4", offset=2).tolist()
    except ValueError:
        first = 0
    if first < 1:
        raise SettingError(f"list_id={text[:40]!r}: is not one that an answer gave")
    return Shown(first, numbers)
