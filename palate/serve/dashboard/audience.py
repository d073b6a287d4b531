"""The audience of an item among the users with the newest events; their lists are made one by one."""

from __future__ import annotations

from dataclasses import dataclass
from time import monotonic

from palate.live.service import Live
from palate.ranking.pipeline import recommend
from palate.ranking.request import ListRequest
from palate.store.activity import newest_users

USERS = 1000  # those with the newest events
SECONDS = 1.0  # of making lists; later users are left out
LIST = 10


@dataclass(frozen=True)
class Audience:
    """Users whose list has an item, with its position, best first; `looked` counts the users examined."""

    users: list[tuple[str, int]]
    looked: int


def audience(live: Live, item_id: str) -> Audience:
    """Look for an item among the first ten for the newest users, where the model puts it there, within a second."""
    began = monotonic()
    base = live.snapshot().context
    places: list[tuple[str, int]] = []
    looked = 0
    for user_id in newest_users(live.store, USERS):
        if monotonic() - began > SECONDS:
            break
        context = base.of(live.history(user_id).on(base.index))
        shown = recommend(ListRequest(user_id=user_id, k=LIST, explore=0), context).items
        looked += 1
        places += [
            (user_id, place)
            for place, item in enumerate(shown, 1)
            if item.item_id == item_id and item.source == "personal"
        ]
    return Audience(sorted(places, key=lambda found: found[1]), looked)
