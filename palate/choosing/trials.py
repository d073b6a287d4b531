"""Trials in child processes, each ended at its limits: whatever a fit does, the search goes on."""

from __future__ import annotations

import math
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, Queue
from threading import Thread

from palate.choosing.worker import Allowed, Fit, Grade, Outcome, Prepare
from palate.compute.threads import cores

TICK = 0.05  # seconds between two looks at the memory of children
MOST = 2  # children at once


@dataclass(frozen=True, eq=False)
class Job:
    """A request and the seconds that it may take."""

    request: Grade | Fit
    seconds: float = math.inf


def start_worker() -> subprocess.Popen[bytes]:
    """Start a process of `palate.choosing.worker`, in a session of its own: Ctrl-C reaches the parent alone."""
    return subprocess.Popen(
        [sys.executable, "-c", "from palate.choosing.worker import main; main()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(each for each in sys.path if each)},
    )


class Child:
    """One process with one job at a time; its outcome goes to a queue with this child."""

    def __init__(self, outcomes: Queue[tuple[Child, Outcome]]) -> None:
        self.job: Job | None = None
        self._outcomes = outcomes
        self._prepared: Prepare | None = None
        self._process = start_worker()
        Thread(target=self._read, daemon=True, name="outcomes").start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with suppress(EOFError, OSError, ValueError, pickle.UnpicklingError):
            while True:
                self._outcomes.put((self, pickle.load(self._process.stdout)))
        self._outcomes.put((self, Outcome.failed("its process ended by itself")))

    def begin(self, job: Job, prepare: Prepare | None) -> None:
        """Begin a job, with the split that it needs."""
        self.job, self._began = job, time.monotonic()
        if prepare is not None and prepare is not self._prepared:
            self._send(prepare)
            self._prepared = prepare
        self._send(job.request)

    def _send(self, request: object) -> None:
        assert self._process.stdin is not None
        with suppress(OSError):  # it is gone, which its outcome says
            pickle.dump(request, self._process.stdin, pickle.HIGHEST_PROTOCOL)
            self._process.stdin.flush()

    def beyond(self, memory: float) -> Outcome | None:
        """Return the outcome of a job that is beyond a limit, None for one that is not."""
        assert self.job is not None
        if self.seconds > self.job.seconds:
            why = f"it took more than its {self.job.seconds:.1f} s"
            return Outcome.failed(why, self.seconds, Allowed(seconds=self.job.seconds))
        if self._memory() > memory:
            why = f"it took more than {memory / 1e9:.1f} GB of memory"
            return Outcome.failed(why, self.seconds, Allowed(memory=memory))
        return None

    @property
    def seconds(self) -> float:
        """Seconds since the job began."""
        return time.monotonic() - self._began

    def _memory(self) -> int:
        """Bytes that the process holds, 0 where the system does not say."""
        with suppress(OSError, ValueError, IndexError):
            pages = Path(f"/proc/{self._process.pid}/statm").read_text(encoding="ascii").split()[1]
            return int(pages) * os.sysconf("SC_PAGE_SIZE")
        return 0

    def end(self) -> None:
        """End the process, whatever it does."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with suppress(OSError):
                pipe.close()


class Children:
    """Up to `MOST` processes for trials; `end` them.

    memory  bytes that each may hold
    pulse   called while jobs run, several times a second
    """

    def __init__(self, memory: float, pulse: Callable[[], None]) -> None:
        self.most = min(MOST, cores())
        self._memory, self._pulse = memory, pulse
        self._children: list[Child] = []
        self._outcomes: Queue[tuple[Child, Outcome]] = Queue()

    def end(self) -> None:
        """End all processes; the next job starts new ones."""
        for each in self._children:
            each.end()
        self._children.clear()

    def run(self, jobs: Sequence[Job], prepare: Prepare | None = None) -> list[Outcome]:
        """Run jobs side by side; the outcomes are in the order of the jobs."""
        waiting = list(enumerate(jobs))[::-1]
        found: dict[int, Outcome] = {}
        busy: dict[Child, int] = {}
        try:
            while waiting or busy:
                while waiting and len(busy) < self.most:
                    place, job = waiting.pop()
                    child = self._idle()
                    child.begin(job, prepare)
                    busy[child] = place
                for child, outcome in self._ended():
                    if child in busy:
                        found[busy.pop(child)] = outcome
        except BaseException:  # Ctrl-C among them: what runs is not wanted any more
            self.end()
            raise
        return [found[place] for place in range(len(jobs))]

    def _idle(self) -> Child:
        child = next((each for each in self._children if each.job is None), None)
        if child is None:
            child = Child(self._outcomes)
            self._children.append(child)
        return child

    def _ended(self) -> list[tuple[Child, Outcome]]:
        """Return the jobs that ended, or that are beyond their limits, which ends their processes."""
        ended = []
        with suppress(Empty):
            ended.append(self._outcomes.get(timeout=TICK))
        self._pulse()
        for child in [each for each in self._children if each.job is not None]:
            if child not in [each for each, _ in ended] and (outcome := child.beyond(self._memory)):
                ended.append((child, outcome))
        for child, outcome in ended:
            child.job = None
            if outcome.error and child in self._children:  # one that failed may hold anything
                child.end()
                self._children.remove(child)
        return ended
