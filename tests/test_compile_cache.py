"""A kernel is compiled once, not by every process."""

from __future__ import annotations

import os
import subprocess
import sys

CODE = """
import numpy as np
import polars as pl
from palate import EASE, IALS, SLIST, Embedding, ItemKNN, read_log
rng = np.random.default_rng(0)
log = read_log(pl.DataFrame({"user_id": rng.integers(0, 30, 300), "item_id": rng.integers(0, 20, 300),
                             "timestamp": np.arange(300)}))
recipes = (IALS(dim=8, epochs=1), Embedding(dim=8, epochs=1), Embedding(dim=8, epochs=1, loss="logistic"),
           EASE(), SLIST(), ItemKNN())
for recipe in recipes:
    recipe.fit(log).recommend([log.items.ids.head(2).to_list()], k=3)
"""


def test_a_second_process_compiles_nothing() -> None:
    saved = []
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", CODE],
            env=os.environ | {"NUMBA_DEBUG_CACHE": "1"},
            capture_output=True,
            text=True,
            check=True,
        )
        saved.append([line for line in done.stdout.splitlines() if "data saved" in line])
    assert "data loaded" in done.stdout
    assert saved[1] == []
