"""Federated training on many devices, each with one user: `python -m benchmarks.speed.devices [--out FILE]`.

`[--users N]`: users of lastfm-music, folds 0 and 1, each a client of its own in this process, with keys, masks and
shares as between processes; beside a training on all their events. Distance is that of `benchmarks.speed.federated`:
the first device knows the ids of all items. Bytes are those of a device in a run.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from statistics import mean

import numpy as np

from benchmarks.common.tables import grid, parser, publish, title
from benchmarks.speed.federated import SECRET, central, distance, music
from palate import EASE, IALS
from palate.models.base import Recipe
from palate.privacy.federated.party import Party
from palate.privacy.federated.training import simulate

HEAD = ("recipe", "devices", "wall s", "CPU s", "MB down a device", "up", "distance", "largest number")


def row(recipe: Recipe, users: int) -> list[str]:
    """Train on so many devices, and compare."""
    whole = music().train
    log = whole.select(whole.user < users)
    known = [log.items, *[None] * len(log.users)]
    parties = [Party(f"d{n}", log.select(log.user == n), SECRET, known[n]) for n in range(len(log.users))]
    wall, cpu = time.perf_counter(), time.process_time()
    traffic = simulate(recipe, parties, lambda text: print(text, file=sys.stderr, flush=True))
    seconds = f"{time.perf_counter() - wall:.0f}", f"{time.process_time() - cpu:.0f}"
    model, of_all = parties[0].finished(), central(recipe, log)
    sizes = [sum(getattr(each, way).values()) / 1e6 for each in traffic.values() for way in ("down", "up")]
    largest = float(np.abs(getattr(of_all, "item_vectors", getattr(of_all, "weights", 0))).max())
    shown = f"{mean(sizes[::2]):.2f}", f"{mean(sizes[1::2]):.2f}", distance(model, of_all), f"{largest:.2f}"
    return [repr(recipe), f"{len(parties):,}", *seconds, *shown]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    asked = parser(__doc__)
    asked.add_argument("--users", type=int, nargs="+", default=[2000])
    asked.add_argument("--recipes", nargs="+", choices=("ials", "ease"), default=["ials"])
    chosen = asked.parse_args(arguments)
    recipes = {"ials": IALS(dim=16, epochs=1, threads=1), "ease": EASE()}
    rows = [row(recipes[name], users) for name in chosen.recipes for users in chosen.users]
    head = title("Federated training on devices of one user", ("numpy", "flwr", "palate"))
    publish("\n".join([*head, *grid(HEAD, rows), ""]), chosen.out)


if __name__ == "__main__":
    main()
