"""The thread of a service without requests that takes the model which others have activated."""

from __future__ import annotations

import logging
from threading import Event, Thread

from palate.errors import PalateError
from palate.live.service import Live

LOG = logging.getLogger("palate.live")
LOOK = 0.5  # seconds between two looks


class Follower(Thread):
    """Looks for another active version, which requests do too; changed items wait for a request."""

    def __init__(self, live: Live) -> None:
        super().__init__(daemon=True, name="palate-follow")
        self._live, self._ended = live, Event()

    def run(self) -> None:
        """Look until `stop`."""
        while not self._ended.wait(LOOK):
            try:
                self._live.follow_model()
            except PalateError as error:  # requests say so, too
                LOG.debug("the active version is not known: %s", error)

    def stop(self) -> None:
        """End the thread."""
        self._ended.set()
        self.join()
