"""Forgetting users, beside a new training: `python -m benchmarks.speed.forgetting [--out FILE]`.

EASE on 6,040 x 3,706 random events, 1M of them; IALS and Embedding on Gowalla: one user, and 1,000 at once. Wall and
CPU seconds, best of three, and the distance that the receipt states. Then the attack: are users that left still told
apart from users that were never there? The newer half of a history is scored by the older half; AUC of 300 users a
side by the mean score of the newer half, for the model before, after, and trained without them, with 95% intervals.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from statistics import mean

import numpy as np

from benchmarks.common.logs import gowalla, synthetic
from benchmarks.common.tables import grid, parser, publish, title
from palate import EASE, IALS, Embedding, ItemKNN
from palate.arrays import Doubles
from palate.data.interactions import Interactions
from palate.models.base import Model, Recipe
from palate.privacy import forget
from palate.privacy.receipts import Receipt

ROUNDS, BATCH, SIDE = 3, 1000, 300
HEAD = ("recipe", "log", "users", "wall s", "CPU s", "training, wall s", "how", "distance")


def timed(work: Callable[[], Receipt]) -> tuple[float, float, Receipt]:
    """Wall and CPU seconds of the fastest of some calls."""
    found = []
    for _ in range(ROUNDS):
        wall, cpu = time.perf_counter(), time.process_time()
        receipt = work()
        found.append((time.perf_counter() - wall, time.process_time() - cpu, receipt))
    return min(each[0] for each in found), min(each[1] for each in found), found[0][2]


def speed(recipe: Recipe, name: str, log: Interactions) -> Iterator[list[str]]:
    """Time one user, and many."""
    began = time.perf_counter()
    model = recipe.fit(log)
    training = time.perf_counter() - began
    ids = log.users.ids.to_list()
    for count in (1, BATCH):
        wall, cpu, receipt = timed(lambda: forget(model, log, ids[:count])[1])  # noqa: B023
        distance = "" if receipt.distance is None else f"{receipt.distance:.1e}"
        cells = [f"{wall:.3f}", f"{cpu:.3f}", f"{training:.1f}", receipt.how, distance]
        yield [type(recipe).__name__, name, f"{count:,}", *cells]


def advantage(model: Model, inside: Interactions, outside: Interactions) -> tuple[float, float]:
    """AUC of the users inside against those outside, and its standard error (Hanley and McNeil 1982)."""
    a, b = (np.array(list(_scores(model, log))) for log in (inside, outside))
    auc = float((a[:, None] > b).mean() + 0.5 * (a[:, None] == b).mean())
    q1, q2 = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    variance = auc * (1 - auc) + (len(a) - 1) * (q1 - auc**2) + (len(b) - 1) * (q2 - auc**2)
    return auc, float(np.sqrt(variance / (len(a) * len(b))))


def _scores(model: Model, log: Interactions) -> Iterator[float]:
    for low, high in pairwise(log.start.tolist()):
        half = (low + high) // 2
        older = log.items.ids.gather(log.item[low:half].astype(np.int64)).to_list()
        scores: Doubles = model.scores(model.histories([older]))[0].astype(np.float64)
        yield float((scores[log.item[half:high]].mean() - scores.mean()) / max(float(scores.std()), 1e-12))


def attack(recipe: Recipe, name: str, whole: Interactions) -> list[str]:
    """One row: before, after, and trained without."""
    ids = np.random.default_rng(0).permutation(whole.users.ids.cast(str).to_list())
    gone, never, rest = ({*part.tolist()} for part in np.split(ids, [SIDE, 2 * SIDE]))
    inside, outside = whole.without(never | rest), whole.without(gone | rest)
    log = whole.without(never)
    model = recipe.fit(log)
    lighter, _ = forget(model, log, gone)
    cells = []
    for each in (model, lighter, recipe.fit(log.without(gone))):
        auc, error = advantage(each, inside, outside)
        cells.append(f"{auc:.3f} [{auc - 1.96 * error:.3f}, {auc + 1.96 * error:.3f}]")
    return [type(recipe).__name__, name, *cells]


def main() -> None:
    """Print the tables."""
    asked = parser(__doc__).parse_args()
    dense = synthetic(6040, 3706, 1_000_000)
    rows = [*speed(EASE(l2=500.0), "6,040 x 3,706", dense)]
    attacks = [attack(EASE(l2=100.0), "3,000 x 1,000", synthetic(3000, 1000, 60_000))]
    attacks.append(attack(ItemKNN(), "3,000 x 1,000", synthetic(3000, 1000, 60_000)))
    attacks.append(attack(IALS(dim=64), "3,000 x 1,000", synthetic(3000, 1000, 60_000)))
    attacks.append(attack(Embedding(dim=64), "3,000 x 1,000", synthetic(3000, 1000, 60_000)))
    pair = gowalla()
    if pair is not None:
        for recipe in (IALS(), Embedding()):
            rows += speed(recipe, "Gowalla", pair[0])
    lengths = mean(np.diff(dense.start).tolist())
    lines = title("Forgetting")
    lines += [*grid(HEAD, rows), "", f"A user of the first log has {lengths:.0f} events in the mean.", ""]
    lines += ["AUC of the attack, where 0.5 is by chance:", ""]
    lines += grid(("recipe", "log", "before", "after", "trained without"), attacks)
    publish("\n".join(lines) + "\n", asked.out)


if __name__ == "__main__":
    main()
