"""The store: appends, reads and whole logs, SQLite and PostgreSQL: `python -m benchmarks.speed.store [--out FILE]`.

PostgreSQL is a server of its own, as in the tests. Appends are events acknowledged a second, beside the writes of
4 KB that the disk flushes a second. A log of `--events` is imported, then read in turn by `Store.log` and, exported
to Parquet, by `read_log`; wall seconds, and CPU seconds of this process. Medians, and the range where there is one.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import polars as pl
from databases import new_database, server

from benchmarks.common.tables import grid, parser, publish, spread, title
from benchmarks.common.timing import microseconds
from palate import read_log
from palate.store.events import Event, Store
from palate.store.transfer import export_events, import_events

PAST, USERS = 30, 1000
FLUSHES, READS, SECONDS = 200, 5000, 3.0
KINDS = np.array(["view", "cart", "purchase"])


def events_of(rng: np.random.Generator, n: int) -> list[Event]:
    """Random events, each with an id."""
    users, items = rng.integers(0, 100_000, n), rng.integers(0, 40_000, n)
    ids = rng.bytes(16 * n).hex()
    return [
        Event(f"user-{user}", f"item-{item}", "view", 1_700_000_000_000_000, None, ids[32 * k : 32 * k + 32])
        for k, (user, item) in enumerate(zip(users.tolist(), items.tolist(), strict=True))
    ]


def flushes(folder: Path) -> float:
    """Count the writes of 4 KB that the disk flushes a second: the limit of one client."""
    with (folder / "flushed").open("wb", buffering=0) as file:
        began = time.perf_counter()
        for _ in range(FLUSHES):
            file.write(bytes(4096))
            os.fdatasync(file.fileno())
        return FLUSHES / (time.perf_counter() - began)


def appends(store: Store, clients: int, batch: int) -> float:
    """Events a second acknowledged to `clients` that each send `batch` at once and wait."""
    end = time.perf_counter() + SECONDS

    def client(seed: int) -> int:
        rng, done = np.random.default_rng(seed), 0
        while time.perf_counter() < end:
            done += store.append(events_of(rng, batch)).new
        return done

    began = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        done = sum(pool.map(client, range(clients)))
    return done / (time.perf_counter() - began)


def read_times(read: Callable[[int], object]) -> list[float]:
    """Median and 99th percentile of a read, µs."""
    return [float(time) for time in np.percentile(microseconds(read, range(READS)), (50, 99))]


def small(url: str) -> dict[str, float]:
    """Rates of appends and times of reads."""
    found: dict[str, float] = {}
    with Store.open(url) as store:
        many = [Event(f"u{n % USERS}", f"i{n % 997}", "view", n) for n in range(USERS * PAST)]
        store.append(many)
        counter = store.items.changed()[1]
        found["history µs"], found["history µs, 99%"] = read_times(lambda n: store.history(f"u{n % USERS}"))
        found["changed µs"], found["changed µs, 99%"] = read_times(lambda _: store.items.changed(counter))
        for clients, batch in ((1, 1), (32, 1), (1, 500), (8, 500)):
            found[f"events/s, {clients} x {batch}"] = appends(store, clients, batch)
    return found


def big_log(folder: Path, n: int) -> Path:
    """Make a log of n random events of 140k users on 41k items."""
    rng = np.random.default_rng(0)
    frame = pl.DataFrame(
        {
            "user_id": pl.Series(rng.integers(0, 140_000, n)).cast(pl.String),
            "item_id": "item-" + pl.Series((41_000 * rng.random(n) ** 3).astype(np.int64)).cast(pl.String),
            "event_type": pl.Series(KINDS[rng.choice(3, n, p=[0.8, 0.15, 0.05])]),
            "timestamp": pl.Series(np.sort(rng.integers(16 * 10**14, 17 * 10**14, n))).cast(pl.Datetime("us", "UTC")),
        }
    )
    frame.write_parquet(folder / "log.parquet")
    return folder / "log.parquet"


def large(url: str, log: Path, rounds: int) -> Iterator[tuple[str, list[tuple[float, float]]]]:
    """Wall and CPU seconds of an import, and of reading the log both ways in turn."""
    with Store.open(url) as store:
        yield "import", [timed(lambda: import_events(store, log))]
        exported = log.with_name("exported.parquet")
        yield "export to Parquet", [timed(lambda: export_events(store, exported))]
        runs = [(timed(store.log), timed(lambda: read_log(exported))) for _ in range(rounds + 1)][1:]  # one warms
        yield "Store.log", [pair[0] for pair in runs]
        yield "read_log of the Parquet", [pair[1] for pair in runs]


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Wall and CPU seconds."""
    began = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - began[0], time.process_time() - began[1]


def cell(values: list[float]) -> str:
    """Median, and the range where there is one."""
    middle, between = spread(values)
    return f"{middle} ({between})" if len(values) > 1 else middle


def main() -> None:
    """Run the benchmark."""
    asked = parser(__doc__)
    asked.add_argument("--events", type=int, default=10_000_000)
    asked.add_argument("--rounds", type=int, default=3)
    options = asked.parse_args()
    kinds = ["sqlite"] + ([] if isinstance(server(), str) else ["postgresql"])
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        limit = flushes(folder)
        reads = {kind: small(new_database(kind, folder)) for kind in kinds}
        log = big_log(folder, options.events)
        logs = {kind: dict(large(new_database(kind, folder), log, options.rounds)) for kind in kinds}
    lines = [
        *title("The store", ("sqlalchemy", "psycopg", "polars", "palate")),
        f"The disk flushes {limit:,.0f} writes a second. A history has {PAST} events; 32 x 1: 32 clients,",
        "each sending one event at once and waiting until it is on the disk.",
        "",
        *grid(["", *kinds], [[what, *(f"{reads[kind][what]:,.0f}" for kind in kinds)] for what in reads["sqlite"]]),
        "",
        f"A log of {options.events:,} events: wall seconds / CPU seconds of this process.",
        "",
        *grid(["", *kinds], [[what, *(both(logs[kind][what]) for kind in kinds)] for what in logs["sqlite"]]),
        "",
    ]
    publish("\n".join(lines), options.out)
    if options.out is not None:
        figures = {"flushes": limit, "reads": reads, "events": options.events, "logs": logs}
        options.out.with_suffix(".json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def both(runs: list[tuple[float, float]]) -> str:
    """Wall and CPU seconds as one cell."""
    return f"{cell([run[0] for run in runs])} / {cell([run[1] for run in runs])}"


if __name__ == "__main__":
    main()
