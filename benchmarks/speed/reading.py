"""Read a log of 10M events, beside `polars.read_csv`: `python -m benchmarks.speed.reading [--out FILE]`.

Time and memory: both read the same file in alternating fresh processes, from the page cache; imports are not counted.
Memory is the peak of the resident set above that after the imports, beside the 20 bytes an event of the coded log.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from statistics import median

import numpy as np
import polars as pl

from benchmarks.common.processes import run_code
from benchmarks.common.tables import grid, parser, publish, spread, title

USERS, ITEMS = 100_000, 20_000
BYTES_AN_EVENT = 4 + 4 + 4 + 8  # user, item, weight, timestamp
MEASURE = """
import sys, time
import polars
from benchmarks.common.processes import resident
from palate.data.readers import read_log
before = resident("VmRSS")
begin = time.perf_counter()
log = {"palate": read_log, "polars": polars.read_csv}[sys.argv[1]](sys.argv[2])
print(time.perf_counter() - begin, (resident("VmHWM") - before) / 1e6)
"""


def write_log(path: Path, events: int, strings: bool) -> None:
    """Write events with popular items, ids as integers or as strings, stars and seconds, in no order."""
    draw = np.random.default_rng(0)
    frame = pl.DataFrame(
        {
            "userId": draw.integers(0, USERS, events),
            "movieId": (ITEMS * draw.random(events) ** 3).astype(np.int64),
            "rating": draw.integers(1, 11, events) / 2,
            "timestamp": draw.integers(1_500_000_000, 1_600_000_000, events),
        }
    )
    if strings:
        frame = frame.with_columns(pl.format("user-{}", "userId"), pl.format("B00{}X", "movieId"))
    frame.write_csv(path)


def measure(reader: str, path: Path) -> tuple[float, float]:
    """Seconds and megabytes of one reader in a fresh process."""
    seconds, megabytes = run_code(MEASURE, reader, str(path)).split()
    return float(seconds), float(megabytes)


def rows_of(name: str, path: Path, events: int, rounds: int) -> list[list[str]]:
    """Measure both readers on one file; the first round only warms caches."""
    runs = [(measure("polars", path), measure("palate", path)) for _ in range(rounds + 1)][1:]
    coded = events * BYTES_AN_EVENT / 1e6
    base = median(polars[0] for polars, _ in runs)
    rows = []
    for n, reader in enumerate(("polars.read_csv", "palate.read_log")):
        seconds, peak = [run[n][0] for run in runs], median(run[n][1] for run in runs)
        shares = f"{median(seconds) / base:.2f}", f"{peak:.0f}", f"{peak / coded:.2f}"
        rows.append([f"{name}, {path.stat().st_size / 1e6:.0f} MB", reader, *spread(seconds), *shares])
    return rows


def main() -> None:
    """Run the benchmark."""
    asked = parser(__doc__)
    asked.add_argument("--events", type=int, default=10_000_000)
    asked.add_argument("--rounds", type=int, default=5)
    options = asked.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, strings in (("integer ids", False), ("string ids", True)):
            path = Path(folder) / "log.csv"
            write_log(path, options.events, strings)
            rows += rows_of(name, path, options.events, options.rounds)
    lines = [
        *title(f"Reading {options.events:,} events of CSV", ("numpy", "numba", "polars", "palate")),
        f"Median and range of {options.rounds} fresh processes.",
        "",
        *grid(["file", "reader", "seconds", "range", "times polars", "peak, MB", "times the coded arrays"], rows),
        "",
    ]
    publish("\n".join(lines), options.out)


if __name__ == "__main__":
    main()
