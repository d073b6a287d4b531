"""What came of the lists of this process since it was last stored, and the thread that stores it."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable
from threading import Event, Lock, Thread

from palate.errors import PalateError
from palate.live.service import Live
from palate.live.snapshot import Snapshot
from palate.serve.dashboard.titles import table_of
from palate.store.outcomes import Cell, Outcome, add_outcomes, day_of
from palate.store.recording import now

LOG = logging.getLogger("palate.serve")
EVERY = 10.0  # seconds between two times of storing


class Outcomes:
    """Counts that wait to be stored; threads share it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._shown: Counter[Cell] = Counter()
        self._clicks: Counter[Cell] = Counter()
        self._converted: Counter[tuple[Cell, str]] = Counter()  # by item, whose price counts when they are stored

    def shown(self, sources: Iterable[tuple[str, int]], version: int) -> None:
        """Count the items of a list by source."""
        day = day_of(now())
        with self._lock:
            for source, count in sources:
                self._shown[Cell(day, source, version)] += count

    def clicked(self, source: str, version: int) -> None:
        """Count the first event on an item that was shown."""
        with self._lock:
            self._clicks[Cell(day_of(now()), source, version)] += 1

    def converted(self, source: str, version: int, item_id: str) -> None:
        """Count a conversion on an item that was shown."""
        with self._lock:
            self._converted[Cell(day_of(now()), source, version), item_id] += 1

    def flush(self, live: Live) -> None:
        """Store what waits. Raises `StoreError`; then it waits on."""
        with self._lock:  # not while it is stored: lists that are counted would wait
            shown, clicks, converted = self._shown, self._clicks, self._converted
            self._shown, self._clicks, self._converted = Counter(), Counter(), Counter()
        if not (shown or clicks or converted):
            return
        try:
            add_outcomes(live.store, counted(live.snapshot(), shown, clicks, converted))
        except PalateError:
            with self._lock:
                self._shown.update(shown)
                self._clicks.update(clicks)
                self._converted.update(converted)
            raise


def counted(
    snapshot: Snapshot, shown: Counter[Cell], clicks: Counter[Cell], converted: Counter[tuple[Cell, str]]
) -> dict[Cell, Outcome]:
    """Put counts together; a conversion is worth the price of its item now."""
    prices = table_of(snapshot.catalogue)["price"] if converted else None
    found = [(cell, Outcome(shown=count)) for cell, count in shown.items()]
    found += [(cell, Outcome(clicks=count)) for cell, count in clicks.items()]
    for (cell, item_id), count in converted.items():
        position = snapshot.index.position(item_id)
        price = None if prices is None or position < 0 else prices[position]
        found.append((cell, Outcome(conversions=count, value=(price or 0.0) * count)))
    counts: dict[Cell, Outcome] = {}
    for cell, outcome in found:
        counts[cell] = counts.get(cell, Outcome()).plus(outcome)
    return counts


class Recorder(Thread):
    """Stores the counts at intervals, and at the end."""

    def __init__(self, outcomes: Outcomes, live: Live) -> None:
        super().__init__(daemon=True, name="palate-outcomes")
        self._outcomes, self._live, self._ended = outcomes, live, Event()

    def run(self) -> None:
        """Store until `stop`."""
        while not self._ended.wait(EVERY):
            self._flush()

    def _flush(self) -> None:
        try:
            self._outcomes.flush(self._live)
        except PalateError as error:
            LOG.warning("what came of lists waits to be stored: %s", error)

    def stop(self) -> None:
        """End the thread, and store the rest."""
        self._ended.set()
        self.join()
        self._flush()
