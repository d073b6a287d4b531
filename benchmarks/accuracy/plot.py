"""Accuracy against training time, from quality.py: `python -m benchmarks.accuracy.plot [--out FILE]`."""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.accuracy.quality import known
from benchmarks.common.paths import ROOT
from palate.evaluation.picture import Point, draw

TICK = 0.01  # seconds: the system counts CPU time in these

if __name__ == "__main__":
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--contest", default="movielens-small, 80/20 per user")
    asked.add_argument("--metric", default="NDCG@10")
    asked.add_argument("--out", type=Path, default=ROOT / "docs" / "quality.png")
    options = asked.parse_args()
    asks = (options.contest, "test")
    latest = {each.contestant: each for each in known().values() if (each.contest, each.part) == asks}
    name = options.metric
    points = [
        Point(
            contestant,
            max(each.cpu_seconds, TICK),
            each.metrics[name],
            each.intervals[name],
            each.metrics["coverage@10"],
        )
        for contestant, each in latest.items()
    ]
    draw(options.out, points, name, f"{options.contest}; CPU seconds of one thread; 95% intervals")
