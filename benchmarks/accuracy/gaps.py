"""What the Transformer gains from the time between events and from their kinds, on MovieLens latest-small.

`python -m benchmarks.accuracy.gaps [--part valid test] [--seeds N] [--out FILE]`

The log has times to the second and ten kinds of events, the stars. Each of the last 5 events of every user is asked
for from all that is before it, items of the history left out; the model is fitted to what is older than these. For
the part `valid`, by which the defaults were chosen, the 5 newest are cut off, and the last 10 of the rest asked for.
A fit takes about four minutes.
"""

from __future__ import annotations

import time

import numpy as np
import torch

from benchmarks.accuracy.deep import spread
from benchmarks.common.logs import movielens
from benchmarks.common.tables import grid, parser, publish, title
from palate import Transformer
from palate.arrays import Longs
from palate.data.interactions import Interactions
from palate.models.blend import marked

NEWEST, OF_VALID = 5, 10
BOTH = [(False, False), (True, True)]  # gaps and kinds
EACH = [(False, False), (True, False), (False, True), (True, True)]


def parts(part: str) -> tuple[Interactions, int]:
    """Return the log, and how many of the newest events of each user are asked for."""
    log = movielens()
    if part == "test":
        return log, NEWEST
    return log.select(log.rows.left > NEWEST), OF_VALID


def ranks(recipe: Transformer, log: Interactions, newest: int) -> Longs:
    """Rank of each event asked for among the items that are not in its history; of unknown items there is none."""
    back = log.rows.left
    model = recipe.fit(log.select(back > newest))
    row = model.items.recode(log.items)[log.item]
    found = []
    for n in range(1, newest + 1):
        histories = log.select(back > n).histories(log.users.ids).on(model.items)
        wanted = row[log.start[1:] - n]
        known = np.flatnonzero(wanted >= 0)
        scores = model.scores(histories)
        score = scores[known, wanted[known]]
        scores[marked(histories)] = -np.inf
        found.append(1 + (scores[known] > score[:, None]).sum(axis=1))
    return np.concatenate(found)


def figures(rank: Longs) -> list[float]:
    """HR@10, NDCG@10 and the mean reciprocal rank."""
    top = rank <= 10
    return [float(top.mean()), float(np.where(top, 1 / np.log2(1 + rank), 0).mean()), float((1 / rank).mean())]


def main() -> None:
    """Run the benchmark."""
    asked = parser(__doc__)
    asked.add_argument("--part", nargs="+", choices=["valid", "test"], default=["test"])
    asked.add_argument("--seeds", type=int, default=3)
    options = asked.parse_args()
    torch.set_num_threads(1)
    text = title("Times and kinds of events", ("numpy", "torch", "palate"))
    for part in options.part:
        log, newest = parts(part)
        rows = []
        for gaps, kinds in BOTH if part == "test" else EACH:
            found, began = [], time.process_time()
            for seed in range(options.seeds):
                rank = ranks(Transformer(gaps=gaps, kinds=kinds, seed=seed), log, newest)
                found.append(figures(rank))
                print(part, gaps, kinds, seed, found[-1], flush=True)
            seconds = (time.process_time() - began) / options.seeds
            name = f"gaps={gaps}, kinds={kinds}"
            rows.append([name, *map(spread, zip(*found, strict=True)), f"{seconds:.0f}"])
        table = grid(["", "HR@10", "NDCG@10", "MRR", "CPU s"], rows)
        text += [f"## {part}", "", f"{len(rank):,} events, {options.seeds} seeds.", "", *table, ""]
    publish("\n".join(text), options.out)


if __name__ == "__main__":
    main()
