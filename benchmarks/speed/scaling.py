"""From 1M to 50M events: `python -m benchmarks.speed.scaling [--out FILE] [--plot FILE] [--events N ...]`.

Time and memory to read a CSV, to fit IALS at dim 64 for 5 epochs, and to find the best 10 items for all users, all
cores, each size in a fresh process. Counted is the peak of the resident set of each stage, the imports left out; a
fit counts the log it works on. Kernels are compiled before. The slope of a line over the logarithms of events and
seconds tells how the time grows: 1 is in proportion.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.common.processes import run_code
from benchmarks.common.tables import grid, parser, publish, title

USERS_A_MILLION, ITEMS = 10_000, {1_000_000: 5_000, 10_000_000: 20_000, 50_000_000: 50_000}
STAGES = ("read", "fit", "recommend")
MEASURE = """
import json, sys, time
from benchmarks.common.processes import resident, restart_peak
from palate import IALS, read_log

def stage(work):
    restart_peak()
    began = time.perf_counter()
    result = work()
    took.append(time.perf_counter() - began)
    peak.append((resident("VmHWM") - imported) / 1e6)
    return result

imported, took, peak = resident("VmRSS"), [], []
log = stage(lambda: read_log(sys.argv[1]))
model = stage(lambda: IALS(dim=64, epochs=5).fit(log))

def all_users():
    histories = log.histories()
    for low in range(0, len(histories), 20_000):
        model.recommend(histories.block(low, min(low + 20_000, len(histories))), 10)

stage(all_users)
print(json.dumps([took, peak, len(log.users), len(log.items)]))
"""


def write_log(path: Path, events: int) -> None:
    """Write events with popular items, integer ids, seconds in order."""
    draw = np.random.default_rng(0)
    users, items = events // 1_000_000 * USERS_A_MILLION or 1_000, ITEMS.get(events, 2_000)
    step = 5_000_000
    with path.open("wb") as file:
        for low in range(0, events, step):
            n = min(step, events - low)
            frame = pl.DataFrame(
                {
                    "user_id": draw.integers(0, users, n),
                    "item_id": (items * draw.random(n) ** 3).astype(np.int64),
                    "timestamp": 1_500_000_000 + np.arange(low, low + n),
                }
            )
            frame.write_csv(file, include_header=low == 0)


def measure(path: Path) -> tuple[list[float], list[float], int, int]:
    """Seconds and peak megabytes of each stage in a fresh process, users and items."""
    took, peak, users, items = json.loads(run_code(MEASURE, str(path)))
    return took, peak, users, items


def draw_plot(path: Path, sizes: list[int], took: np.typing.NDArray[np.float64], slopes: list[float]) -> None:
    """Seconds of each stage against the events, both in powers of 10."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6.4, 4), layout="constrained")
    for stage, seconds, slope in zip(STAGES, took.T, slopes, strict=True):
        axes.loglog(sizes, seconds, marker="o", label=f"{stage}, events^{slope:.2f}")
    axes.set_xlabel("events")
    axes.set_ylabel("seconds")
    axes.grid(visible=True, which="major", alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(path)


def main() -> None:
    """Run the benchmark."""
    asked = parser(__doc__)
    asked.add_argument("--events", type=int, nargs="+", default=list(ITEMS))
    asked.add_argument("--plot", type=Path, help="draw the times, PNG or SVG")
    options = asked.parse_args()
    rows, took = [], []
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "log.csv"
        write_log(path, 20_000)
        measure(path)  # compiles the kernels
        for events in options.events:
            write_log(path, events)
            seconds, peak, users, items = measure(path)
            took.append(seconds)
            cells = (f"{s:.1f} s, {m:,.0f} MB" for s, m in zip(seconds, peak, strict=True))
            rows.append([f"{events:,}", f"{users:,} x {items:,}", *cells])
    times = np.array(took)
    slopes = [float(np.polyfit(np.log(options.events), np.log(times[:, n]), 1)[0]) for n in range(len(STAGES))]
    if len(options.events) > 1:
        rows.append(["time grows as", "", *(f"events^{slope:.2f}" for slope in slopes)])
    if options.plot is not None:
        draw_plot(options.plot, options.events, times, slopes)
    lines = [
        *title("From 1M to 50M events"),
        "Wall time on all cores, and the peak of the resident set above the imports. IALS, dim 64, 5 epochs; the",
        "best 10 items for all users, whose time grows with users x items.",
        "",
        *grid(["events", "users x items", *STAGES], rows),
        "",
    ]
    publish("\n".join(lines), options.out)


if __name__ == "__main__":
    main()
