"""The audience of an item among the users with the newest events; their lists are made in blocks."""

from __future__ import annotations

from dataclasses import dataclass
from time import monotonic

import numpy as np
import polars as pl

from palate.data.histories import Histories
from palate.data.ragged import NEVER, Ragged
from palate.live.history import StoredHistory
from palate.live.service import Live
from palate.ranking.context import Context
from palate.store.activity import newest_users

USERS = 1000  # those with the newest events
SECONDS = 0.5  # of reading histories; later users are left out
LIST = 10


@dataclass(frozen=True)
class Audience:
    """Users whose list has an item, with its position, best first; `looked` counts the users examined."""

    users: list[tuple[str, int]]
    looked: int


def audience(live: Live, item_id: str) -> Audience:
    """Look for an item in the first ten items of the model for the newest users, within bounded work."""
    began = monotonic()
    past: dict[str, StoredHistory] = {}
    for user_id in newest_users(live.store, USERS):
        if monotonic() - began > SECONDS:
            break
        past[user_id] = live.history(user_id)
    snapshot = live.snapshot()  # taken after the histories, so that it has all of their items
    position, model = snapshot.index.position(item_id), snapshot.active.model
    row = -1 if position < 0 else int(snapshot.index.row[position])
    if row < 0 or not past:
        return Audience([], len(past))
    histories = _histories(snapshot.context, past)
    found = np.full((len(past), LIST), -1)
    for low in range(0, len(past), model.batch_size()):
        block = histories.block(low, min(low + model.batch_size(), len(past)))
        k = min(LIST, len(model.items))
        found[low : low + model.batch_size(), :k] = model.top(block, k, snapshot.masks.rows, False)[0]
    found[histories.rows.positives == 0] = -1  # their list is by popularity
    user, place = np.nonzero(found == row)
    names = list(past)
    return Audience(sorted(zip([names[n] for n in user], (place + 1).tolist(), strict=True), key=_place), len(past))


def _place(found: tuple[str, int]) -> int:
    return found[1]


def _histories(context: Context, past: dict[str, StoredHistory]) -> Histories:
    """Return the histories over the rows of the model; items seen before the stored events have weight 0."""
    start, columns, weights, times = [0], [], [], []
    for each in past.values():
        before = each.before
        position = context.index.at(np.concatenate([before, each.item]))
        row = np.where(position < 0, np.int32(-1), context.index.row[position])
        kept = row >= 0
        columns.append(row[kept])
        weights.append(np.concatenate([np.zeros(len(before), np.float32), each.weight])[kept])
        times.append(np.concatenate([np.full(len(before), NEVER), each.time])[kept])
        start.append(start[-1] + len(columns[-1]))
    column = np.concatenate(columns).astype(np.int32)
    rows = Ragged(np.array(start), column, np.concatenate(weights), np.concatenate(times))
    return Histories(pl.Series("user", list(past)), context.model.items, rows)
