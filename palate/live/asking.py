"""What can be asked of the live recommender, and what it answers; plain values, no HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from palate.errors import ConditionError, SettingError, check

MOST_PLACES = 1000  # of a list
MOST_NAMED = 10_000  # items that one request may name
MOST_CHARACTERS = 8000  # of the conditions of one request
MOST_RULES = 20  # boosts, pins or caps of one request

# Where an item of a list comes from, in the order in which they are asked.
Source: TypeAlias = Literal["pinned", "personal", "session", "similar", "popular", "newest"]
SOURCES: tuple[Source, ...] = ("pinned", "personal", "session", "similar", "popular", "newest")


@dataclass(frozen=True)
class Boost:
    """Items that meet the condition score `factor` times as high; a factor below 1 pushes them down."""

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
    """At most so many items with the same value of an attribute; of a list, each value counts. Nulls are free."""

    attribute: str
    most: int

    def __post_init__(self) -> None:
        check(self.most >= 1, "most", self.most, "must be 1 or more")


@dataclass(frozen=True)
class Step:
    """An event of a session, which is stored nowhere; time: microseconds since 1970 UTC."""

    item_id: str
    event_type: str | None = None
    weight: float | None = None
    time: int | None = None


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Who asks for how many items, and what must hold of them.

    user_id    whose stored history counts; unknown people are welcome
    session    events beside the stored ones, oldest first
    near       items on the page, for somebody of whom nothing is known
    filter     an SQL condition on the attributes of items; exclude: items never shown
    keep_seen  items of the history may be shown again
    explore    share of the places, at the end of the list, for new items: those that no model knows, then those
               that a model knows by what is told of them alone
    cursor     `Answer.cursor` of the page before: what it and those before it showed is not shown again
    until      stored events after this time, in microseconds since 1970 UTC, do not count
    unseen_by  user whose seen items are not shown; nothing else of them counts
    """

    user_id: str | None = None
    k: int = 10
    session: tuple[Step, ...] = ()
    near: tuple[str, ...] = ()
    filter: str | None = None
    exclude: tuple[str, ...] = ()
    boost: tuple[Boost, ...] = ()
    pin: tuple[Pin, ...] = ()
    cap: tuple[Cap, ...] = ()
    keep_seen: bool = False
    explore: float = 0.1
    cursor: str | None = None
    until: int | None = None
    unseen_by: str | None = None

    def __post_init__(self) -> None:
        check(1 <= self.k <= MOST_PLACES, "k", self.k, f"must be 1 to {MOST_PLACES}")
        check(0 <= self.explore <= 1, "explore", self.explore, "must be 0 to 1")
        conditions = [self.filter or "", *(boost.condition for boost in self.boost)]
        size = sum(map(len, conditions))
        if size > MOST_CHARACTERS:
            rule = f"filter and boosts have {size:,} characters together; there can be {MOST_CHARACTERS:,}"
            raise ConditionError(conditions[-1], 0, rule)
        for name in ("session", "near", "exclude"):
            count = len(getattr(self, name))
            check(count <= MOST_NAMED, name, f"{count} items", f"there may be {MOST_NAMED:,}")
        for name in ("boost", "pin", "cap"):
            count = len(getattr(self, name))
            check(count <= MOST_RULES, name, f"{count} rules", f"there may be {MOST_RULES}")
        positions = [pin.position for pin in self.pin]
        if len(set(positions)) < len(positions) or len({pin.item_id for pin in self.pin}) < len(positions):
            raise SettingError("pin: two pins name the same place or the same item; each must be there once")


@dataclass(frozen=True, slots=True)
class Place:
    """An item of a list: how high it scored, where it comes from, why, and the past items that speak for it."""

    item_id: str
    score: float
    source: Source
    reason: str
    because: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """A list, best first; `reason` says why it is empty, `cursor` asks for the next page, None if there is none.

    warnings  of what was asked: attributes that no item has, types that none of their values has, and histories that
              could not be read
    """

    items: tuple[Place, ...]
    model: Mapping[str, Any] | None = None
    cursor: str | None = None
    reason: str | None = None
    sources: Mapping[Source, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
