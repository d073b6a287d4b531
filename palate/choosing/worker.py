"""The child process of a trial: it fits recipes and measures them, one after the other, until its parent is gone.

It reads requests from its standard input and answers on its standard output, both pickled: the two ends are one
program. Other than a process of `multiprocessing`, it does not run the user's script again.
"""

from __future__ import annotations

import math
import os
import pickle
import signal
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import BinaryIO, NamedTuple

import numpy as np

from palate.arrays import Doubles
from palate.choosing.costs import Cost
from palate.compute.memory import release_memory
from palate.compute.threads import one_thread
from palate.data.catalogue import Catalogue
from palate.data.histories import Histories
from palate.data.interactions import Interactions
from palate.data.splits import Split
from palate.errors import PalateError
from palate.evaluation.protocol import Exam
from palate.kernels.clock import clock, compile_seconds
from palate.models.base import Model, Recipe

POPULARITY = "Popularity"
MORE = 1.5  # times what a trial was ended at that it must be allowed to be tried again
SHORT = 0.05  # CPU seconds from which on a fit says how busy the machine is
LISTS = 30  # users whose lists are timed one by one
STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class Allowed(NamedTuple):
    """What a trial may take: seconds and bytes."""

    seconds: float = math.inf
    memory: float = math.inf

    def more_than(self, other: Allowed) -> bool:
        """Whether it is clearly more: a trial that ended at a limit does not end there again for a second more."""
        return self.seconds > MORE * other.seconds or self.memory > MORE * other.memory


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a trial found: the metric of each user asked, (B,), and what the fit cost; or why it ended.

    load      seconds of the fit over those of its CPU, 0 where it was too short to say
    compiling  seconds for which kernels were compiled, as once after an installation
    ended_at  where it was ended at a limit, what it was allowed of that: it is unfinished, and may be tried with more
    """

    values: Doubles
    cost: Cost
    error: str = ""
    ended_at: Allowed | None = None
    load: float = 0.0
    compiling: float = 0.0

    @classmethod
    def failed(cls, why: str, seconds: float = 0.0, ended_at: Allowed | None = None) -> Outcome:
        """Say why there is nothing."""
        return cls(np.zeros(0), Cost(seconds, 0.0, 0.0), why, ended_at)

    def holds(self, allowed: Allowed) -> bool:
        """Whether a trial that is allowed this much would end no better: it finished, or was ended at no less."""
        return self.ended_at is None or not allowed.more_than(self.ended_at)

    @property
    def mean(self) -> float:
        """Mean of the metric, below every other one for a trial that failed."""
        return float(self.values.mean()) if len(self.values) else -math.inf


@dataclass(frozen=True, eq=False)
class Prepare:
    """The request to take a split for the trials that follow."""

    split: Split
    catalogue: Catalogue | None
    keep_seen: bool = False


@dataclass(frozen=True)
class Grade:
    """The request to fit a recipe to the split and measure it; with `live` its lists must follow events at once."""

    recipe: Recipe
    metric: str
    live: bool = False


@dataclass(frozen=True, eq=False)
class Fit:
    """The request to fit a recipe to a whole log, by all cores or one, and to save the model."""

    recipe: Recipe
    log: Interactions
    catalogue: Catalogue | None
    folder: str
    alone: bool = False  # on one thread


class Trials:
    """What a worker does: the split that it has taken, and the outcomes of requests."""

    def __init__(self) -> None:
        self._exam: Exam | None = None
        self._catalogue: Catalogue | None = None

    def prepare(self, request: Prepare) -> None:
        """Take a split."""
        self._exam, self._catalogue = Exam.of(request.split, keep_seen=request.keep_seen), request.catalogue

    def outcome(self, request: Grade | Fit) -> Outcome:
        """Do what is asked; whatever a fit raises is an outcome that failed."""
        before = compile_seconds()
        return replace(self._outcome(request), compiling=compile_seconds() - before)

    def _outcome(self, request: Grade | Fit) -> Outcome:
        try:
            if isinstance(request, Grade):
                return self._grade(request)
            return self._fit(request)
        except MemoryError as error:
            return Outcome.failed(f"out of memory: {error}")
        except PalateError as error:
            return Outcome.failed(str(error))
        except Exception as error:  # a recipe of others may raise anything
            return Outcome.failed(f"{type(error).__name__}: {error}")

    def _grade(self, request: Grade) -> Outcome:
        exam = self._exam
        assert exam is not None
        k = int(request.metric.partition("@")[2])
        with one_thread():
            model, cost, load = measured(lambda: request.recipe.fit(exam.split.train, self._catalogue))
            if request.live and not follows(model, exam.split.train):
                return Outcome.failed("its lists do not follow a new event before the next training", cost.seconds)
            report = exam.grade(model, k)
            values = np.asarray(report.per_user[request.metric], np.float64)
            return Outcome(values, cost._replace(list_ms=list_ms(model, exam.histories)), load=load)

    def _fit(self, request: Fit) -> Outcome:
        with one_thread() if request.alone else nullcontext():
            model, cost, _ = measured(lambda: request.recipe.fit(request.log, request.catalogue))
        model.save(request.folder)
        users = request.log.users.ids.head(LISTS)
        return Outcome(np.zeros(0), cost._replace(list_ms=list_ms(model, request.log.histories(users))))


def measured(fit: Callable[[], Model]) -> tuple[Model, Cost, float]:
    """Return a fitted model, CPU seconds and memory of the fit, and the load; a list's time is not known yet."""
    release_memory()
    before = _status("VmRSS")
    if CLEAR.exists():
        CLEAR.write_text("5")  # the peak counts from here
    began, cpu, worked = time.perf_counter(), time.process_time(), clock()
    model = fit()
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    own = cpu * (clock() - worked) / seconds  # without what kernels took to compile
    return model, Cost(own, max(0, _status("VmHWM") - before), 0.0), seconds / cpu if cpu > SHORT else 0.0


def follows(model: Model, log: Interactions) -> bool:
    """Whether lists change with the last event of a history; those of popularity are the same for all, and may."""
    if type(model.recipe).__name__ == POPULARITY:
        return True
    users = log.users.ids.gather(np.flatnonzero(np.diff(log.start) > 1)[:LISTS])
    if not len(users):
        return True
    past = log.histories(users)
    rows = [past.rows.column[a:b] for a, b in pairwise(past.rows.start.tolist())]
    ids = log.items.ids
    shorter = [ids.gather(row[:-1]).to_list() for row in rows]
    whole = [ids.gather(row).to_list() for row in rows]
    return any(
        not np.array_equal(model.recommend([a], keep_seen=True).item, model.recommend([b], keep_seen=True).item)
        for a, b in zip(shorter, whole, strict=True)
    )


def _status(field: str) -> float:
    """Bytes of a field of this process's status, 0 where the system has none."""
    if not STATUS.exists():
        return 0.0
    return next(
        (1024.0 * int(line.split()[1]) for line in STATUS.read_text().splitlines() if line.startswith(field)), 0
    )


def list_ms(model: Model, asked: Histories) -> float:
    """Milliseconds of a list of 10 for one user: the median of `LISTS`."""
    histories = model.histories(asked)
    blocks = [histories.block(n, n + 1) for n in range(min(LISTS, len(histories)))]
    model.recommend(blocks[0])  # what is made at the first list is not counted
    seconds = []
    for each in blocks:
        began = time.perf_counter()
        model.recommend(each)
        seconds.append(time.perf_counter() - began)
    return 1000 * float(np.median(seconds))


def requests(source: BinaryIO) -> Queue[Prepare | Grade | Fit]:
    """Read requests in a thread, and end this process when its parent is gone: a fit may take minutes."""
    waiting: Queue[Prepare | Grade | Fit] = Queue()

    def read() -> None:
        try:
            while True:
                waiting.put(pickle.load(source))
        except (EOFError, OSError):
            os._exit(0)

    Thread(target=read, daemon=True, name="requests").start()
    return waiting


def main() -> None:
    """Answer requests."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent
    warnings.simplefilter("ignore")
    waiting, trials = requests(sys.stdin.buffer), Trials()
    with os.fdopen(os.dup(1), "wb") as answers:
        os.dup2(2, 1)  # what a library prints is no answer
        while True:
            request = waiting.get()
            if isinstance(request, Prepare):
                trials.prepare(request)
                continue
            pickle.dump(trials.outcome(request), answers)
            answers.flush()
