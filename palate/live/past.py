"""The log that a version of the model was fitted to, with the events of users that were forgotten since."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import polars as pl

from palate.data.event_types import EventType
from palate.data.interactions import Interactions
from palate.data.vocabulary import Vocabulary
from palate.store.activity import newest_users
from palate.store.events import Store
from palate.store.scan import Names
from palate.store.schema import Row

NEWCOMERS, THEIRS = 100, 100  # users, and events of each, at most


def newcomers(store: Store, past: Interactions, weights: Mapping[str, float]) -> Interactions | None:
    """Return events of the newest users who are not in a log; None where all of them are."""
    newest = newest_users(store, NEWCOMERS)
    known = past.users.codes(newest) >= 0
    new = [name for name, seen in zip(newest, known, strict=True) if not seen]
    events = [each for name in new for each in store.events(name, THEIRS)]
    if not events:
        return None
    users, items = Vocabulary.of(new), Vocabulary.of(dict.fromkeys(each.item_id for each in events))
    weight = [
        EventType.of(each.event_type, weights).weight * (1 if each.weight is None else each.weight) for each in events
    ]
    user, item = users.codes([each.user_id for each in events]), items.codes([each.item_id for each in events])
    return Interactions.of(users, items, user, item, np.array(weight, np.float32))


def with_rows(
    store: Store, rows: Sequence[Row], last: int, weights: Mapping[str, float]
) -> tuple[Interactions, set[str]]:
    """Return the events of a store up to a `seq`, with rows that are no longer there, and the users of these.

    rows  number of the forgetting, user within it, item_no, type_no, moment, weight, seq; users get names of no user
    """
    log = store.log(weights, last=last)
    mark = secrets.token_hex(16)
    user = [f"{mark} {row[0]} {row[1]}" for row in rows]
    with store.database.reading() as connection:
        items, types = (Names.read(store.database, connection, name) for name in ("item_no", "type_no"))
    item = items.rows(np.array([row[2] for row in rows], np.int32))
    kind = types.rows(np.array([row[3] for row in rows], np.int32))
    own = np.array([1.0 if row[5] is None else row[5] for row in rows], np.float32)
    own *= np.array([EventType.of(name, weights).weight for name in types.ids], np.float32)[kind]
    names = Vocabulary.of(user)
    moments = np.array([row[4] for row in rows], np.int64)
    theirs = Interactions.of(
        names,
        Vocabulary(items.ids),
        names.codes(user),
        item,
        own,
        moments,
        kind.astype(np.int16),
        tuple(types.ids),
    )
    used = np.bincount(item, minlength=len(items.ids)) > 0
    known = Vocabulary(items.ids.filter(pl.Series(used)))
    compact = replace(theirs, items=known, item=known.recode(theirs.items)[theirs.item])
    return log.merge(compact) if len(log) else compact, set(names.ids)
