"""How much load the service takes: `python benchmarks/service_load.py [--store FILE] [--big FILE] [--publish]`.

100,000 people with about 30 events each, 20,000 items, an IALS model of 64 dimensions, SQLite; the client runs on the
same cores. Measured are: one request after the other; requests at random moments (Poisson), each timed from when it
was due; the most that wrk gets; and the time from the start of the command to ready with a million items, each with a
title, categories and a price. The stores are made where they are not there yet, the big one where it is named.
"""

from __future__ import annotations

import argparse
import re
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from common import synthetic
from service import Served, Timings, fill, goods, message, paced, report, serving, start
from soak import mixed

PEOPLE, ITEMS, EVENTS = 100_000, 20_000, 3_000_000
WRK = """
math.randomseed(1)
request = function() return wrk.format("GET", "/v1/recommend?user_id=" .. math.random(0, PEOPLE - 1)) end
"""


def lists(count: int, seed: int = 0) -> list[bytes]:
    """Make requests of lists for random people."""
    draw = np.random.default_rng(seed).integers(0, PEOPLE, count)
    return [message("GET", f"/v1/recommend?user_id={person}") for person in draw.tolist()]


def single(served: Served, count: int = 2000) -> Timings:
    """One request after the other."""
    client, seconds, failed = served.client(), [], 0
    for request in lists(count):
        began = time.perf_counter()
        failed += client.ask(request).status != 200
        seconds.append(time.perf_counter() - began)
    return Timings(np.array(seconds), failed, count / sum(seconds))


def told(timed: Timings) -> dict[str, Any]:
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
        script.write(WRK.replace("PEOPLE", str(PEOPLE)))
        script.flush()
        command = [program, "-t1", f"-c{connections}", f"-d{seconds}s", "-s", script.name]
        url = f"http://127.0.0.1:{served.port}"
        done = subprocess.run([*command, url], capture_output=True, text=True, check=True)
    found = re.search(r"Requests/sec:\s+(\S+)", done.stdout)
    return float(found[1]) if found and "Non-2xx" not in done.stdout else None


def loaded(url: Path, workers: int, rates: list[float], seconds: int) -> dict[str, Any]:
    """Measure so many workers."""
    facts: dict[str, Any] = {}
    with serving(url, "--workers", str(workers)) as served:
        paced(served.port, lists(1000), 300)
        facts["one after the other"] = told(single(served))
        for rate in rates:
            before = served.seconds()
            count = int(rate * seconds)
            facts[f"lists, {rate:g} a second"] = told(paced(served.port, lists(count, 1), rate))
            facts[f"lists, {rate:g} a second"]["cpu_ms"] = round((served.seconds() - before) / count * 1000, 3)
            events = mixed(count, PEOPLE, ITEMS, 2, filtered=0)
            facts[f"10% events, {rate:g} a second"] = told(paced(served.port, events, rate))
        facts["most"] = most(served, seconds)
    return facts


def ready(url: Path, rounds: int = 3) -> dict[str, Any]:
    """Seconds from the start of the command until it is ready."""
    seconds, cpu = [], []
    for _ in range(rounds):
        began = time.perf_counter()
        served = start(url)
        served.wait()
        seconds.append(round(time.perf_counter() - began, 2))
        cpu.append(round(served.seconds(), 2))
        served.kill()
    return {"seconds": seconds, "median": statistics.median(seconds), "cpu_seconds": cpu}


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
            fill(url, synthetic(PEOPLE, ITEMS, EVENTS), goods(ITEMS))
        for workers in (1, 2):
            facts[f"{workers} workers"] = loaded(url, workers, options.rates, options.seconds)
        if options.big is not None:
            if not options.big.exists():
                fill(options.big, synthetic(20_000, 1_000_000, EVENTS), goods(1_000_000))
            facts["start to ready, 1M items"] = ready(options.big)
    report("service_load", "Load on the service", facts, publish=options.publish)


if __name__ == "__main__":
    main()
