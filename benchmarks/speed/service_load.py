"""How much load the service takes: `python -m benchmarks.speed.service_load [--store FILE] [--big FILE] [--publish]`.

100,000 users with about 30 events each, 20,000 items, an IALS model of 64 dimensions, SQLite; the client runs on the
same cores. Measured are: one request after the other; requests at random moments (Poisson), each timed from when it
was due; the most that wrk gets; where the time of a list goes; and the time from the start of the command to ready
with a million items, each with a title, categories and a price. The stores are made where they are not there yet,
the big one where it is named.
"""

from __future__ import annotations

import argparse
import re
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import polars as pl

from benchmarks.common.client import message
from benchmarks.common.load import Timings, paced
from benchmarks.common.logs import synthetic
from benchmarks.common.served import Served, serving, start
from benchmarks.common.stores import fill, random_attributes
from benchmarks.common.tables import report
from benchmarks.common.timing import microseconds
from benchmarks.reliability.soak import mixed
from palate.data.histories import Histories
from palate.data.ragged import Ragged
from palate.live.history import EVENTS as EVENTS_COUNTED
from palate.live.kept import FOLDER
from palate.live.service import Live
from palate.ranking.request import ListRequest
from palate.store.events import Store
from palate.store.versions import Versions

T = TypeVar("T")
USERS, ITEMS, EVENTS = 100_000, 20_000, 3_000_000
WRK = """
math.randomseed(1)
request = function() return wrk.format("GET", "/v1/recommend?user_id=" .. math.random(0, USERS - 1)) end
"""


def lists(count: int, seed: int = 0) -> list[bytes]:
    """Make requests of lists for random users."""
    draw = np.random.default_rng(seed).integers(0, USERS, count)
    return [message("GET", f"/v1/recommend?user_id={user}") for user in draw.tolist()]


def single(served: Served, count: int = 2000) -> Timings:
    """One request after the other."""
    client, seconds, failed = served.client(), [], 0
    for request in lists(count):
        began = time.perf_counter()
        failed += client.ask(request).status != 200
        seconds.append(time.perf_counter() - began)
    return Timings(np.array(seconds), failed, count / sum(seconds))


def figures_of(timed: Timings) -> dict[str, Any]:
    """Figures of a measurement."""
    shares = {"p50_ms": 0.5, "p90_ms": 0.9, "p99_ms": 0.99, "p99.9_ms": 0.999}
    figures = {name: round(timed.ms(share), 2) for name, share in shares.items()}
    return {"requests_a_second": round(timed.rate), "failed": timed.failed, **figures}


def most(served: Served, seconds: int, connections: int = 16) -> float | None:
    """Return the requests a second that wrk gets; None where it is not installed."""
    program = shutil.which("wrk")
    if program is None:
        return None
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(WRK.replace("USERS", str(USERS)))
        script.flush()
        command = [program, "-t1", f"-c{connections}", f"-d{seconds}s", "-s", script.name]
        url = f"http://127.0.0.1:{served.port}"
        done = subprocess.run([*command, url], capture_output=True, text=True, check=True)
    found = re.search(r"Requests/sec:\s+(\S+)", done.stdout)
    return float(found[1]) if found and "Non-2xx" not in done.stdout else None


def loaded(url: Path, workers: int, rates: list[float], seconds: int) -> dict[str, Any]:
    """Measure the service with this number of workers."""
    facts: dict[str, Any] = {}
    with serving(url, "--workers", str(workers)) as served:
        paced(served.port, lists(1000), 300)
        facts["one after the other"] = figures_of(single(served))
        for rate in rates:
            before = served.seconds()
            count = int(rate * seconds)
            facts[f"lists, {rate:g} a second"] = figures_of(paced(served.port, lists(count, 1), rate))
            facts[f"lists, {rate:g} a second"]["cpu_ms"] = round((served.seconds() - before) / count * 1000, 3)
            events = mixed(count, USERS, ITEMS, 2, filtered=0)
            facts[f"10% events, {rate:g} a second"] = figures_of(paced(served.port, events, rate))
        facts["most"] = most(served, seconds)
    return facts


def ready(url: Path, rounds: int = 3) -> dict[str, Any]:
    """Seconds from the start of the command until it is ready: the first time, and when something is kept."""
    seconds, cpu = [], []
    kept = url.with_suffix(".models") / FOLDER
    shutil.rmtree(kept, ignore_errors=True)
    for _ in range(1 + rounds):
        began = time.perf_counter()
        served = start(url)
        served.wait()
        seconds.append(round(time.perf_counter() - began, 2))
        cpu.append(round(served.seconds(), 2))
        while not kept.is_dir():
            time.sleep(0.1)
        served.kill()
    first, later = seconds[0], seconds[1:]
    return {"first": first, "seconds": later, "median": statistics.median(later), "cpu_seconds": cpu[1:]}


def parts(url: Path, count: int = 2000) -> dict[str, float]:
    """Microseconds of a list without HTTP, and of what it is made of; medians over random users."""
    with Store.open(url) as store:
        live = Live(store, Versions(store))
        users = [str(user) for user in np.random.default_rng(3).integers(0, USERS, count).tolist()]
        calls: dict[str, Callable[[str], object]] = {
            "a whole list": lambda user: live.recommend(ListRequest(user_id=user)),
            "history from the store": lambda user: store.history(user, EVENTS_COUNTED),
        }
        times = {name: median_of(work, users) for name, work in calls.items()}
        snapshot = live.snapshot()
        model, index, allowed = snapshot.active.model, snapshot.index, snapshot.masks.rows
        rows = [index.row[index.at(store.history(user, EVENTS_COUNTED).item)] for user in users]
        pasts = [Ragged(np.array([0, len(row)]), row, np.ones(len(row), np.float32)) for row in rows]
        histories = [Histories(pl.Series("user", [0]), model.items, past) for past in pasts]
        best = model.top(histories[0], 10, allowed, False)[0][0]
        times["vector and best items"] = median_of(lambda one: model.top(one, 10, allowed, False), histories)
        times["reasons"] = median_of(lambda past: model.contributions(past, best), pasts)
    return times


def median_of(work: Callable[[T], object], arguments: Sequence[T]) -> float:
    """Median time of a call, µs."""
    return round(float(np.median(microseconds(work, arguments))), 1)


def main() -> None:
    """Run from the command line."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--store", type=Path, help="where the store is, or is to be made")
    asked.add_argument("--big", type=Path, help="where the store of a million items is, or is to be made")
    asked.add_argument("--rates", type=float, nargs="+", default=[500.0, 1000.0, 1500.0])
    asked.add_argument("--seconds", type=int, default=10, help="for each measurement")
    asked.add_argument("--publish", action="store_true", help="keep the results")
    options = asked.parse_args()
    facts: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="palate-load-") as folder:
        url = options.store or Path(folder) / "shop.db"
        if not url.exists():
            fill(url, synthetic(USERS, ITEMS, EVENTS), random_attributes(ITEMS))
        for workers in (1, 2):
            facts[f"{workers} workers"] = loaded(url, workers, options.rates, options.seconds)
        facts["microseconds of a list"] = parts(url)
        if options.big is not None:
            if not options.big.exists():
                fill(options.big, synthetic(20_000, 1_000_000, EVENTS), random_attributes(1_000_000))
            facts["start to ready, 1M items"] = ready(options.big)
    report("service_load", "Load on the service", facts, publish=options.publish)


if __name__ == "__main__":
    main()
