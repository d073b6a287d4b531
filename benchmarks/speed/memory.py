"""Peak memory of fits to 10M events, 100k users, 20k items: `python -m benchmarks.speed.memory [--out FILE]`.

The log is made and written by this process; a fresh one imports palate, loads the log's arrays and fits. Counted is
the peak of its resident set above that after the imports, with the log and without. A first fit of a few events in
a process before it compiles the kernels.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from benchmarks.common.logs import synthetic
from benchmarks.common.processes import run_code
from benchmarks.common.tables import grid, parser, publish, spread, title
from palate.models.embedding import LOSS_CODES

USERS, ITEMS, EVENTS = 100_000, 20_000, 10_000_000
TARGET = 350
MEASURE = """
import sys, time
import numpy as np
from benchmarks.common.processes import resident
from palate import Embedding
from palate.data.interactions import Interactions
from palate.data.vocabulary import Vocabulary

folder, loss = sys.argv[1:]
imported = resident("VmRSS") / 1e6
start, item, weight = (np.load(f"{folder}/{name}.npy") for name in ("start", "item", "weight"))
ids = [Vocabulary.of(range(n)) for n in (len(start) - 1, int(item.max()) + 1)]
log = Interactions(*ids, start, item, weight)
loaded = resident("VmRSS") / 1e6
began = time.process_time()
Embedding(loss=loss, epochs=2).fit(log)
peak = resident("VmHWM") / 1e6
print(loaded - imported, peak - loaded, peak - imported, time.process_time() - began)
"""


def write_log(folder: Path, events: int) -> None:
    """Write the arrays of a log."""
    log = synthetic(USERS, ITEMS, events)
    for name in ("start", "item", "weight"):
        np.save(folder / name, getattr(log, name))


def measure(folder: Path, loss: str) -> list[float]:
    """Megabytes of the log, of the fit, of both; CPU seconds."""
    return [float(number) for number in run_code(MEASURE, str(folder), loss).split()]


def main() -> None:
    """Run the benchmark."""
    asked = parser(__doc__)
    asked.add_argument("--events", type=int, default=EVENTS)
    asked.add_argument("--rounds", type=int, default=3)
    options = asked.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as place:
        small, large = Path(place, "small"), Path(place, "large")
        for folder, events in ((small, 1000), (large, options.events)):
            folder.mkdir()
            write_log(folder, events)
        for loss in LOSS_CODES:
            measure(small, loss)
            runs = np.array([measure(large, loss) for _ in range(options.rounds)])
            log, fit, both, seconds = (f"{number:.0f}" for number in np.median(runs, axis=0))
            rows.append([loss, log, fit, both, spread(runs[:, 2].tolist(), 0)[1], seconds])
    lines = [
        *title(f"Peak memory of a fit: {options.events:,} events, {USERS:,} users, {ITEMS:,} items, dim 64"),
        f"MB above the imports; median of {options.rounds} fresh processes, 2 epochs, other settings by default.",
        f"The target is {TARGET} MB for log and fit together.",
        "",
        *grid(["loss", "log", "fit", "log and fit", "range", "CPU s"], rows),
        "",
    ]
    publish("\n".join(lines), options.out)


if __name__ == "__main__":
    main()
