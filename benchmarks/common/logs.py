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
TASTE = 1.2  # standard deviation of what tastes add to the logarithm of a chance


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


def dense(n_users: int = 6_040, n_items: int = 3_706, per_user: int = 132, factors: int = 20) -> Interactions:
    """Make a log of the size of MovieLens-1M: items of Zipf's law, and tastes of a few latent factors."""
    rng = np.random.default_rng(0)
    users, items = (rng.standard_normal((n, factors), np.float32) for n in (n_users, n_items))
    popularity = np.log(1 / rng.permutation(np.arange(10, n_items + 10)))
    spread = 0.8  # of the logarithm of lengths
    lengths = per_user * np.exp(spread * rng.standard_normal(n_users) - spread**2 / 2)
    chosen = []
    for row, length in zip(users, lengths.clip(20, n_items // 3).astype(int), strict=True):
        wish = popularity + TASTE * (items @ row) / np.sqrt(factors) + rng.gumbel(size=n_items)
        chosen.append(np.argpartition(-wish, length)[:length].astype(np.int32))
    user = np.repeat(np.arange(n_users, dtype=np.int32), [len(each) for each in chosen])
    return Interactions.of(Vocabulary.of(range(n_users)), Vocabulary.of(range(n_items)), user, np.concatenate(chosen))
