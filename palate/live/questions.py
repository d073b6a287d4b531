"""What a new model is asked before it answers: a newest part of the log that can be asked about."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from palate.arrays import Longs
from palate.data.interactions import Interactions
from palate.data.splits import Split, split_by_time, split_ratio
from palate.errors import DataError
from palate.evaluation.protocol import Exam

SHARE = 0.1  # of what can be asked about, which a newest part has to ask for
ENOUGH = 200  # new events that can be asked about, on which the active model is measured as it is
FEW = 20  # which even of a small log a newest part has to ask for, up to a quarter
ASKED = 50  # of them that the cut has to ask for


def until_now(log: Interactions, now: int) -> Interactions:
    """Return the log with times that are still to come as now, so that they decide nothing."""
    return log if log.timestamp is None else replace(log, timestamp=np.minimum(log.timestamp, now))


def new_part(log: Interactions, until: int) -> Exam | None:
    """Cut in the middle of what can be asked about after a time; None if that is too little."""
    if log.timestamp is None:
        return None
    askable = Askable.of(log)
    new = np.sort(askable.time[askable.time > until])
    if len(new) < ENOUGH:
        return None
    middle = new[len(new) // 2 : len(new) // 2 + 1]
    return _cut(log, int(middle[0])) if askable.asked_at(middle)[0] >= ASKED else None


def newest_part(log: Interactions) -> Exam | None:
    """Take the newest part that asks for enough, else the one that asks for the most; None if none asks anything.

    However many events came last that ask nothing, the part begins before them.
    """
    if log.timestamp is not None:
        askable = Askable.of(log)
        moments = np.unique(askable.time)
        asked = askable.asked_at(moments)
        if asked.any():
            enough = moments[asked >= max(SHARE * len(askable.time), min(FEW, len(askable.time) / 4))]
            return _cut(log, int(enough[-1] if len(enough) else moments[np.argmax(asked)]))
    return _exam(lambda: split_ratio(log, test=SHARE))  # no cut by time asks anything: all events may have one time


@dataclass(frozen=True, eq=False)
class Askable:
    """The A events that a cut by time may ask about: of liked items, and the first of a user on an item.

    time (A,) of the event; known (A,): since when both its user and its item are known, which is before its time
    """

    time: Longs
    known: Longs

    @classmethod
    def of(cls, log: Interactions) -> Askable:
        """Find them in a log with times."""
        time = pl.col("time")
        events = pl.DataFrame({"user": log.user, "item": log.item, "time": log.timestamp, "liked": log.liked})
        known = pl.max_horizontal(time.min().over("user"), time.min().over("item"))
        first = time == time.min().over("user", "item")
        found = events.select("time", known=known, asks=first & (time > known) & pl.col("liked"))
        found = found.filter("asks")
        return cls(found["time"].to_numpy(), found["known"].to_numpy())

    def asked_at(self, moments: Longs) -> Longs:
        """How many a cut at each moment (M,) asks about, (M,): those at or after it that were known before it."""
        known, past = (np.searchsorted(np.sort(column), moments) for column in (self.known, self.time))
        return known - past


def _cut(log: Interactions, moment: int) -> Exam | None:
    """Return what the events at or after a moment ask."""
    assert log.timestamp is not None
    share = float(np.mean(log.timestamp >= moment))
    return _exam(lambda: split_by_time(log, test=share))


def _exam(split: Callable[[], Split]) -> Exam | None:
    try:
        return Exam.of(split())
    except DataError:  # it asks nothing
        return None
