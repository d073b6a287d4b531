"""Peers that tuned themselves for a time, in a process of their own, as models that are graded as palate's are."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.common.paths import ROOT
from benchmarks.common.peers import fit_apart
from palate import Popularity, Split, evaluate
from palate.arrays import Floats, Ints
from palate.data.histories import Histories
from palate.models.base import Model

NAMES = ("Optuna over implicit", "tuning of irspack", "random search over LensKit")
SCRIPT = str(ROOT / "benchmarks" / "peers" / "tune.py")


@dataclass(frozen=True, eq=False)
class ListsModel(Model):
    """Scores of the items of lists that were made before: lists (B, N) of the asked users (B,), by their row."""

    lists: Ints
    place: dict[object, int]

    def scores(self, histories: Histories) -> Floats:
        """Return (B, I)."""
        scores = np.zeros((len(histories), len(self.items)), np.float32)
        falling = np.arange(self.lists.shape[1], 0, -1, dtype=np.float32)
        for row, user in zip(scores, histories.users, strict=True):
            if user in self.place:  # others are new to the peer
                row[self.lists[self.place[user]]] = falling
        return scores


def graded_peer(python: Path, name: str, split: Split, metric: str, seconds: float) -> tuple[float, float, str]:
    """Return the metric on the test, the seconds of tuning and fit, and what was taken. Raises `PalateError`."""
    train = split.train
    rows = train.users.recode(split.test.users)
    asked = rows[rows >= 0]
    k = int(metric.partition("@")[2])
    last = max(np.diff(split.test.start), default=0) == 1
    settings = json.dumps({"seconds": seconds, "k": k, "last": bool(last)})
    found = fit_apart(
        train,
        name,
        lambda given, answer: [str(python), SCRIPT, name, settings, given, answer],
        {"asked": asked},
        all_cores=True,
    )
    place = {user: n for n, user in enumerate(train.users.ids.gather(asked).to_list())}
    model = ListsModel(Popularity(), train.items, found["items"].astype(np.int32), place)
    value = float(evaluate(model, split, k)[metric])
    return value, float(found["seconds"]), str(found["taken"])
