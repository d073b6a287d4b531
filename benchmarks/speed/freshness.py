"""From an event to a list that reflects it: `python -m benchmarks.speed.freshness [--big FILE] [--publish]`.

The client reads the list of a user and sends an event on its first item. From the acknowledgement on, another
connection (with two workers: of another process too) asks until the list is without that item. Counted are the time
from the acknowledgement to the whole answer, and the answers before it that did not reflect the event yet.

With `--big FILE`, a store of a million items that is made where it is not there yet, also the CPU time of the first
list after an attribute of an item changed, in this process, without and with a filter or a boost on that attribute.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common.logs import synthetic
from benchmarks.common.served import Served, serving
from benchmarks.common.stores import fill, random_attributes
from benchmarks.common.tables import report
from palate.live.service import Live
from palate.ranking.request import Boost, ListRequest
from palate.store.events import Store
from palate.store.items import Item

ITEMS = 1_000_000  # of the big store
READERS = 8  # connections, which the workers share


def measured(written: Served, read: Served, rounds: int, users: int) -> dict[str, Any]:
    """Measure rounds of a random user each: an event to one service, lists from the same or another."""
    writer, readers = written.client(), [read.client() for _ in range(READERS)]
    seconds, stale = [], 0
    for n, user in enumerate(np.random.default_rng(0).integers(0, users, rounds).tolist()):
        reader, path = readers[n % READERS], f"/v1/recommend?user_id={user}"
        first = reader.get(path).body["items"][0]["item_id"]
        event = {"user_id": str(user), "item_id": first, "event_type": "like"}
        answer = writer.post("/v1/events", event)
        began = time.perf_counter()
        assert answer.status == 200
        while first in {item["item_id"] for item in reader.get(path).body["items"]}:
            stale += 1
        seconds.append(time.perf_counter() - began)
    p50, p99 = np.quantile(seconds, [0.5, 0.99]) * 1000
    return {"rounds": rounds, "p50_ms": round(float(p50), 2), "p99_ms": round(float(p99), 2), "stale_answers": stale}


AFTER_CHANGE = {
    "first list after an attribute changed": ListRequest(user_id="nobody"),
    "the same with a filter": ListRequest(user_id="nobody", filter="price < 20"),
    "the same with a boost": ListRequest(user_id="nobody", boost=(Boost("price < 20", 2.0),)),
}


def after_change(url: Path, rounds: int = 30) -> dict[str, dict[str, Any]]:
    """CPU milliseconds of the first list after each of some changes of random items, best and median."""
    if not url.exists():
        with Store.open(url) as store:
            names = map(str, range(ITEMS))
            store.items.put(map(Item, names, random_attributes(ITEMS)))
    rng, facts = np.random.default_rng(time.time_ns()), {}
    with Store.open(url) as store:
        live = Live(store)
        ids = live.snapshot().catalogue.ids
        for name, asked in AFTER_CHANGE.items():
            taken = []
            for _ in range(rounds + 1):
                store.items.patch(ids[int(rng.integers(len(ids)))], {"price": float(rng.integers(1, 9000)) / 100})
                began = time.process_time()
                live.recommend(asked)
                taken.append(1000 * (time.process_time() - began))
            best, median = min(taken[1:]), float(np.median(taken[1:]))
            facts[name] = {
                "rounds": rounds,
                "items": len(ids),
                "best_ms": round(best, 2),
                "median_ms": round(median, 2),
            }
    return facts


def main() -> None:
    """Run from the command line."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--rounds", type=int, default=2000)
    asked.add_argument("--users", type=int, default=100_000)
    asked.add_argument("--store", type=Path, help="a store filled by service_load.py")
    asked.add_argument("--big", type=Path, help="where the store of a million items is, or is to be made")
    asked.add_argument("--publish", action="store_true", help="keep the results")
    options = asked.parse_args()
    facts = {}
    with tempfile.TemporaryDirectory(prefix="palate-freshness-") as folder:
        url = options.store or Path(folder) / "shop.db"
        if not url.exists():
            fill(url, synthetic(options.users, 20_000, 30 * options.users), random_attributes(20_000))
        for workers in (1, 2):
            with serving(url, "--workers", str(workers)) as served:
                measured(served, served, 100, options.users)
                facts[f"{workers} workers"] = measured(served, served, options.rounds, options.users)
    if options.big is not None:
        facts |= after_change(options.big)
    report(
        "freshness", "From the acknowledgement of an event to a list that reflects it", facts, publish=options.publish
    )


if __name__ == "__main__":
    main()
