"""Time to load a saved model of 1M items: `python -m benchmarks.speed.loading [--out FILE]`.

Each row is the median of fresh processes on files in the page cache; imports are not counted.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from benchmarks.common.processes import run_code
from benchmarks.common.tables import grid, parser, publish, spread, title
from palate.bundles.bundle import Part, write_bundle
from palate.data.vocabulary import Vocabulary

ROUNDS = 7
READ = """
import sys, time
from palate.bundles.bundle import read_bundle
begin = time.perf_counter()
parts = read_bundle(sys.argv[1]).parts
print(time.perf_counter() - begin)
"""


def parts_of(n_items: int, dim: int) -> dict[str, Part]:
    """Make the parts of an embedding model with string ids."""
    vectors = np.random.default_rng(0).normal(size=(n_items, dim)).astype(np.float32)
    return {"items": Vocabulary.of([f"item-{n:09d}" for n in range(n_items)]), "item_vectors": vectors}


def seconds_to_load(folder: Path) -> list[float]:
    """Load in fresh processes; the first one only warms the page cache."""
    return [float(run_code(READ, str(folder))) for _ in range(ROUNDS + 1)][1:]


def main() -> None:
    """Run the benchmark."""
    options = parser(__doc__).parse_args()
    rows = []
    for n_items, dim in ((10_000, 64), (100_000, 64), (1_000_000, 64)):
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place) / "model"
            write_bundle(folder, parts_of(n_items, dim), {})
            size = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
            rows.append([f"{n_items:,} x {dim}", f"{size:.0f}", *spread(seconds_to_load(folder), 3)])
    lines = [
        *title("Loading a model"),
        f"Median and range of {ROUNDS} fresh processes.",
        "",
        *grid(["items x dim", "on disk, MB", "load with checksums, s", "range, s"], rows),
        "",
    ]
    publish("\n".join(lines), options.out)


if __name__ == "__main__":
    main()
