"""Top-10 of dot products, seen items removed: `python -m benchmarks.speed.topk [--out FILE]`.

100k users x 20k items x dim 64, 50 events a user, all users, one thread, CPU seconds: beside implicit's
`recommend`, and the matrix product alone as the limit. Then one user at a time over 1M items x dim 64, wall time:
floats and bytes (exact), beside the time to stream the floats once from memory. Alternating rounds, medians.
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.common.peers import has_peers
from benchmarks.common.processes import one_thread
from benchmarks.common.tables import grid, parser, publish, title
from benchmarks.common.timing import seconds_of
from palate.arrays import Floats
from palate.kernels.compile import compiled
from palate.kernels.quantised import quantise, scanner
from palate.kernels.topk import nothing
from palate.models.factors import COLUMNS, ROWS, best_products

USERS, ITEMS, DIM, K, SEEN = 100_000, 20_000, 64, 10, 50
MANY = 1_000_000
PEER = """
import sys, time
import numpy as np
from scipy.sparse import csr_matrix
from implicit.cpu.als import AlternatingLeastSquares
log = np.load(sys.argv[1])
model = AlternatingLeastSquares(factors=log["items"].shape[1], num_threads=1)
model.user_factors, model.item_factors = log["users"], log["items"]
shape = len(log["users"]), len(log["items"])
seen = csr_matrix((np.ones(len(log["column"]), np.float32), log["column"], log["start"]), shape=shape)
began = time.process_time()
model.recommend(np.arange(shape[0]), seen, N=10, filter_already_liked_items=True)
print(time.process_time() - began)
"""


@compiled
def stream(table: Floats) -> np.float32:
    """Read every float of a vector once."""
    total = np.float32(0)
    for n in range(len(table)):
        total += table[n]
    return total


def all_users(python: Path | None, rounds: int) -> list[list[str]]:
    """Users ranked a CPU second."""
    draw = np.random.default_rng(0)
    users, items = (draw.standard_normal((n, DIM), np.float32) for n in (USERS, ITEMS))
    items *= draw.random((ITEMS, 1), np.float32)
    start = np.arange(USERS + 1, dtype=np.int64) * SEEN
    column = draw.integers(0, ITEMS, USERS * SEEN, dtype=np.int32)
    allowed = np.ones(ITEMS, np.bool_)
    tile = np.empty((ROWS, COLUMNS), np.float32)

    def product() -> None:
        for low in range(0, USERS, ROWS):
            for left in range(0, ITEMS, COLUMNS):
                part = items[left : left + COLUMNS].T
                np.matmul(users[low : low + ROWS], part, out=tile[: min(ROWS, USERS - low), : part.shape[1]])

    runs: dict[str, list[float]] = {"palate": [], "the products alone": []}
    best_products(users[:1000], items, K, allowed, start[:1001], column)  # compiles
    with tempfile.TemporaryDirectory() as place:
        given = Path(place) / "log.npz"
        np.savez(given, users=users, items=items, start=start, column=column)
        for _ in range(rounds):
            runs["palate"].append(
                seconds_of(lambda: best_products(users, items, K, allowed, start, column), time.process_time)
            )
            runs["the products alone"].append(seconds_of(product, time.process_time))
            if python is not None:
                command = [str(python), "-c", PEER, str(given)]
                done = subprocess.run(command, env=one_thread(), capture_output=True, text=True, check=True)
                runs.setdefault("implicit", []).append(float(done.stdout))
    mine = median(runs["palate"])
    return [
        [name, f"{USERS / median(took):,.0f}", f"{min(took):.2f} to {max(took):.2f}", f"{median(took) / mine:.2f}"]
        for name, took in runs.items()
    ]


def one_user(rounds: int) -> list[list[str]]:
    """Milliseconds of one question."""
    draw = np.random.default_rng(0)
    items = draw.standard_normal((MANY, DIM), np.float32)
    items *= 0.3 + draw.random((MANY, 1), np.float32)
    start, column = np.array([0, SEEN]), draw.integers(0, MANY, SEEN, dtype=np.int32)
    allowed = np.ones(MANY, np.bool_)
    codes = quantise(items)
    scan = scanner(DIM)
    runs: dict[str, list[float]] = {"reading the floats": [], "floats": [], "bytes, exact": []}
    twice = []
    for _ in range(rounds * 10):
        user = draw.standard_normal((1, DIM), np.float32)
        item, best = nothing(1, K)
        runs["reading the floats"].append(seconds_of(lambda: stream(items.ravel())))
        began = time.perf_counter()
        expected = best_products(user, items, K, allowed, start, column)[0]
        runs["floats"].append(time.perf_counter() - began)
        began = time.perf_counter()
        twice.append(scan(user, items, *codes, allowed, start, column, item, best))
        runs["bytes, exact"].append(time.perf_counter() - began)
        np.testing.assert_array_equal(item, expected)
    print(f"rows looked at twice: {median(twice):.0f} of {MANY:,}")
    limit = median(runs["reading the floats"])
    return [
        [
            name,
            f"{median(took) * 1e3:.1f}",
            f"{min(took) * 1e3:.1f} to {max(took) * 1e3:.1f}",
            f"{median(took) / limit:.2f}",
        ]
        for name, took in runs.items()
    ]


def main() -> None:
    """Run the benchmark."""
    asked = parser(__doc__)
    asked.add_argument("--rounds", type=int, default=3)
    options = asked.parse_args()
    python = options.peers if has_peers(options.peers) else None
    with threadpool_limits(1):
        batch, single = all_users(python, options.rounds), one_user(options.rounds)
    lines = [
        *title(f"Top-{K} of dot products, dim {DIM}"),
        f"{USERS:,} users x {ITEMS:,} items, {SEEN} seen items of each removed; CPU seconds, median and range.",
        "",
        *grid(["library", "users a CPU second", "CPU s", "times palate"], batch),
        "",
        f"One user over {MANY:,} items, wall time.",
        "",
        *grid(["what", "ms", "range", "times reading"], single),
        "",
    ]
    publish("\n".join(lines), options.out)


if __name__ == "__main__":
    main()
