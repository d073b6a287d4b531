"""Forgetting: users leave a model, with what was learned from them, without a new training."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace
from weakref import WeakKeyDictionary

import numpy as np
import polars as pl

from palate.arrays import Longs
from palate.data.interactions import Interactions
from palate.data.vocabulary import Id, Vocabulary
from palate.models.base import Model
from palate.privacy import influence_items, influence_parts, influence_vectors
from palate.privacy.attacks import strength
from palate.privacy.distinguishing import area
from palate.privacy.influence import Left, Logs, counted, leave
from palate.privacy.receipts import Attack, Receipt, Removal, hashes_of, new_salt

__all__ = ["forget", "influence_items", "influence_parts", "influence_vectors"]

ATTACKED = 200  # users a side, at most

# Users that left a model of this process: a log that a caller goes on using may still hold them.
_before: WeakKeyDictionary[Model, frozenset[str]] = WeakKeyDictionary()


def forget(
    model: Model, log: Interactions, user_ids: Iterable[Id], unseen: Interactions | None = None
) -> tuple[Model, Receipt]:
    """Return the model without users, and a receipt; neither the model given nor the log is changed.

    log       the events that the model was fitted to, those of the users among them
    user_ids  many at once cost little more than one; unknown ones are ignored
    unseen    events of users that the model never saw: the receipt says how well those who left are told from them

    What the model keeps of the users alone, a vector, a history, a hash, is gone whatever its recipe. What it learned
    from them leaves exactly where the fit is sums over users (EASE, SLIST, ItemKNN, SessionKNN, Popularity, Content,
    InfiniteAE) or fast enough to be done again (IALS), approximately from Hybrid, and only by a new training of your
    own from what is trained step by step (Embedding, networks): the receipt says which, `how`, and at what
    `distance` from a model trained without them. Raises `DataError` for a log that the model was not fitted to.
    """
    asked = frozenset(Vocabulary.series(user_ids, "user_ids").drop_nulls().cast(pl.String))
    earlier = _before.get(model, frozenset())
    logs = Logs(_without(log, earlier), asked)
    known = model.known_users()
    removed = {"users": len(logs.rows), "events": _events(logs), "users with data of their own": len(asked & known)}
    bare = model.without(asked) if asked & known or _has(model.log, asked) else model
    left = _left(bare, logs) if len(logs.rows) else Left(bare, _nothing(model))
    attack = None if unseen is None else _attack(left.model, log, logs.rows, unseen)
    _before[left.model] = earlier | asked
    salt = new_salt()
    when = time.time_ns() // 1000
    return left.model, Receipt(
        replace(left.removal, attack=attack), counted(removed), when, salt, hashes_of(salt, asked)
    )


def _without(log: Interactions, users: frozenset[str]) -> Interactions:
    return log.without(users) if _has(log, users) else log


def _has(log: Interactions | None, users: frozenset[str]) -> bool:
    return bool(log is not None and users and (log.users.codes(sorted(users)) >= 0).any())


def _left(model: Model, logs: Logs) -> Left:
    if not logs.teach:
        rule = "no event of weight above 0 is left to learn from; delete the model"
        return Left(model, Removal(type(model.recipe).__name__, "retrain", None, rule))
    return leave(model.recipe, model, logs.on(model.items))


def _attack(model: Model, log: Interactions, gone: Longs, unseen: Interactions) -> Attack | None:
    """Attack the model, `ATTACKED` users a side at most; None where a side is empty."""
    sides = (log.select(np.isin(log.user, gone[:ATTACKED])), unseen.select(unseen.user < ATTACKED))
    inside, outside = (strength(model, each) if len(each) else np.zeros(0) for each in sides)
    if not len(inside) or not len(outside):
        return None
    return Attack(*area(inside, outside), len(inside), len(outside))


def _nothing(model: Model) -> Removal:
    return Removal(type(model.recipe).__name__, "exact", 0.0, "the log has no event of them")


def _events(logs: Logs) -> int:
    start = logs.before.start
    return int((start[logs.rows + 1] - start[logs.rows]).sum())
