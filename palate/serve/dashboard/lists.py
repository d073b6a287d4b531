"""A user's list as the page shows it: reasons by title, and for "what if" how each item moved."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from json import dumps
from typing import Literal, TypeAlias
from urllib.parse import urlencode

from palate.live.service import Live
from palate.ranking.request import ListItem, ListRequest, SessionEvent
from palate.serve.dashboard.cards import Card, Cards
from palate.serve.dashboard.tuning import Tuning

Verb: TypeAlias = Literal["like", "dislike"]

SHOWN = 12
PLAIN = Tuning()
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
    """Hypothetical events of a user, pairs of verb and item, and how the list is made."""

    user_id: str
    events: tuple[tuple[Verb, str], ...] = ()
    tuning: Tuning = PLAIN

    def __bool__(self) -> bool:
        return bool(self.events or self.tuning)

    def plus(self, verb: Verb, item_id: str) -> WhatIf:
        """Add an event, in place of the one on the same item."""
        return replace(self, events=(*self.minus(item_id).events, (verb, item_id)))

    def minus(self, item_id: str) -> WhatIf:
        """Leave out the event on an item."""
        return replace(self, events=tuple(event for event in self.events if event[1] != item_id))

    @property
    def bare(self) -> WhatIf:
        """The same without events."""
        return replace(self, events=())

    @property
    def parameters(self) -> list[tuple[str, str]]:
        """Names and values of the page's address."""
        return [("user", self.user_id), *self.events, *self.tuning.parameters]

    @property
    def address(self) -> str:
        """The page that shows it."""
        return f"/user?{urlencode(self.parameters)}"

    @property
    def asked(self) -> ListRequest:
        """The request for the list."""
        session = tuple(SessionEvent(item_id, verb) for verb, item_id in self.events)
        tuning = self.tuning
        return ListRequest(
            user_id=self.user_id, k=SHOWN, session=session, stages=tuning.stages, explore=tuning.exploring
        )

    @property
    def request(self) -> str:
        """The same as a request over HTTP."""
        events = [{"item_id": item_id, "event_type": verb} for verb, item_id in self.events]
        history = {"history": events} if events else {}
        path = "/v1/recommend/session" if events else "/v1/recommend"
        return (
            f"POST {path}\n{dumps({'user_id': self.user_id, 'k': SHOWN, **self.tuning.fields, **history}, indent=2)}"
        )


def listed(live: Live, cards: Cards, what_if: WhatIf) -> tuple[list[Line], list[Line]]:
    """Return a user's list with how each item moved, and the list without events and sliders, () where it is this."""
    lines = lines_of(live.recommend(what_if.asked).items, cards)
    if not what_if:
        return lines, []
    before = lines_of(live.recommend(WhatIf(what_if.user_id).asked).items, cards)
    return moved(lines, before), moved(before, lines)


def moved(lines: Sequence[Line], before: Sequence[Line]) -> list[Line]:
    """Return the lines of a list with how far each item stood from here in another one."""
    rank = {line.place.item_id: n for n, line in enumerate(before)}
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
