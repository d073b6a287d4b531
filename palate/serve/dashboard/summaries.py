"""Users in a line each, and the events of one with those on the same item together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from palate.data.ragged import liked as above_zero
from palate.live.service import Live
from palate.serve.dashboard.cards import Card, Cards
from palate.store.events import Recorded, Store

READ = 1000  # newest events that a line is made from


@dataclass(frozen=True)
class Summary:
    """A user: the number of events, `READ` at most, the time of the newest one, its item, and the usual category."""

    user_id: str
    events: int
    seen: int | None = None
    last: Card | None = None
    favourite: str | None = None

    @property
    def more(self) -> bool:
        """Whether there may be more events."""
        return self.events == READ


def summaries(live: Live, cards: Cards, ids: Iterable[str]) -> list[Summary]:
    """Read the newest events of users."""
    return [_summary(live, cards, user_id) for user_id in ids]


def _summary(live: Live, cards: Cards, user_id: str) -> Summary:
    past = live.store.history(user_id, READ)
    if not len(past):
        return Summary(user_id, 0)
    index = cards.snapshot.index
    position = index.at(past.item)
    weight = live.weights.of_past(past)
    liked = position[(position >= 0) & above_zero(weight)]
    last = cards.at(position[-1:])[0] if position[-1] >= 0 else None  # an item that comes with the next refresh
    return Summary(user_id, len(past), int(past.time[-1]), last, _most_frequent(cards, liked))


def _most_frequent(cards: Cards, positions: np.typing.NDArray[np.int64]) -> str | None:
    """Return the category of most events, of an item's categories the first."""
    first = cards.table["categories"].gather(positions).list.first().drop_nulls()
    counted = Counter(first.to_list()).most_common(1)
    return counted[0][0] if counted else None


@dataclass(frozen=True)
class Group:
    """Events of a user on one item: the newest one, and the number of each type."""

    event: Recorded
    card: Card
    types: Mapping[str, int]

    @property
    def count(self) -> int:
        """Number of events."""
        return sum(self.types.values())


def grouped(events: Sequence[Recorded], cards: Cards) -> list[Group]:
    """Put the events on the same item together, where the newest of them stands."""
    types: dict[str, Counter[str]] = {}
    newest: dict[str, Recorded] = {}
    for event in events:
        newest.setdefault(event.item_id, event)
        types.setdefault(event.item_id, Counter())[event.event_type] += 1
    shown = cards.of(newest)
    return [Group(newest[card.item_id], card, types[card.item_id]) for card in shown]


def beginning(store: Store, text: str, limit: int, after: str | None = None) -> list[str]:
    """Ids of users that begin with a text, by id, those after `after`; the id itself first."""
    found = [name for name in store.users(limit, max(text, after or "")) if name.startswith(text)]
    exact = [text] if text and after is None and store.events(text, 1) else []
    return [*exact, *found][:limit]
