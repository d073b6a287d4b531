"""What the Transformer gains from the time between events and from their kinds, on MovieLens latest-small.

`python benchmarks/gaps.py [--part valid test] [--seeds N] [--out FILE]`

The log has times to the second and ten kinds of events, the stars. Each of the last 5 events of everybody is asked
for from all that is before it, items of the history left out; the model is fitted to what is older than these. For
the part `valid`, by which the defaults were chosen, the 5 newest are cut off, and the last 10 of the rest asked for.
A fit takes about four minutes.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
from common import grid, movielens, parser, publish, title

from palate import Transformer
from palate.arrays import Longs
from palate.data.interactions import Interactions
from palate.models.blend import marked

NEWEST, OF_VALID = 5, 10


def parts(part: str) -> tuple[Interactions, int]:
    """Return the log, and how many of the newest events of each person are asked for."""
    log = movielens()
    if part == "test":
        return log, NEWEST
    return log.select(age(log) > NEWEST), OF_VALID


def age(log: Interactions) -> Longs:
    """1 for the newest event of each person, 2 for the one before it, (N,)."""
    return np.repeat(log.start[1:], np.diff(log.start)) - np.arange(len(log))


def ranks(recipe: Transformer, log: Interactions, newest: int) -> Longs:
    """Rank of each event asked for among the items that are not in its history; of unknown items there is none."""
    back = age(log)
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


def told(values: Sequence[Sequence[float]]) -> list[str]:
    """Mean and standard deviation over seeds of each figure."""
    table = np.array(values)
    spread = table.std(axis=0, ddof=1) if len(table) > 1 else np.full(table.shape[1], np.nan)
    return [f"{mean:.4f} ± {each:.4f}" for mean, each in zip(table.mean(axis=0), spread, strict=True)]


def main() -> None:
    """Run the benchmark."""
    asked = parser(__doc__)
    asked.add_argument("--part", nargs="+", choices=["valid", "test"], default=["test"])
    asked.add_argument("--seeds", type=int, default=3)
    options = asked.parse_args()
    text = title("Times and kinds of events", ("numpy", "torch", "palate"))
    for part in options.part:
        log, newest = parts(part)
        rows = []
        ways = (
            [(False, False), (True, True)]
            if part == "test"
            else [(g, k) for g in (False, True) for k in (False, True)]
        )
        for gaps, kinds in ways:
            found, began = [], time.process_time()
            for seed in range(options.seeds):
                rank = ranks(Transformer(gaps=gaps, kinds=kinds, seed=seed), log, newest)
                found.append(figures(rank))
                print(part, gaps, kinds, seed, found[-1], flush=True)
            seconds = (time.process_time() - began) / options.seeds
            name = f"gaps={gaps}, kinds={kinds}"
            rows.append([name, *told(found), f"{seconds:.0f}"])
        table = grid(["", "HR@10", "NDCG@10", "MRR", "CPU s"], rows)
        text += [f"## {part}", "", f"{len(rank):,} events, {options.seeds} seeds.", "", *table, ""]
    publish("\n".join(text), options.out)


if __name__ == "__main__":
    main()
