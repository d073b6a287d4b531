"""What came of the lists of this process since it was last stored, and the thread that stores it."""

from __future__ import annotations

import logging
from threading import Event, Thread

from palate.errors import PalateError
from palate.live.service import Live
from palate.live.snapshot import Snapshot
from palate.serve.dashboard.titles import table_of
from palate.serve.metrics import Converted, Counts, Waiting
from palate.store.outcomes import Cell, Outcome, add_outcomes

LOG = logging.getLogger("palate.serve")
EVERY = 10.0  # seconds between two times of storing


def flush(waiting: Waiting, live: Live) -> None:
    """Store what waits. Raises `StoreError`; then it waits on."""
    taken = waiting.take()
    if not any(taken):
        return
    try:
        add_outcomes(live.store, counted(live.snapshot(), *taken))
    except PalateError:
        waiting.put_back(*taken)
        raise


def counted(snapshot: Snapshot, shown: Counts, clicks: Counts, converted: Converted) -> dict[Cell, Outcome]:
    """Put counts together; a conversion is worth the price of its item now."""
    prices = table_of(snapshot.catalogue)["price"] if converted else None
    found = [(Cell(*key), Outcome(shown=count)) for key, count in shown.items()]
    found += [(Cell(*key), Outcome(clicks=count)) for key, count in clicks.items()]
    for (day, source, version, item_id), count in converted.items():
        position = snapshot.index.position(item_id)
        price = None if prices is None or position < 0 else prices[position]
        found.append((Cell(day, source, version), Outcome(conversions=count, value=(price or 0.0) * count)))
    counts: dict[Cell, Outcome] = {}
    for cell, outcome in found:
        counts[cell] = counts.get(cell, Outcome()).plus(outcome)
    return counts


class OutcomeRecorder(Thread):
    """Stores the counts at intervals, and at the end."""

    def __init__(self, waiting: Waiting, live: Live) -> None:
        super().__init__(daemon=True, name="palate-outcomes")
        self._waiting, self._live, self._ended = waiting, live, Event()

    def run(self) -> None:
        """Store until `stop`."""
        while not self._ended.wait(EVERY):
            self._flush()

    def _flush(self) -> None:
        try:
            flush(self._waiting, self._live)
        except PalateError as error:
            LOG.warning("what came of lists waits to be stored: %s", error)

    def stop(self) -> None:
        """End the thread, and store the rest."""
        self._ended.set()
        self.join()
        self._flush()
