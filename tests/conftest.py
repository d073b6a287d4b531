"""Small, lopsided logs: 30 users and 20 items, so that swapped axes fail."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import settings

from palate.data.catalogue import Catalogue
from palate.data.interactions import Interactions
from palate.data.vocabulary import Id, Vocabulary

USERS, ITEMS = 30, 20

settings.register_profile("palate", deadline=None)  # a first call compiles
settings.load_profile("palate")


def log_of(events: list[tuple[Id, Id, float, int]]) -> Interactions:
    """Build a log from (user, item, weight, day) events."""
    users = Vocabulary.of([event[0] for event in events])
    items = Vocabulary.of([event[1] for event in events])
    return Interactions.of(
        users,
        items,
        users.codes([event[0] for event in events]),
        items.codes([event[1] for event in events]),
        np.array([event[2] for event in events], np.float32),
        np.array([event[3] for event in events], np.int64) * 86_400_000_000,
    )


def block_events(seed: int = 0) -> list[tuple[Id, Id, float, int]]:
    """Two groups that never meet: 18 people and 12 items, 12 people and 8 items; each person has seen half."""
    rng = np.random.default_rng(seed)
    events: list[tuple[Id, Id, float, int]] = []
    for user in range(USERS):
        own = np.arange(12) if user < 18 else np.arange(12, ITEMS)
        for day, item in enumerate(rng.permutation(own)[: len(own) // 2]):
            events.append((f"u{user}", f"i{item}", 1.0, day))
    return events


def catalogue_of(log: Interactions) -> Catalogue:
    """A title for each item of a log: its group among the blocks, its id, and whether its number is odd."""
    titles = []
    for item in log.items.ids.to_list():
        number = int("".join(filter(str.isdecimal, str(item))) or 0)
        titles.append(f"{'first' if number < 12 else 'second'} group, {item}, {'odd' if number % 2 else 'even'}")
    return Catalogue(log.items, pl.DataFrame({"item_id": log.items.ids, "title": titles}))


@pytest.fixture
def block_log() -> Interactions:
    return log_of(block_events())
