"""Logs that several benchmarks read or make."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.common.paths import DATA, ROOT
from palate import read_log
from palate.arrays import Ints
from palate.data.interactions import Interactions
from palate.data.vocabulary import Vocabulary

GOWALLA = DATA / "gowalla"
RATINGS = ROOT / "examples" / "movielens-small" / "ratings.csv.gz"


def movielens() -> Interactions:
    """Read MovieLens latest-small, its stars as weights."""
    return read_log(RATINGS)


def gowalla() -> tuple[Interactions, Interactions] | None:
    """Train and test of the split published with LightGCN; None, with a message, where the files are absent."""
    if not GOWALLA.is_dir():
        print(f"skipped Gowalla: {GOWALLA} is absent; a line of its train.txt and test.txt is `user item item ...`")
        return None
    pairs = [_pairs(GOWALLA / name) for name in ("train.txt", "test.txt")]
    users, items = (Vocabulary.of(np.unique(pairs[0][side]).tolist()) for side in (0, 1))
    train, test = (Interactions.of(users, items, users.codes(u.tolist()), items.codes(i.tolist())) for u, i in pairs)
    return train, test


def _pairs(path: Path) -> tuple[Ints, Ints]:
    rows = [np.array(line.split(), np.int32) for line in path.read_text().splitlines()]
    return np.concatenate([np.full(len(row) - 1, row[0]) for row in rows if len(row)]), np.concatenate(
        [row[1:] for row in rows]
    )


def synthetic(n_users: int, n_items: int, n_events: int) -> Interactions:
    """Make a log of random events, item popularity falling off as a power."""
    draw = np.random.default_rng(0)
    user = draw.integers(0, n_users, n_events, dtype=np.int32)
    item = (n_items * draw.random(n_events) ** 3).astype(np.int32)
    return Interactions.of(Vocabulary.of(range(n_users)), Vocabulary.of(range(n_items)), user, item)
