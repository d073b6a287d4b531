"""Half an hour of mixed load: `python benchmarks/soak.py [--minutes N] [--rate N] [--store FILE] [--publish]`.

Nine requests of ten recommend, one sends an event; some have a filter, some people and items are new. Every ten
seconds the memory of the service is read: what is its own, without what it shares. Growth is counted from the end of
the warm-up, a fifth of the time, as the mean of the first and of the last tenth of the rest.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from common import synthetic
from service import Served, Timings, fill, goods, message, paced, report, serving

PERIOD = 10.0  # seconds between two looks at the memory
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


def measured(served: Served, minutes: float, rate: float, people: int, items: int) -> dict[str, Any]:
    """Put load on a service, and watch its memory."""
    memory, timings = [], []
    for n in range(int(minutes * 60 / PERIOD)):
        timings.append(paced(served.port, mixed(int(rate * PERIOD), people, items, seed=n), rate, seed=n))
        memory.append(served.memory())
    settled = memory[len(memory) // 5 :]
    tenth = max(1, len(settled) // 10)
    first, last = np.mean(settled[:tenth]), np.mean(settled[-tenth:])
    together = Timings(np.concatenate([timing.seconds for timing in timings]), 0, 0.0)
    return {
        "minutes": minutes,
        "requests_a_second": rate,
        "requests": len(together.seconds),
        "failed": sum(timing.failed for timing in timings),
        "p50_ms": round(together.ms(0.5), 2),
        "p99_ms": round(together.ms(0.99), 2),
        "megabytes": [round(each, 1) for each in memory[:: max(1, len(memory) // 30)]],
        "growth_percent": round(100 * float(last / first - 1), 2),
    }


def main() -> None:
    """Run from the command line."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--minutes", type=float, default=30)
    asked.add_argument("--rate", type=float, default=200)
    asked.add_argument("--people", type=int, default=100_000)
    asked.add_argument("--store", type=Path, help="a store filled by service_load.py")
    asked.add_argument("--publish", action="store_true", help="keep the results")
    options = asked.parse_args()
    with tempfile.TemporaryDirectory(prefix="palate-soak-") as folder:
        url = options.store or Path(folder) / "shop.db"
        if not url.exists():
            fill(url, synthetic(options.people, 20_000, 30 * options.people), goods(20_000))
        with serving(url) as served:
            facts = measured(served, options.minutes, options.rate, options.people, 20_000)
    report("soak", "Memory under mixed load", facts, publish=options.publish)


if __name__ == "__main__":
    main()
