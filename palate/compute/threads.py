"""Threads over compiled kernels: their number is the fastest that was measured."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager, suppress
from math import inf
from queue import Empty, SimpleQueue
from threading import Thread
from types import TracebackType
from typing import Any, TypeVar

from threadpoolctl import threadpool_limits

T = TypeVar("T")
TRIALS = 3  # timed slices for each number of threads


class Limit:
    """Threads that fits of this process may use beside its cores, and what is undone where the limit ends."""

    threads = 1 << 20
    undone: ExitStack | None = None


def cores() -> int:
    """Cores that this process may use."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(available, Limit.threads)


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep all fits of this process to one thread, those of recipes within a recipe and BLAS, too."""
    before = Limit.threads, Limit.undone
    with ExitStack() as undone:
        Limit.threads, Limit.undone = 1, undone
        limit_loaded()
        try:
            yield
        finally:
            Limit.threads, Limit.undone = before


def limit_loaded() -> None:
    """Keep libraries that were loaded since to one thread, where that is the limit."""
    if Limit.undone is not None:
        Limit.undone.enter_context(threadpool_limits(1))


class Pool:
    """Threads that no process waits for at its end, as it does for those of a `ThreadPoolExecutor`.

    After Ctrl-C one may be compiling a kernel, for half a minute.
    """

    def __init__(self, most: int) -> None:
        self.jobs: SimpleQueue[tuple[Future[Any], Callable[..., Any], tuple[Any, ...]] | None] = SimpleQueue()
        self.most: int = most
        self.threads: list[Thread] = []

    def submit(self, work: Callable[..., T], *given: Any) -> Future[T]:
        """Have work(*given) done."""
        job: Future[T] = Future()
        self.jobs.put((job, work, given))
        if len(self.threads) < self.most:
            self.threads.append(Thread(target=_work_off, args=(self.jobs,), daemon=True, name="palate"))
            self.threads[-1].start()
        return job

    def shutdown(self, *, wait: bool) -> None:
        """Wait until all is done; else have the threads end when what they are at is done, and return at once."""
        with suppress(Empty):
            while not wait:
                self.jobs.get_nowait()
        for _ in self.threads:
            self.jobs.put(None)
        for thread in self.threads if wait else ():
            thread.join()


def _work_off(jobs: SimpleQueue[tuple[Future[Any], Callable[..., Any], tuple[Any, ...]] | None]) -> None:
    while (todo := jobs.get()) is not None:
        job, work, given = todo
        try:
            job.set_result(work(*given))
        except BaseException as error:  # whoever asks for the result gets it
            job.set_exception(error)
        del todo, job, work, given  # nothing is held on to while a thread waits


class ThreadTeam:
    """Runs slices of work on several threads, BLAS on one thread in each. Use it in a `with` block.

    With threads=None the first slices are run by one thread and by all in turn, and the faster number stays:
    where the items are few, threads that write to the same rows can be slower than one.
    """

    def __init__(self, threads: int | None) -> None:
        available = cores()
        self.most = min(threads or available, Limit.threads)
        self.choices = [self.most] if threads or available == 1 else [1, available]
        self.trials = [count for _ in range(TRIALS + 1) for count in self.choices] if len(self.choices) > 1 else []
        self.fastest = dict.fromkeys(self.choices, inf)  # seconds for each position, of the fastest slice

    def __enter__(self) -> ThreadTeam:
        self.pool = Pool(self.most)
        self.limits = threadpool_limits(1, "blas")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # After an error, Ctrl-C among them, work that still runs is not waited for: its result is not wanted.
        self.pool.shutdown(wait=kind is None)
        self.limits.restore_original_limits()

    @property
    def threads(self) -> int:
        """Threads the next slice runs on."""
        return self.trials[0] if self.trials else min(self.choices, key=self.fastest.__getitem__)

    def run(self, work: Callable[[int, int, int], float], first: int, last: int) -> float:
        """Divide positions `[first, last)` among the threads; sums work(thread, low, high)."""
        count = self.threads
        edges = [first + (last - first) * n // count for n in range(count + 1)]
        began = time.perf_counter()
        jobs = [self.pool.submit(work, n, edges[n], edges[n + 1]) for n in range(count)]
        total = sum(job.result() for job in jobs)
        seconds = (time.perf_counter() - began) / max(1, last - first)
        self.fastest[count] = min(self.fastest[count], seconds)
        del self.trials[:1]
        return total


def parallel_for(work: Callable[[int, int], object], total: int, slices: int = 64) -> None:
    """Call work(low, high) on slices of `[0, total)`, by all cores: for slices that cost much or little."""
    step = max(1, -(-total // slices))
    with ThreadTeam(None) as team:
        for job in [team.pool.submit(work, low, min(low + step, total)) for low in range(0, total, step)]:
            job.result()
