"""A user's list as the page shows it: reasons by title, and for "what if" how each item moved."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias
from urllib.parse import urlencode

from palate.live.service import Live
from palate.ranking.request import ListItem, ListRequest, SessionEvent
from palate.serve.dashboard.cards import Card, Cards

Verb: TypeAlias = Literal["like", "dislike"]

SHOWN = 12
YEAR = re.compile(r"\s*\(\d{4}\)$")  # the year of a title, left out within a sentence


@dataclass(frozen=True)
class Line:
    """An item of a list; `moved` is None without hypothetical events, `new` says that it was not in the list."""

    card: Card
    place: ListItem
    because: tuple[str, ...]
    moved: int | None = None
    new: bool = False

    @property
    def reason(self) -> str:
        """The reason with titles in place of ids."""
        return f"because of {' and '.join(self.because)}" if self.because else self.place.reason


@dataclass(frozen=True)
class WhatIf:
    """Hypothetical events of a user: pairs of verb and item."""

    user_id: str
    events: tuple[tuple[Verb, str], ...] = ()

    def plus(self, verb: Verb, item_id: str) -> WhatIf:
        """Add an event, in place of the one on the same item."""
        return WhatIf(self.user_id, (*self.minus(item_id).events, (verb, item_id)))

    def minus(self, item_id: str) -> WhatIf:
        """Leave out the event on an item."""
        return WhatIf(self.user_id, tuple(event for event in self.events if event[1] != item_id))

    @property
    def parameters(self) -> list[tuple[str, str]]:
        """Names and values of the page's address."""
        return [("user", self.user_id), *self.events]

    @property
    def address(self) -> str:
        """The page that shows it."""
        return f"/people?{urlencode(self.parameters)}"


def listed(live: Live, cards: Cards, what_if: WhatIf) -> list[Line]:
    """Return a user's list, and how the hypothetical events move each item."""
    session = tuple(SessionEvent(item_id, verb) for verb, item_id in what_if.events)
    places = live.recommend(ListRequest(user_id=what_if.user_id, k=SHOWN, session=session)).items
    lines = lines_of(places, cards)
    if not session:
        return lines
    before = live.recommend(ListRequest(user_id=what_if.user_id, k=SHOWN)).items
    rank = {place.item_id: n for n, place in enumerate(before)}
    return [
        Line(line.card, line.place, line.because, rank.get(line.place.item_id, n) - n, line.place.item_id not in rank)
        for n, line in enumerate(lines)
    ]


def lines_of(places: Sequence[ListItem], cards: Cards) -> list[Line]:
    """Return the places of a list with the cards of their items."""
    past = {name for place in places for name in place.because}
    title = {card.item_id: YEAR.sub("", card.title) for card in cards.of(past)}
    shown = cards.of(place.item_id for place in places)
    return [
        Line(card, place, tuple(title[name] for name in place.because))
        for card, place in zip(shown, places, strict=True)
    ]
