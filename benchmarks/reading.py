"""Time and memory to read a log of 10M events beside `polars.read_csv`: `python benchmarks/reading.py [--out FILE]`.

Both read the same file in alternating fresh processes, from the page cache; imports are not counted. Memory is the
peak of the resident set above what it was after the imports, beside the 20 bytes an event of the coded log.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl

USERS, ITEMS = 100_000, 20_000
BYTES_AN_EVENT = 4 + 4 + 4 + 8  # user, item, weight, timestamp
MEASURE = """
import sys, time
import polars
from palate.data.readers import read_log
def megabytes(field):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(field)) * 1024 / 1e6
before = megabytes("VmRSS")
begin = time.perf_counter()
log = {"palate": read_log, "polars": polars.read_csv}[sys.argv[1]](sys.argv[2])
print(time.perf_counter() - begin, megabytes("VmHWM") - before)
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
    command = [sys.executable, "-c", MEASURE, reader, str(path)]
    seconds, megabytes = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return float(seconds), float(megabytes)


def lines_of(name: str, path: Path, events: int, rounds: int) -> list[str]:
    """Measure both readers on one file; the first round only warms caches."""
    runs = [(measure("polars", path), measure("palate", path)) for _ in range(rounds + 1)][1:]
    coded = events * BYTES_AN_EVENT / 1e6
    base = statistics.median(polars[0] for polars, _ in runs)
    lines = []
    for place, reader in enumerate(("polars.read_csv", "palate.read_log")):
        seconds = sorted(run[place][0] for run in runs)
        peak = statistics.median(run[place][1] for run in runs)
        middle = statistics.median(seconds)
        lines.append(
            f"| {name}, {path.stat().st_size / 1e6:.0f} MB | {reader} | {middle:.2f} | {seconds[0]:.2f} to "
            f"{seconds[-1]:.2f} | {middle / base:.2f} | {peak:.0f} | {peak / coded:.2f} |"
        )
    return lines


def table(events: int, rounds: int) -> str:
    """Measure, and return a Markdown table."""
    lines = [
        f"Reading {events:,} events of CSV, {date.today().isoformat()}, median and range of {rounds} fresh processes",
        "",
        "| file | reader | seconds | range | times polars | peak, MB | times the coded arrays |",
        "|---|---|---|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as folder:
        for name, strings in (("integer ids", False), ("string ids", True)):
            path = Path(folder) / "log.csv"
            write_log(path, events, strings)
            lines += lines_of(name, path, events, rounds)
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, help="write the table here as well")
    asked = parser.parse_args()
    text = table(asked.events, asked.rounds)
    print(text)
    if asked.out:
        asked.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
