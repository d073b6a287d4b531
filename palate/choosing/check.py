"""A check of a log before anything is fitted: what looks wrong in it, what splits leave, and which recipe suits."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from palate.choosing.facts import LogFacts
from palate.choosing.goals import Goal
from palate.data.catalogue import Catalogue
from palate.data.interactions import Interactions
from palate.data.splits import Split
from palate.data.times import DAY, HOUR, HOURS_AHEAD
from palate.errors import JoinWarning, PalateError

MANY, MINUTE = 100, 60_000_000  # more events of a user in a minute (microseconds) are hardly a person's
SMALL = 20_000  # items up to which EASE, whose matrix has all pairs, is quick
RECIPES = {"next": "slist", "taste": "ease", "new-items": "hybrid", "new-users": "slist"}


@dataclass(frozen=True)
class LogCheck:
    """Counts of what may be wrong in a log, and what can be done with it.

    duplicates     events that agree in user, item, type and time with an earlier one
    bots           users with more than `MANY` events within a minute; 0 where times are whole days
    future         events more than `HOURS_AHEAD` hours ahead of the clock
    single_users, single_items
                   those with one event
    unknown_items  items of the log that the catalogue lacks; unused_items, the reverse; None without a catalogue
    splits         what each way to split leaves, or why it cannot be
    """

    duplicates: int
    bots: int
    future: int
    single_users: int
    single_items: int
    unknown_items: int | None
    unused_items: int | None
    splits: Mapping[str, str]
    goal: str
    recipe: str

    @classmethod
    def of(
        cls, log: Interactions, catalogue: Catalogue | None, splits: Mapping[str, Callable[[Interactions], Split]]
    ) -> LogCheck:
        """Check a log, and what each of `splits` leaves of it."""
        facts = LogFacts.of(log, catalogue)
        goal = Goal.of(None, facts)
        recipe = "ials" if goal.name == "taste" and facts.items > SMALL else RECIPES[goal.name]
        known = None if catalogue is None else catalogue.items.recode(log.items) >= 0
        used = None if catalogue is None else log.items.recode(catalogue.items) >= 0
        time = log.timestamp
        return cls(
            duplicates=_duplicates(log),
            bots=_bots(log),
            future=0 if time is None else int((time > log.read_at + HOURS_AHEAD * HOUR).sum()),
            single_users=int((np.diff(log.start) == 1).sum()),
            single_items=int((log.item_counts() == 1).sum()),
            unknown_items=None if known is None else int((~known).sum()),
            unused_items=None if used is None else int((~used).sum()),
            splits={name: _left(log, cut) for name, cut in splits.items()},
            goal=f"{goal.meaning}: {goal.why}",
            recipe=recipe,
        )


def _duplicates(log: Interactions) -> int:
    columns = {"user": log.user, "item": log.item, "time": log.timestamp, "type": log.event}
    frame = pl.DataFrame({name: column for name, column in columns.items() if column is not None})
    return len(log) - frame.n_unique()


def _bots(log: Interactions) -> int:
    time = log.timestamp
    if time is None or len(log) <= MANY or (time % DAY == 0).all():
        return 0
    quick = (time[MANY:] - time[:-MANY] <= MINUTE) & (log.user[MANY:] == log.user[:-MANY])
    return len(np.unique(log.user[MANY:][quick]))


def _left(log: Interactions, cut: Callable[[Interactions], Split]) -> str:
    """Say what a split leaves, or why it cannot be."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", JoinWarning)
            split = cut(log)
    except PalateError as error:
        return f"none: {error}"
    test = split.test
    return f"{len(split.train):,} events in train, {len(test):,} events of {len(test.users):,} users in test"
