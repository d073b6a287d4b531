"""What a request asks of a list, and the list that answers it; plain values."""

from __future__ import annotations

from base64 import b64decode, urlsafe_b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, TypeAlias

import numpy as np

from palate.errors import ConditionError, SettingError, check, setting_error

MOST_PLACES = 1000  # of a list
MOST_NAMED = 10_000  # items that one request may name
MOST_ROWS = 20  # of a page
MOST_NEAR = 100  # anchor items of a request over HTTP
MOST_CHARACTERS = 8000  # of the conditions of one request
MOST_RULES = 20  # boosts, pins or caps of one request
MOST_SHOWN = 2000  # items that the pages of a cursor may have shown
BOUNDS = {
    **dict.fromkeys(("session", "anchor_items", "exclude"), (MOST_NAMED, "items")),
    **dict.fromkeys(("only", "shown_above"), (MOST_PLACES, "items")),
    **dict.fromkeys(("boost", "pin", "cap"), (MOST_RULES, "rules")),
}

# Where an item of a list comes from, in the order in which the sources are asked.
Source: TypeAlias = Literal["pinned", "personal", "session", "similar", "popular", "newest"]
SOURCES: tuple[Source, ...] = ("pinned", "personal", "session", "similar", "popular", "newest")


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
                  those that it knows by their attributes alone
    cursor        `RecommendationList.cursor` of the page before: what the pages showed is not shown again
    until         stored events after this time, in microseconds since 1970 UTC, do not count
    unseen_by     user whose seen items are not shown; nothing else of that user counts
    sources       the only sources that fill the list
    stages        of `palate.ranking.stages`, behind those of the model; one takes the place of one of its kind
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
    keep_seen: bool = False
    explore: float = 0.1
    cursor: str | None = None
    until: int | None = None
    unseen_by: str | None = None
    sources: tuple[Source, ...] = SOURCES
    stages: tuple[object, ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= self.k <= MOST_PLACES:
            raise setting_error("k", self.k, f"must be 1 to {MOST_PLACES}")
        if not 0 <= self.explore <= 1:
            raise setting_error("explore", self.explore, "must be 0 to 1")
        if (size := sum(map(len, self.conditions))) > MOST_CHARACTERS:
            rule = f"filter and boosts have {size:,} characters together; there can be {MOST_CHARACTERS:,}"
            raise ConditionError(self.conditions[-1], 0, rule)
        for name, (most, unit) in BOUNDS.items():
            if (count := len(getattr(self, name) or ())) > most:
                raise setting_error(name, f"{count} {unit}", f"there may be {most:,}")
        for named in ([pin.position for pin in self.pin], [pin.item_id for pin in self.pin]):
            if len(set(named)) < len(named):
                raise SettingError("pin: two pins name the same place or the same item; each must be there once")

    @cached_property
    def conditions(self) -> list[str]:
        """The filter and the conditions of the boosts."""
        return [*([self.filter] if self.filter else []), *(boost.condition for boost in self.boost)]


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
    """

    items: tuple[ListItem, ...]
    model: Mapping[str, Any] | None = None
    cursor: str | None = None
    reason: str | None = None
    sources: Mapping[Source, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


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
    ):
        if count > most:
            raise setting_error("rows", f"{count:,} {unit} together", f"there may be {most:,}")
    return conditions


# A cursor is the store's numbers of the items shown so far, as text: no page repeats an item, whatever changes.


def write_cursor(numbers: Sequence[int]) -> str | None:
    """Write the numbers as text; None when there are too many for another page."""
    if len(numbers) > MOST_SHOWN:
        return None
    return urlsafe_b64encode(np.array(numbers, "<u4").tobytes()).decode().rstrip("=")


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
