"""Small logs and catalogues to check recipes with: 30 users and 20 items, so that swapped axes fail."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import polars as pl

from palate.data.catalogue import Catalogue
from palate.data.interactions import Interactions
from palate.data.vocabulary import Id, Vocabulary

USERS, ITEMS = 30, 20
FIRST_USERS, FIRST_ITEMS = 18, 12  # of the first of two groups

Events: TypeAlias = list[tuple[Id, Id, float, int]]  # user, item, weight, day


def log_of(events: Sequence[tuple[Id, Id, float, int]]) -> Interactions:
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


def block_events(seed: int = 0) -> Events:
    """Return events of two separate groups, 18 users with 12 items and 12 with 8; each user has seen half."""
    rng = np.random.default_rng(seed)
    events: Events = []
    for user in range(USERS):
        own = np.arange(FIRST_ITEMS) if user < FIRST_USERS else np.arange(FIRST_ITEMS, ITEMS)
        for day, item in enumerate(rng.permutation(own)[: len(own) // 2]):
            events.append((f"u{user}", f"i{item}", 1.0, day))
    return events


def catalogue_of(log: Interactions) -> Catalogue:
    """Give each item of a log a title: its group among the blocks, its id, and whether its number is odd."""
    titles = []
    for item in log.items.ids.to_list():
        number = int("".join(filter(str.isdecimal, str(item))) or 0)
        group = "first" if number < FIRST_ITEMS else "second"
        titles.append(f"{group} group, {item}, {'odd' if number % 2 else 'even'}")
    return Catalogue(log.items, pl.DataFrame({"item_id": log.items.ids, "title": titles}))


# Logs with hardly anything in them.
EDGES: dict[str, Events] = {
    "one event": [("u0", "i0", 1, 0)],
    "one user": [("u0", f"i{n}", 1, n) for n in range(5)],
    "one item": [(f"u{n}", "i0", 1, n) for n in range(5)],
    "everything seen": [(f"u{n}", f"i{m}", 1, m) for n in range(4) for m in range(3)],
    "the same event again": [*(("u0", "i0", 1, 0) for _ in range(4)), ("u1", "i1", 1, 0), ("u1", "i0", 1, 1)],
    "an item without weight": [("u0", "i0", 1, 0), ("u0", "i1", 0, 1), ("u1", "i1", 0, 1), ("u1", "i0", 1, 1)],
}


def extreme_logs(events: Events) -> dict[str, Events]:
    """Return the events with times and weights at the limits of float32."""
    rng = np.random.default_rng(0)
    return {
        "twenty years": [(user, item, weight, 1000 * day) for user, item, weight, day in events],
        "long gone": [(u, i, w, day - 15_000 * (u == "u3" or i == "i5")) for u, i, w, day in events],
        "faint": [(user, item, 1e-30, 1000 * day) for user, item, _, day in events],
        "weights from 1e-30 to 1e6": [(u, i, float(10 ** rng.uniform(-30, 6)), d) for u, i, _, d in events],
    }
