"""One thread that writes for all others: every transaction takes all that waits, so many share one flush."""

from __future__ import annotations

from concurrent.futures import Future
from copy import copy
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import NamedTuple

from palate.errors import EventConflict, StoreError
from palate.store.database import Database
from palate.store.recording import Appended, Batch, Recorder

MOST = 20_000  # events of a transaction
ATTEMPTS = 3  # connections tried before a submission fails


class _Work(NamedTuple):
    batch: Batch
    future: Future[Appended]


class Writer:
    """A queue of checked events and the thread that empties it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._recorder = Recorder(database)
        self._queue: SimpleQueue[_Work | None] = SimpleQueue()
        self._lock = Lock()  # nothing is queued behind the end
        self._thread: Thread | None = None
        self._closed = False

    def submit(self, batch: Batch) -> Future[Appended]:
        """Queue events; the future is done when they are on the disk."""
        work = _Work(batch, Future())
        with self._lock:
            if self._closed:
                raise StoreError(f"{self._database.place}: the store is closed", "the store is closed")
            if self._thread is None:
                self._thread = Thread(target=self._run, name="palate-store", daemon=True)
                self._thread.start()
            self._queue.put(work)
        return work.future

    def close(self) -> None:
        """Write what is queued, then end the thread."""
        with self._lock:
            self._closed = True
            if self._thread is not None:
                self._queue.put(None)
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        while (first := self._queue.get()) is not None:
            group, more = self._group(first)
            self._write([work for work in group if work.future.set_running_or_notify_cancel()])
            if not more:
                return

    def _group(self, first: _Work) -> tuple[list[_Work], bool]:
        """All that waits, up to `MOST` events; and whether more may come."""
        group, size = [first], len(first.batch.events)
        while size < MOST:
            try:
                work = self._queue.get_nowait()
            except Empty:
                break
            if work is None:
                return group, False
            group.append(work)
            size += len(work.batch.events)
        return group, True

    def _write(self, group: list[_Work]) -> None:
        """Settle every future: all are stored, or none is; but for batches that are at odds with an event id."""
        try:
            answers = self._stored([work.batch for work in group])
        except Exception as error:
            for work in group:
                work.future.set_exception(copy(error))  # each raises its own
        else:
            for work, answer in zip(group, answers, strict=True):
                if isinstance(answer, EventConflict):
                    work.future.set_exception(answer)
                else:
                    work.future.set_result(answer)

    def _stored(self, batches: list[Batch]) -> list[Appended | EventConflict]:
        """One transaction. A connection lost before the commit stored nothing, so a new one may try again."""
        for attempt in range(ATTEMPTS):
            committing = False
            try:
                with self._database.writing() as connection:
                    answers = self._recorder.record(connection, batches)
                    committing = True
                return answers
            except StoreError as error:
                lost = self._database.lost(error.__cause__)
                if lost and committing:
                    rule = "it is unknown if the events are stored; events with an event_id may be sent again"
                    raise StoreError(f"{error}; {rule}", f"{error.public}; {rule}") from error
                if not lost or attempt == ATTEMPTS - 1:
                    raise
        raise AssertionError
