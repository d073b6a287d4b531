"""A clock that goes forth and back by a day while the service runs: the order of events, and what is refused."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.common.client import Client
from benchmarks.common.served import start
from benchmarks.reliability.outages import NOTHING, Reader, trained
from benchmarks.reliability.parts import Facts, Part, Step, exactly
from benchmarks.reliability.writers import Writers
from palate.store.events import Store

DAY = 86_400
JUMPS = (DAY, -DAY, 0, -DAY, DAY, 0)  # seconds from the true time, one after the other
# Run by the service's process before it loads anything: its clock follows a file.
SHIFTED = """
import time
_true, _file = time.time_ns, {file!r}
def _now():
    with open(_file) as file:
        return _true() + int(file.read() or 0) * 10**9
time.time_ns, time.time = _now, lambda: _now() / 1e9
"""


def jumps(url: str, folder: Path, seed: int, sent: int = 20) -> Facts:
    """Shift the clock under writers; one user sends events without times, another with the true ones."""
    shift = folder / "shift"
    shift.write_text("0")
    with Store.open(url) as store:
        trained(store, folder / "models")
    served = start(url, "--models", str(folder / "models"), before=SHIFTED.format(file=str(shift)))
    draw, numbers, faults, refused = random.Random(seed), itertools.count(), [], 0
    try:
        served.wait()
        writers, reader, client = Writers(served), Reader(served), served.client()
        reader.start()
        wanted: list[str] = []
        for seconds in (0, *JUMPS):
            aside = folder / "shift.new"
            aside.write_text(str(seconds))
            aside.replace(shift)
            for _ in range(sent):
                wanted.insert(0, f"i{next(numbers)}")
                refused += sum(status != 200 for status in sent_by_two(client, wanted[0]))
                time.sleep(draw.uniform(0, 0.02))
            wrong = [user for user in ("untimed", "timed") if ordered(client, user) != wanted]
            faults += [f"order of {user} events, clock off by {seconds} s" for user in wrong]
            if wanted[0] in {
                item["item_id"] for item in client.get("/v1/recommend?user_id=untimed&k=200").body["items"]
            }:
                faults.append(f"a seen item is shown, clock off by {seconds} s")
        reader.ended.set()
        reader.join()
        facts = writers.end(url)
    finally:
        served.kill()
        served.log.unlink()
    refused += sum(count for status, count in facts["answers"].items() if status != "200")
    lists = sum(count for name, count in reader.statuses.items() if not name.endswith("200"))
    answers = {
        "jumps": len(JUMPS),
        "refused": refused,
        "lists": reader.statuses.total(),
        "lists_refused": lists,
    }
    return {**answers, **facts, "faults": facts["faults"] + faults}


def sent_by_two(client: Client, item: str) -> list[int]:
    """Send an event of an item without a time, and one with the true time; returns the statuses."""
    event = {"item_id": item, "event_type": "view"}
    now = time.time_ns() // 1000
    return [
        client.post("/v1/events", {**event, "user_id": "untimed"}).status,
        client.post("/v1/events", {**event, "user_id": "timed", "timestamp": now}).status,
    ]


def ordered(client: Client, user: str) -> list[str]:
    """Items of a user's events, the newest first."""
    return [event["item_id"] for event in client.get(f"/v1/users/{user}?limit=1000").body["events"]]


@contextmanager
def clocks(folder: Path) -> Iterator[Step]:
    """Over SQLite and PostgreSQL in turn."""
    from databases import new_database

    def step(n: int) -> Facts:
        own = folder / f"step{n}"
        own.mkdir()
        return jumps(new_database(("sqlite", "postgresql")[n % 2], own), own, seed=n)

    yield step


CLOCK = Part(
    "the clock forth and back by a day while running, SQLite and PostgreSQL",
    10,
    clocks,
    exactly(**NOTHING, refused=0, lists_refused=0),
    lambda facts: (
        f"{facts['jumps']} jumps, {facts['acknowledged']:,} acknowledged events; orders changed"
        f" {len(facts['faults'])}, events refused {facts['refused']}, lost {facts['lost']}; lists refused"
        f" {facts['lists_refused']} of {facts['lists']:,}"
    ),
)
