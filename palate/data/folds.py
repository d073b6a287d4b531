"""Folds of a log for cross-validation: several splits, so that more than one part of the log is predicted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

import numpy as np

from palate.data.interactions import Interactions
from palate.data.splits import FOLD_IN, TEST, TRAIN, Split, cut, share_of_each
from palate.errors import DataError, check, whole

By: TypeAlias = Literal["users", "time"]


def folds_of_users(log: Interactions, folds: int = 5, held_out: float = 0.2, seed: int = 0) -> list[Split]:
    """Deal the users into folds: each in turn is left out of train, and a random share of its events is the test.

    Users with one event stay in train. Raises `DataError` for fewer users with two events or more than folds.
    """
    whole("folds", folds, 2)
    check(0 < held_out < 1, "held_out", held_out, "is a share, above 0 and below 1")
    rng = np.random.default_rng(whole("seed", seed, 0))
    able = np.flatnonzero(np.diff(log.start) >= 2)
    if len(able) < folds:
        raise DataError(
            f"{log!r}: {len(able):,} users have two events or more; {folds} folds need {folds} such users"
        )
    group = np.full(len(log.users), -1)
    group[rng.permutation(able)] = np.arange(len(able)) % folds
    guessed = share_of_each(log.user, held_out, rng, at_least=1)
    home = group[log.user]
    splits = []
    for n in range(folds):
        part = np.where(home == n, np.where(guessed, TEST, FOLD_IN), TRAIN).astype(np.int8)
        kind = f"fold {n + 1} of {folds} of the users, {held_out:.0%} of their events are the test (seed {seed})"
        splits.append(cut(log, part, kind, valid=False, promise="cold users"))
    return splits


def folds_of_time(log: Interactions, folds: int = 5) -> list[Split]:
    """Cut the log into folds + 1 parts of equal size by time: each but the first is predicted from all before it.

    Events of the same time stay together. Raises `DataError` for a log without times, or with too few of them.
    """
    whole("folds", folds, 2)
    if log.timestamp is None:
        raise DataError(f"{log!r}: folds of time need times; take folds of users, or read a time column")
    time = log.timestamp
    ordered = np.sort(time)
    begin = ordered[np.arange(1, folds + 1) * len(ordered) // (folds + 1)]
    if begin[0] == ordered[0] or (np.diff(begin) == 0).any():
        raise DataError(f"{log!r}: too few different times for {folds} folds")
    splits = []
    for n, (low, high) in enumerate(zip(begin, [*begin[1:], ordered[-1] + 1], strict=True), 1):
        before = log.select(time < high)
        part = np.where(time[time < high] >= low, TEST, TRAIN).astype(np.int8)
        splits.append(
            cut(before, part, f"fold {n} of {folds} by time, from all before it", valid=False, promise="time")
        )
    return splits


FOLDS: dict[By, Callable[[Interactions, int], list[Split]]] = {"users": folds_of_users, "time": folds_of_time}
