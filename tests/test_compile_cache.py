"""A kernel is compiled once, not by every process; it is said, and no measurement contains it."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numba
import numpy as np
from conftest import block_events
from numba.core.event import install_timer

from palate.data.catalogue import Catalogue
from palate.data.interactions import Interactions
from palate.data.splits import split_ratio
from palate.evaluation.protocol import evaluate
from palate.kernels.clock import announce_compiling, clock, compile_seconds
from palate.models.base import Recipe, Watch
from palate.models.popularity import Popularity, PopularityModel
from palate.testing.logs import log_of

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


def kernel() -> float:
    """Compile a kernel that is in no cache, and call it."""
    return float(numba.njit(lambda numbers: np.sort(numbers).sum())(np.ones(3)))


@dataclass(frozen=True, kw_only=True)
class Late(Recipe):
    """Popularity, and a kernel that every fit compiles."""

    def fit(
        self, log: Interactions, catalogue: Catalogue | None = None, *, watch: Watch | None = None
    ) -> PopularityModel:
        assert kernel() == 3.0
        return Popularity().fit(log)


def test_the_seconds_of_a_fit_contain_no_compiling() -> None:
    split, taken = split_ratio(log_of(block_events())), list[float]()
    began = clock()
    with install_timer("numba:compile", taken.append):
        report = evaluate(Late(), split)
    assert report.fit_seconds is not None
    assert report.fit_seconds < 0.5 * taken[0]
    assert report.fit_seconds <= clock() - began, "the clock never goes back"


def test_a_process_knows_for_how_long_it_compiled() -> None:
    double = numba.njit(lambda number: 2 * number)
    before = compile_seconds()
    assert double(2) == 4
    once = compile_seconds()
    assert once > before
    assert double(3) == 6
    assert compile_seconds() == once


def test_compiling_is_said_once() -> None:
    said: list[str] = []
    announce_compiling(said.append)
    assert evaluate(Popularity(), split_ratio(log_of(block_events()))).fit_seconds is not None
    kernel()
    kernel()
    assert said == ["compiling kernels (once)"]


SERVICE = """
import sys
from starlette.testclient import TestClient
from palate import IALS
from palate.live.training import train
from palate.serve.app import create_app
from palate.serve.settings import Settings
from palate.store.events import Event, Store
from palate.store.items import Item
from palate.store.versions import Versions

def kernels():
    modules = [module for name, module in sys.modules.items() if name.startswith("palate.kernels")]
    found = [(module.__name__, name, value) for module in modules for name, value in vars(module).items()]
    return {(*place, str(each)) for *place, value in found for each in getattr(value, "signatures", ())}

if sys.argv[2] == "fill":
    with Store.open(sys.argv[1]) as store:
        store.append([Event(f"u{n}", f"i{m % 9}", "like", m) for n in range(12) for m in range(n, n + 3)])
        store.items.put([Item(f"i{n}", {"genres": ["a", "bc"[n % 2]], "price": n}) for n in range(9)])
        train(store, Versions(store), IALS(dim=4, epochs=2))
    sys.exit()
with TestClient(create_app(Settings(store=sys.argv[1]))) as client:
    ready = kernels()
    event = {"user_id": "u3", "item_id": "i1", "event_type": "like"}
    rules = {"user_id": "u3", "boost": [{"condition": "item_id > 'i3'", "factor": 2}], "explore": {"seed": 1}}
    client.get("/v1/recommend?user_id=u3").raise_for_status()
    client.post("/v1/events", json=event).raise_for_status()
    for user in ("u3", "u4", "nobody"):
        client.get(f"/v1/recommend?user_id={user}").raise_for_status()
    client.post("/v1/recommend", json=rules).raise_for_status()
    diversify = [{"diversify": {"method": method}} for method in ("dpp", "mmr")]
    for stage in (*diversify, {"diversify": {"by": "genres"}}, {"calibrate": {"attribute": "genres"}}):
        client.post("/v1/recommend", json={"user_id": "u3", **stage}).raise_for_status()
    client.post("/v1/recommend/session", json={"history": ["i1", "i2"]}).raise_for_status()
    client.get("/v1/similar/i1").raise_for_status()
    print(len(ready) > 3, sorted(kernels() - ready))
"""


def test_a_service_that_is_ready_has_its_kernels(tmp_path: Path) -> None:
    """The process that answers has fitted nothing: what a first list or event needs was loaded before."""
    for step in ("fill", "answer"):
        command = [sys.executable, "-c", SERVICE, str(tmp_path / "s.db"), step]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True []"
