"""What lists show: those of the users with the newest events, made one by one within a second."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic

import numpy as np

from palate.live.service import Live
from palate.ranking.pipeline import recommend
from palate.ranking.request import ListRequest
from palate.store.activity import newest_users

USERS = 1000  # those with the newest events
SECONDS = 1.0  # of making lists; later users are left out
LIST = 10


@dataclass(frozen=True)
class Coverage:
    """The items of the first ten places of the lists of some users.

    lists       number of lists
    impersonal  of them, those without an item from the user's own history
    available   number of items that lists may show
    top         ids of the items in most lists, with their numbers of lists
    never       ids of available items in no list, the most popular first, not all of them
    """

    lists: int
    impersonal: int
    available: int
    top: Sequence[tuple[str, int]]
    never: Sequence[str]


def coverage(live: Live) -> Coverage:
    """Make lists without exploration, and count their items."""
    began = monotonic()
    snapshot = live.snapshot()
    base = snapshot.context
    shown: Counter[str] = Counter()
    lists = impersonal = 0
    for user_id in newest_users(live.store, USERS):
        if monotonic() - began > SECONDS:
            break
        context = base.of(live.history(user_id).on(base.index))
        items = recommend(ListRequest(user_id=user_id, k=LIST, explore=0), context).items
        shown.update(item.item_id for item in items)
        lists += 1
        impersonal += not any(item.source == "personal" for item in items)
    catalogue = snapshot.catalogue
    hidden = ~catalogue.available
    hidden[snapshot.index.positions(list(shown))] = True
    best = snapshot.by_popularity.position
    never = np.concatenate([best[~hidden[best]], np.flatnonzero(~hidden)])[:100]
    ids = catalogue.ids[never].to_list()
    return Coverage(lists, impersonal, int(catalogue.available.sum()), shown.most_common(), list(dict.fromkeys(ids)))
