"""Clients that write: what was acknowledged to them must be in the store, once."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.common.client import Client
from benchmarks.common.served import Served
from benchmarks.reliability.parts import Facts
from palate.store.backup import check
from palate.store.events import Store
from palate.store.schema import events, sa

WRITERS = 4
PAUSE = 0.05  # seconds before a writer tries again


class Writer(threading.Thread):
    """Sends events, one to five at once, until it is stopped."""

    def __init__(self, name: str, port: Callable[[], int]) -> None:
        super().__init__(daemon=True)
        self.called, self._port = name, port
        self.acknowledged: set[str] = set()
        self.statuses: Counter[int] = Counter()  # 0: no answer
        self.told: set[str] = set()  # what answers of 503 said
        self.hasty = 0  # answers of 503 that do not say when to come again
        self.unanswered = 0.0  # when the newest request without an answer was sent
        self.ended = threading.Event()

    def run(self) -> None:
        """Send; what had no answer, or 503, is sent again until it is acknowledged."""
        draw, number, client = random.Random(self.called), 0, Client(self._port(), 30.0)
        batch: list[dict[str, Any]] = []
        while not self.ended.is_set():
            if client.port != self._port():
                client = Client(self._port(), 30.0)
            if not batch:
                batch = [self._event(draw, number + n) for n in range(draw.randint(1, 5))]
                number += len(batch)
            sent = time.monotonic()
            try:
                answer = client.post("/v1/events", batch if len(batch) > 1 else batch[0])
                status = answer.status
                if status == 503:
                    self.hasty += b"\r\nretry-after:" not in answer.head
                    self.told.add(answer.body["detail"])
            except OSError:
                status, self.unanswered = 0, sent
            self.statuses[status] += 1
            if status == 200:
                self.acknowledged |= {event["event_id"] for event in batch}
                batch = []
            else:
                self.ended.wait(PAUSE)

    def _event(self, draw: random.Random, number: int) -> dict[str, Any]:
        """Make an event whose time, in microseconds, no other has."""
        moment = 1_700_000_000_000_000 + 1_000_000_000 * int(self.called) + number
        user, item = draw.randrange(50), draw.randrange(200)
        return {
            "event_id": f"{self.called}-{number}",
            "user_id": f"u{user}",
            "item_id": f"i{item}",
            "event_type": "view",
            "timestamp": moment,
        }


class Writers:
    """Some writers to one service, which may move to another port."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self.all = [Writer(str(n), lambda: self.served.port) for n in range(WRITERS)]
        for writer in self.all:
            writer.start()

    def acknowledged(self) -> int:
        """How many events so far."""
        return sum(len(writer.acknowledged) for writer in self.all)

    def wait_for_more(self) -> None:
        """Wait until events come in."""
        before = self.acknowledged()
        wait_for(lambda: self.acknowledged() > before)

    def end(self, url: str | Path) -> Facts:
        """Stop, and compare what was acknowledged with what is in the store."""
        for writer in self.all:
            writer.ended.set()
        for writer in self.all:
            writer.join()
        acknowledged = set().union(*(writer.acknowledged for writer in self.all))
        statuses = sum((writer.statuses for writer in self.all), Counter[int]())
        with Store.open(url) as store:
            with store.database.reading() as connection:
                rows = connection.execute(sa.select(events.c.event_id, events.c.time)).all()
            faults = check(store).faults
        return {
            "acknowledged": len(acknowledged),
            "lost": len(acknowledged - {row[0] for row in rows}),
            "doubled": len(rows) - len({row[1] for row in rows}),
            "hasty": sum(writer.hasty for writer in self.all),
            "faults": list(faults),
            "answers": {str(status) if status else "none": count for status, count in sorted(statuses.items())},
        }


def wait_for(condition: Callable[[], bool], seconds: float = 120.0) -> None:
    """Wait until it holds. Raises `TimeoutError`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds:g} s")
        time.sleep(0.005)
