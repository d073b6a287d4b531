"""The job of a service that completes what was asked to be forgotten."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from threading import Event, Lock, Thread

from palate.errors import PalateError
from palate.live.forgetting import forget
from palate.store.events import Store
from palate.store.receipts import Forgotten
from palate.store.versions import Versions

LOG = logging.getLogger("palate.live")
PAUSE, LONGEST = 0.05, 60.0  # seconds before what failed is tried again: the first time, and at most


class Forgetter:
    """Deletes rows at once, and has one thread for the rest; a start goes on with what an earlier process left."""

    def __init__(self, store: Store, versions: Versions) -> None:
        self._store, self._versions = store, versions
        self._known: dict[str, Sequence[str]] = {}  # ids of the receipts that this process wrote
        self._lock, self._ended = Lock(), Event()
        self._thread: Thread | None = None
        self._more = False
        if store.receipts.pending():
            self.wake()

    def forget(self, user_ids: Sequence[str]) -> Forgotten:
        """Delete users now; the receipt is done later. Raises `DataError` for what is no id."""
        made = self._store.receipts.forget(user_ids)
        self._known[made.receipt] = user_ids
        self.wake()
        return made

    def wake(self) -> None:
        """Have the job look for what is pending."""
        with self._lock:
            self._more = True
            if self._thread is None and not self._ended.is_set():
                self._thread = Thread(target=self._run, name="palate-forget", daemon=True)
                self._thread.start()

    def stop(self) -> None:
        """End the job; what is pending is done after the next start."""
        self._ended.set()
        thread = self._thread
        if thread is not None:
            thread.join()

    def _run(self) -> None:
        pause = PAUSE
        while not self._ended.is_set():
            with self._lock:
                self._more = False
            known = dict(self._known)
            done = self._done(known)
            for name in known if done else ():
                self._known.pop(name, None)
            with self._lock:
                if done and not self._more:
                    self._thread = None
                    return
            pause = PAUSE if done else min(2 * pause, LONGEST)
            if not done:
                self._ended.wait(pause)

    def _done(self, known: dict[str, Sequence[str]]) -> bool:
        try:
            return forget(self._store, self._versions, known)
        except (PalateError, OSError) as error:
            LOG.error("forgetting goes on later: %s", error)
            return False
