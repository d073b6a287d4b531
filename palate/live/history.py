"""What a user's stored events say: what was seen and is disliked, read whole, and the newest ones, which teach."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from palate.arrays import Floats, Longs
from palate.live.weights import Weights
from palate.ranking.context import UserHistory, last_below_zero
from palate.ranking.item_index import ItemIndex
from palate.store.events import Store

EVENTS = 2000  # newest events of a user with a weight other than 0 that a model answers from
WHOLE = 4000  # a user of at most so many events is read in one go; of one with more the items are read by themselves


@dataclass(frozen=True, eq=False)
class StoredHistory:
    """A user's events, by the store's numbers of items.

    item, weight, time (N,)  the newest `EVENTS` with a weight other than 0, oldest first: by time, then by arrival
    seen (D,)                every item with an event; one may stand there several times
    disliked (E,)            every item whose newest event with a weight other than 0 has one below 0
    """

    item: Longs
    weight: Floats
    time: Longs
    seen: Longs
    disliked: Longs

    @property
    def before(self) -> Longs:
        """The seen items that no event of `item` names, (M,)."""
        return np.setdiff1d(self.seen, self.item)

    def on(self, index: ItemIndex) -> UserHistory:
        """Return it by positions; items that the index does not have are left out."""
        position, seen, disliked = index.at(self.item), index.at(self.seen), index.at(self.disliked)
        known = position >= 0
        events = position[known], self.weight[known], self.time[known]
        return UserHistory(*events, seen[seen >= 0], disliked[disliked >= 0], stored=len(self.seen) > 0)


def read_history(store: Store, weights: Weights, user_id: str, until: int | None = None) -> StoredHistory:
    """Read what a user's events up to the time `until` say; an unknown user has none."""
    past = store.histories.newest(user_id, WHOLE + 1, until)
    every = weights.of_past(past)
    counts = every != 0
    item, weight, time = past.item[counts], every[counts], past.time[counts]
    if len(past) <= WHOLE:
        disliked = last_below_zero(item, weight)
        return StoredHistory(item[-EVENTS:], weight[-EVENTS:], time[-EVENTS:], past.item, disliked)
    silent, negative = weights.silent_and_negative()
    if len(item) < EVENTS:
        past = store.histories.weighted(user_id, EVENTS, silent, until)
        item, weight, time = past.item, weights.of_past(past), past.time
    seen, below = store.histories.items(user_id, silent, negative, until)
    return StoredHistory(item[-EVENTS:], weight[-EVENTS:], time[-EVENTS:], seen, seen[below])
