"""An hour over one server: mixed load, retraining, swaps, forgetting; its memory at equal points of the cycle.

Nine requests of ten recommend, one sends an event; some have a filter, some people and items are new. The server goes
on between the runs of a part, in a folder of its own in the temporary directory.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from benchmarks.common.client import message
from benchmarks.common.load import paced
from benchmarks.common.logs import synthetic
from benchmarks.common.served import Joined, Served, start
from benchmarks.common.stores import fill, random_attributes
from benchmarks.reliability.parts import Facts, Part, Step
from benchmarks.reliability.writers import wait_for

PEOPLE, ITEMS, EVENTS = 20_000, 5_000, 200_000
RATE, SECONDS = 100.0, 40.0  # of the load of a cycle
RETRAIN = 300  # new events after which the service trains; a cycle has about 400
CYCLES = 54
ALLOWED = 0.03  # growth of the memory from the third cycle to the last
VARIABLES = {"MALLOC_ARENA_MAX": "2"}  # as docs/service.md advises
HOME = Path(tempfile.gettempdir()) / "palate-soak"
FILTERS = ("price%20%3C%2020", "NOT%20'horror'%20IN%20categories", "price%20BETWEEN%205%20AND%2030")


def mixed(count: int, people: int, items: int, seed: int, events: float = 0.1, filtered: float = 0.1) -> list[bytes]:
    """Make requests: a share of events, a share of the lists with a filter; a tenth of the people are unknown."""
    draw = np.random.default_rng(seed)
    person = draw.integers(0, int(people * 1.1), count).tolist()
    item = (items * 1.001 * draw.random(count) ** 3).astype(int).tolist()
    kind, which = draw.random(count).tolist(), draw.integers(0, len(FILTERS), count).tolist()
    made = []
    for n in range(count):
        if kind[n] < events:
            event = {"user_id": str(person[n]), "item_id": str(item[n]), "event_type": "view"}
            made.append(message("POST", "/v1/events", event))
        else:
            asked = f"&filter={FILTERS[which[n]]}" if kind[n] > 1 - filtered else ""
            made.append(message("GET", f"/v1/recommend?user_id={person[n]}{asked}"))
    return made


def begun(home: Path, people: int) -> Served:
    """Fill a store and start the server."""
    end(home)
    (home / "tmp").mkdir(parents=True)
    fill(home / "shop.db", synthetic(people, ITEMS, 10 * people), random_attributes(ITEMS), dim=32)
    options = ["--retrain", f"events={RETRAIN}", "--recipe", "ials", "--set", "dim=32", "--set", "epochs=4"]
    served = start(home / "shop.db", *options, temporary=home / "tmp", variables=VARIABLES)
    served.wait()
    told = {"pid": served.process.pid, "port": served.port, "log": str(served.log)}
    (home / "server.json").write_text(json.dumps(told))
    if isinstance(served.process, subprocess.Popen):
        served.process.returncode = 0  # it outlives this process, which shall not warn of it
    return joined(home)


def joined(home: Path) -> Served:
    """Find the server that another run has started. Raises `OSError` where it is gone."""
    told = json.loads((home / "server.json").read_text())
    served = Served(Joined(told["pid"]), told["port"], Path(told["log"]))
    served.wait(5)
    return served


def end(home: Path) -> None:
    """Stop the server, if there is one, and remove what it had."""
    with suppress(OSError):
        served = joined(home)
        served.stop()
        served.log.unlink()
    shutil.rmtree(home, ignore_errors=True)


def cycle(served: Served, home: Path, n: int, seconds: float, people: int) -> Facts:
    """Put load on the server until it trains, forget and swap; then look at what it holds."""
    client = served.client()

    def versions() -> list[int]:
        while (answer := client.get("/v1/models")).status == 503:  # the store is busy: users leave it
            time.sleep(0.05)
        return sorted(each["version"] for each in answer.body["models"])

    last = versions()[-1]
    timed = paced(served.port, mixed(int(RATE * seconds), people, ITEMS, seed=n), RATE, seed=n)
    missing = message(
        "POST",
        "/v1/events",
        [{"user_id": f"more-{n}", "item_id": str(k % ITEMS), "event_type": "view"} for k in range(RETRAIN)],
    )
    client.ask(missing)
    gone = [client.ask(message("DELETE", f"/v1/users/{100 * n + k}")).status for k in range(10)]
    wait_for(lambda: versions()[-1] > last and len(served.pids()) == 1, 300)
    there = versions()[-2:]
    swapped = [client.post(f"/v1/models/{number}/activate", None).status for number in there * 3]
    wait_for(lambda: client.get("/v1/recommend?user_id=1").body["model"]["version"] == there[-1])
    lists = [client.get(f"/v1/recommend?user_id={user}").status for user in range(200)]
    return {
        "requests": len(timed.seconds) + len(gone) + len(swapped) + len(lists),
        "failed": timed.failed + sum(status not in (200, 202, 404) for status in gone + swapped + lists),
        "trainings": versions()[-1] - last,
        "swaps": len(swapped),
        "forgotten": gone.count(202),
        "longest_p99_ms": timed.ms(0.99),
        "megabytes": [round(served.memory(), 1)],
        "descriptors": [settled_descriptors(served)],
        "temporary": [len(list((home / "tmp").rglob("*")))],
        "bundles": [len([each for each in (home / "shop.models").iterdir() if each.name != "start"])],
    }


def settled_descriptors(served: Served, seconds: float = 6.0) -> int:
    """Count descriptors at their fewest: idle connections close after 5 s, the model before with its last list."""
    end, fewest = time.monotonic() + seconds, sys.maxsize
    while time.monotonic() < end:
        fewest = min(fewest, len(list(Path(f"/proc/{served.process.pid}/fd").iterdir())))
        time.sleep(0.5)
    return fewest


@contextmanager
def soak(
    _: Path, home: Path = HOME, seconds: float = SECONDS, people: int = PEOPLE, cycles: int = CYCLES
) -> Iterator[Step]:
    """Go on with the server that there is; the first cycle starts it, the last one ends it."""

    def step(n: int) -> Facts:
        served = begun(home, people) if n == 0 else joined(home)
        facts = cycle(served, home, n, seconds, people)
        if n == cycles - 1:
            end(home)
        return facts

    yield step


def growth(facts: Facts) -> float:
    """By how much the memory grew from the third cycle to the last."""
    memory = facts["megabytes"]
    return float(memory[-1] / memory[min(2, len(memory) - 1)] - 1)


def faults(facts: Facts) -> list[str]:
    """Say what failed or grew."""
    told = [f"failed: {facts['failed']}"] if facts["failed"] else []
    told += [f"memory grew by {100 * growth(facts):.1f}%"] if growth(facts) >= ALLOWED else []
    for name in ("descriptors", "temporary", "bundles"):
        settled = facts[name][2:] or [0]
        told += [f"{name}: {settled[0]} at first, {settled[-1]} at the end"] if settled[-1] > settled[0] else []
    return told


def said(facts: Facts) -> str:
    """Say how it went."""
    memory, third = facts["megabytes"], min(3, facts["steps"])
    done = f"{facts['requests']:,} requests, {facts['trainings']} trainings, {facts['swaps']} swaps"
    grown = f"memory {memory[third - 1]} MB after cycle {third}, {memory[-1]} MB after cycle {len(memory)}"
    flat = f"descriptors {facts['descriptors'][-1]}, temporary files {facts['temporary'][-1]}"
    gone = f"{facts['forgotten']} users forgotten; failed {facts['failed']}"
    return f"{done}, {gone}; {grown} ({100 * growth(facts):+.1f}%); {flat}"


SOAK = Part("an hour of load with retraining, swaps and forgetting, over one server", CYCLES, soak, faults, said)
