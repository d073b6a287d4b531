"""The journal of trials: what a search has found and how long it took, in an SQLite file that survives a kill."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import time
from os import PathLike
from typing import Any

import numpy as np

from palate.choosing.costs import Cost
from palate.choosing.worker import Allowed, Outcome
from palate.data.catalogue import Catalogue
from palate.data.interactions import Interactions
from palate.errors import DataError
from palate.models.base import Recipe

FORMAT = 2
# Format 1 does not say what a trial was allowed that was ended at a limit: such trials are tried again.
FROM_1 = """
alter table trials add column seconds_allowed real;
alter table trials add column memory_allowed real;
delete from trials where error like 'it took more than%';
"""
TABLES = """
create table if not exists searches (task text primary key, spent real not null);
create table if not exists trials (
  task text not null, part integer not null, recipe text not null, seconds real not null, memory real not null,
  list_ms real not null, error text not null, metric blob not null, seconds_allowed real, memory_allowed real,
  primary key (task, part, recipe)
);
"""


class Journal:
    """Trials of one task by the part of the log and the recipe; without a file they are kept in memory.

    began  `time.monotonic()` when the search began

    A task is a log, a catalogue and what is asked of them: trials of another one are not seen.
    """

    def __init__(self, file: str | PathLike[str] | None, task: str, began: float) -> None:
        self._task, self._began = task, began
        try:
            self._database = sqlite3.connect(":memory:" if file is None else file, isolation_level=None)
            self._database.execute("pragma journal_mode=wal")
            version = self._database.execute("pragma user_version").fetchone()[0]
            if version not in (0, 1, FORMAT):
                raise DataError(f"{file}: journal of format {version}; this version of palate reads 1 and {FORMAT}")
            steps = FROM_1 if version == 1 else TABLES
            self._database.executescript(f"begin; {steps} pragma user_version={FORMAT}; commit;")
            self._database.execute("insert or ignore into searches values (?, 0)", (task,))
        except sqlite3.DatabaseError as error:
            raise DataError(f"{file}: cannot be used as a journal: {error}") from None
        found = self._one("select spent from searches where task = ?", task)
        self._before = 0.0 if found is None else float(found[0])

    def close(self) -> None:
        """Note the time spent, and close the file."""
        self.beat()
        self._database.close()

    @property
    def spent(self) -> float:
        """Seconds that the search has taken, those before a kill among them."""
        return self._before + time.monotonic() - self._began

    def beat(self) -> None:
        """Note the time spent."""
        self._database.execute("update searches set spent = ? where task = ?", (self.spent, self._task))

    def find(self, part: int, recipe: Recipe, allowed: Allowed) -> Outcome | None:
        """Return the outcome of a trial, None where there is none, or it was ended at less than is allowed now."""
        row = self._one(
            "select seconds, memory, list_ms, error, metric, seconds_allowed, memory_allowed from trials"
            " where task = ? and part = ? and recipe = ?",
            self._task,
            part,
            text_of(recipe),
        )
        found = None if row is None else _outcome(*row)
        return found if found is not None and found.holds(allowed) else None

    def add(self, part: int, recipe: Recipe, outcome: Outcome) -> None:
        """Keep the outcome of a trial."""
        ended_at = outcome.ended_at or (None, None)
        row = (*outcome.cost, outcome.error, outcome.values.astype("<f8").tobytes(), *ended_at)
        self._database.execute(
            "insert or replace into trials values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (self._task, part, text_of(recipe), *row),
        )

    def _one(self, query: str, *values: object) -> tuple[Any, ...] | None:
        return self._database.execute(query, values).fetchone()  # type: ignore[no-any-return]


def _outcome(seconds: float, memory: float, ms: float, error: str, metric: bytes, *ended_at: float) -> Outcome:
    unfinished = None if ended_at[0] is None else Allowed(*ended_at)
    return Outcome(np.frombuffer(metric, "<f8").copy(), Cost(seconds, memory, ms), error, unfinished)


def text_of(recipe: Recipe) -> str:
    """Return name and settings of a recipe as JSON: recipes of the same text are the same."""
    return json.dumps(recipe.as_dict(), sort_keys=True, default=str)


def task_of(log: Interactions, catalogue: Catalogue | None, *asked: object) -> str:
    """Return a checksum of a log, a catalogue and what is asked."""
    sums = hashlib.blake2b(digest_size=16)
    arrays = (log.start, log.item, log.weight, log.timestamp, log.event)
    for each in arrays:
        sums.update(b"" if each is None else np.ascontiguousarray(each).view(np.uint8).data)
    frames = [each.ids.to_frame() for each in (log.users, log.items)]
    for frame in frames if catalogue is None else [*frames, catalogue.frame]:
        sums.update(frame.write_ipc(None).getbuffer())
    sums.update(json.dumps(asked, default=str).encode())
    return sums.hexdigest()
