"""Who would get an item: people whose list has it, found by asking for their lists."""

from __future__ import annotations

from dataclasses import dataclass
from time import monotonic, sleep

from palate.live.asking import Asked, Place
from palate.live.service import Live
from palate.store.activity import newest_users

PEOPLE = 1000  # the newest, who are asked for
SECONDS = 0.7  # after which those who are left are not looked at
LIST = 10


@dataclass(frozen=True)
class Audience:
    """People in whose list an item is, the highest place first, of so many `looked` at; `total` could have been."""

    people: list[tuple[str, int, Place]]
    looked: int
    total: int


def audience(live: Live, item_id: str) -> Audience:
    """Look through the lists of the newest people, for a bounded time."""
    began, people = monotonic(), newest_users(live.store, PEOPLE)
    found: list[tuple[str, int, Place]] = []
    looked = 0
    for user_id in people:
        if monotonic() - began > SECONDS:
            break
        looked += 1
        for rank, place in enumerate(live.recommend(Asked(user_id=user_id, k=LIST)).items, 1):
            if place.item_id == item_id:
                found.append((user_id, rank, place))
        sleep(0)  # lets the event loop in: who asks for a list comes first
    return Audience(sorted(found, key=lambda each: each[1]), looked, len(people))
