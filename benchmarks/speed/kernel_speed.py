"""Item scores (positives and negatives) a second on one core: `python -m benchmarks.speed.kernel_speed [--out FILE]`.

dim 64, whole epochs, CPU time, beside implicit's BPR. Each round measures every contestant and both limits of the
machine on a log, one after the other: rows of 256 bytes read at random places of a table as large as the item
vectors, and a matrix product of float32. implicit's BPR scores 2 items a sample, those that it skips counted too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.common.logs import gowalla, movielens, synthetic
from benchmarks.common.peers import has_peers, run_peer
from benchmarks.common.tables import grid, parser, publish, title
from palate import Embedding
from palate.arrays import Floats, Ints
from palate.compute.threads import ThreadTeam
from palate.data.interactions import Interactions
from palate.kernels.compile import compiled
from palate.kernels.vectors import row_dot, row_prefetch
from palate.models.sgd import BlockSgd

DIM, K = 64, 10
LEAST_SECONDS = 0.5  # of one measurement
AHEAD = 16  # rows asked for in advance
INDIVIDUAL, SHARED, PEER = "individual negatives", "shared negatives", "implicit BPR"
ROWS, FLOPS = "random rows", "sgemm"
FLOPS_A_SCORE = 6 * DIM  # three products: the scores, and the gradients of both sides


@compiled
def read_rows(table: Floats, order: Ints, one: Floats) -> np.float32:
    """Add up the products of one (1, DIM) and the rows of a table (I, DIM) in this order (N,)."""
    total = np.float32(0)
    for n in range(len(order)):
        if n + AHEAD < len(order):
            row_prefetch(table, order[n + AHEAD], DIM)
        total += row_dot(table, order[n], one, 0, DIM)
    return total


def rate(work: Callable[[], int]) -> float:
    """Units of work a CPU second; `work` is repeated for long enough and returns the units it did."""
    began, units = time.process_time(), 0
    while time.process_time() - began < LEAST_SECONDS:
        units += work()
    return units / (time.process_time() - began)


def epoch_of(recipe: Embedding, log: Interactions, team: ThreadTeam) -> Callable[[], int]:
    """One epoch of training on one thread, which returns the number of item scores."""
    sgd_task = recipe.resolved().sgd_task(log, log.item_counts().astype(np.float32))
    users = np.count_nonzero(np.diff(log.start))
    sampled = recipe.resolved().negatives or 0
    if isinstance(sgd_task, BlockSgd):
        scores = len(log) + int(users) * min(sampled, len(log.items))
    else:
        scores = len(log) * (1 + sampled)

    def epoch() -> int:
        for _ in sgd_task.epoch(team, lambda share: 0.01 * (1 - share)):
            pass
        return scores

    epoch()  # kernels are compiled outside the clock
    return epoch


def peer_rate(python: Path, log: Interactions) -> float:
    """Item scores a second of implicit's BPR in a process of its own, from the CPU seconds between its epochs."""
    epochs = 2 + max(1, 2_000_000 // len(log))
    found = run_peer(python, "implicit_bpr", log, {"factors": DIM, "iterations": epochs})
    return float(2 * len(log) / np.median(found["epoch_seconds"].astype(np.float64)))


def contestants(log: Interactions, team: ThreadTeam, python: Path | None) -> dict[str, Callable[[], float]]:
    """All contestants on one log: each call measures once."""
    individual = epoch_of(Embedding(loss="logistic", dim=DIM, negatives=K, sampler="uniform"), log, team)
    shared = epoch_of(Embedding(dim=DIM), log, team)
    draw = np.random.default_rng(0)
    table = draw.random((len(log.items), DIM), np.float32)
    order = draw.integers(len(table), size=1 << 20, dtype=np.int32)
    square = draw.random((1024, 1024), np.float32)

    def read() -> int:
        read_rows(table, order, table[:1])
        return len(order)

    def multiply() -> int:
        square @ square
        return 2 * len(square) ** 3

    read()
    measures = {
        INDIVIDUAL: lambda: rate(individual),
        SHARED: lambda: rate(shared),
        ROWS: lambda: rate(read),
        FLOPS: lambda: rate(multiply),
    }
    if python is not None:
        measures[PEER] = lambda: peer_rate(python, log)
    return measures


def row(name: str, log: Interactions, runs: Mapping[str, list[float]]) -> list[str]:
    """Line of the table of one log."""
    middle = {subject: median(values) for subject, values in runs.items()}
    peer = middle.get(PEER)
    cells = [f"{name}: {len(log.users):,} x {len(log.items):,}, {len(log):,} events"]
    for subject in (PEER, INDIVIDUAL, SHARED):
        if subject not in runs:
            cells.append("not run")
            continue
        low, high = min(runs[subject]) / 1e6, max(runs[subject]) / 1e6
        times = f", {middle[subject] / peer:.1f}x" if peer and subject != PEER else ""
        cells.append(f"{middle[subject] / 1e6:.1f} ({low:.1f} to {high:.1f}){times}")
    cells.append(f"{middle[ROWS] / 1e6:.0f} M/s, {middle[INDIVIDUAL] / middle[ROWS]:.0%}")
    cells.append(f"{middle[FLOPS] / 1e9:.0f} GFLOP/s, {middle[SHARED] * FLOPS_A_SCORE / middle[FLOPS]:.0%}")
    return cells


def million_users() -> Interactions:
    """Make a log that fits no cache."""
    return synthetic(1_000_000, 200_000, 5_000_000)


def gowalla_train() -> Interactions | None:
    """Train part of the published split, where it is present."""
    published = gowalla()
    return published[0] if published else None


LOGS: dict[str, Callable[[], Interactions | None]] = {
    "movielens": movielens,
    "gowalla": gowalla_train,
    "synthetic": million_users,
}


def main() -> None:
    """Run the benchmark."""
    asked = parser(__doc__)
    asked.add_argument("--rounds", type=int, default=5)
    asked.add_argument("--logs", nargs="+", choices=LOGS, default=list(LOGS))
    options = asked.parse_args()
    python = options.peers if has_peers(options.peers) else None
    rows = []
    with threadpool_limits(1), ThreadTeam(1) as team:  # one team for all epochs, as in a fit
        for name in options.logs:
            log = LOGS[name]()
            if log is None:
                continue
            measures = contestants(log, team, python)
            runs: dict[str, list[float]] = {subject: [] for subject in measures}
            for _ in range(options.rounds):
                for subject, measure in measures.items():
                    runs[subject].append(measure())
            rows.append(row(name, log, runs))
    shared = Embedding().resolved().negatives
    lines = [
        *title(f"Million item scores a second on one core, dim {DIM}"),
        f"Median and range of {options.rounds} alternating rounds, CPU time, whole epochs, one thread; `x` is",
        f"beside implicit's BPR. Individual negatives: logistic loss, uniform sampler, K={K}. Shared negatives:",
        f"default loss, {shared:,} items (or all) shared by a block of users; a score counts where it is computed.",
        "The last columns are limits of the machine and the share of each that is reached: random rows of 256",
        f"bytes (one for each individual score), and the matrix product ({FLOPS_A_SCORE} operations a shared score).",
        "",
        *grid(["log", PEER, INDIVIDUAL, SHARED, "row reads, individual", "sgemm, shared"], rows),
        "",
    ]
    publish("\n".join(lines), options.out)


if __name__ == "__main__":
    main()
