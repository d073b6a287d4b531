"""The journal of trials: what a search has found and how long it took, in an SQLite file that survives a kill."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import time
from contextlib import ExitStack, suppress
from os import PathLike
from typing import Any

import numpy as np

from palate.choosing.costs import Cost
from palate.choosing.worker import Allowed, Outcome
from palate.data.catalogue import Catalogue
from palate.data.interactions import Interactions
from palate.errors import DataError, SettingError
from palate.models.base import Recipe
from palate.models.registry import rebuilt

FORMAT = 2
TABLES = """
create table if not exists searches (task text primary key, spent real not null);
create table if not exists trials (
  task text not null, part text not null, recipe text not null, seconds real not null, memory real not null,
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
            with ExitStack() as refused:
                refused.callback(self._database.close)
                self._prepare(file)
                refused.pop_all()
        except sqlite3.DatabaseError as error:
            raise DataError(f"{file}: cannot be used as a journal: {error}") from None
        found = self._one("select spent from searches where task = ?", task)
        self._before = 0.0 if found is None else float(found[0])

    def _prepare(self, file: str | PathLike[str] | None) -> None:
        """Make the tables where they are missing. Raises `DataError` for a file of another format."""
        self._database.execute("pragma journal_mode=wal")
        version = self._database.execute("pragma user_version").fetchone()[0]
        if version not in (0, FORMAT):
            raise DataError(f"{file}: journal of format {version}; this version of palate reads format {FORMAT}")
        self._database.executescript(f"begin; {TABLES} pragma user_version={FORMAT}; commit;")
        self._database.execute("insert or ignore into searches values (?, 0)", (self._task,))

    def close(self) -> None:
        """Note the time spent, and close the file."""
        self.beat()
        self._database.close()

    @property
    def spent(self) -> float:
        """Seconds that the search has taken, those before a kill among them."""
        return self._before + time.monotonic() - self._began

    def spare(self, seconds: float) -> None:
        """Leave these seconds out of those spent."""
        self._began += seconds

    def beat(self) -> None:
        """Note the time spent."""
        self._database.execute("update searches set spent = ? where task = ?", (self.spent, self._task))

    def find(self, part: str, recipe: Recipe, allowed: Allowed) -> Outcome | None:
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

    def finished(self, part: str) -> list[tuple[Recipe, Outcome]]:
        """Return the trials of a part that were not ended at a limit, in their order."""
        rows = self._database.execute(
            "select recipe, seconds, memory, list_ms, error, metric, seconds_allowed, memory_allowed from trials"
            " where task = ? and part = ? and seconds_allowed is null order by rowid",
            (self._task, part),
        ).fetchall()
        return [(rebuilt(json.loads(row[0])), _outcome(*row[1:])) for row in rows]

    def add(self, part: str, recipe: Recipe, outcome: Outcome) -> None:
        """Keep the outcome of a trial."""
        ended_at = outcome.ended_at or (None, None)
        row = (*outcome.cost, outcome.error, outcome.values.astype("<f8").tobytes(), *ended_at)
        self._database.execute(
            "insert or replace into trials values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (self._task, part, text_of(recipe), *row),
        )

    def earlier(self) -> list[tuple[Recipe, float]]:
        """Return recipes that searches of other logs tried, each with its metric over the best of its search."""
        rows = self._database.execute(
            "select task, part, recipe, metric from trials where task != ? and error = ''", (self._task,)
        ).fetchall()
        means = [float(np.frombuffer(metric, "<f8").mean()) for *_, metric in rows]
        best: dict[tuple[str, str], float] = {}
        for (task, part, *_), mean in zip(rows, means, strict=True):
            best[task, part] = max(mean, best.get((task, part), 0.0))
        found = []
        for (task, part, recipe, _), mean in zip(rows, means, strict=True):
            about = json.loads(recipe)
            with suppress(LookupError, TypeError, SettingError):  # of a version that knows other settings
                if best[task, part] > 0:
                    found.append((rebuilt(about), mean / best[task, part]))
        return found

    def keep(self, searches: int) -> None:
        """Forget all but the newest searches."""
        newest = "select task from searches order by rowid desc limit ?"
        for table in ("trials", "searches"):
            self._database.execute(f"delete from {table} where task not in ({newest})", (searches,))

    def _one(self, query: str, *values: object) -> tuple[Any, ...] | None:
        found: tuple[Any, ...] | None = self._database.execute(query, values).fetchone()
        return found


def _outcome(
    seconds: float, memory: float, ms: float, error: str, metric: bytes, most: float | None, most_memory: float | None
) -> Outcome:
    unfinished = None if most is None or most_memory is None else Allowed(most, most_memory)
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
