"""Time to load a saved model of 1M items: `python benchmarks/loading.py [--out FILE]`.

Each row is the median of fresh processes on files in the page cache; imports are not counted.
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
    command = [sys.executable, "-c", READ, str(folder)]
    runs = [float(subprocess.run(command, check=True, capture_output=True).stdout) for _ in range(ROUNDS + 1)]
    return sorted(runs[1:])


def table() -> str:
    """Measure, and return a Markdown table."""
    lines = [
        f"Loading a model, {date.today().isoformat()}, median and range of {ROUNDS} fresh processes",
        "",
        "| items x dim | on disk, MB | load with checksums, s | range, s |",
        "|---|---|---|---|",
    ]
    for n_items, dim in ((10_000, 64), (100_000, 64), (1_000_000, 64)):
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place) / "model"
            write_bundle(folder, parts_of(n_items, dim), {})
            size = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
            runs = seconds_to_load(folder)
        lines.append(
            f"| {n_items:,} x {dim} | {size:.0f} | {statistics.median(runs):.3f} | {runs[0]:.3f} to {runs[-1]:.3f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--out", type=Path, help="also write the table to this file")
    out = options.parse_args().out
    text = table()
    print(text)
    if out is not None:
        out.write_text(text + "\n", encoding="utf-8")
