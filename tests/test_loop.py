"""The epoch loop: checkpoints of vectors, budgets, Ctrl-C in a program of one's own while kernels are compiled."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import block_events, catalogue_of, log_of

from palate import IALS, Embedding, Hybrid
from palate.errors import OutOfTime, SettingError
from palate.models.base import Progress, Recipe
from palate.models.factors import FactorModel
from palate.training import progress as progress_module

ROOT = Path(__file__).parents[1]
RECIPES: dict[str, Recipe] = {
    "ials": IALS(dim=8, epochs=5, threads=1),
    **{
        loss: Embedding(dim=8, epochs=5, threads=1, negatives=6, loss=loss, sampler="popularity")
        for loss in ("softmax", "bpr")
    },
    "windows": Embedding(dim=8, epochs=5, threads=1, negatives=6, sampler="uniform"),
    "hybrid": Hybrid("IALS(dim=8, epochs=5, threads=1)", fields=("title",)),
}
KILLED = """
import os, signal, sys
sys.path.insert(0, "tests")
from test_loop import RECIPES, fitted

def watch(progress):
    if progress.epoch == 4:  # three epochs are kept; this one is lost
        os.kill(os.getpid(), signal.SIGKILL)

for name in RECIPES:
    child = os.fork()
    if not child:
        fitted(name, f"{sys.argv[1]}/{name}", watch)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def fitted(name: str, folder: str | None = None, watch: Any = None) -> FactorModel:
    """Fit a recipe of `RECIPES`, with a checkpoint in this folder."""
    recipe = RECIPES[name]
    if isinstance(recipe, Hybrid):
        base = replace(recipe.base, checkpoint=folder)  # type: ignore[type-var]
        log = log_of(block_events())
        return replace(recipe, base=base).fit(log, catalogue_of(log), watch=watch).base
    model = replace(recipe, checkpoint=folder).fit(log_of(block_events()), watch=watch)  # type: ignore[call-arg]
    assert isinstance(model, FactorModel)
    return model


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of what fits kept that were killed in their fourth epoch."""
    folder = tmp_path_factory.mktemp("kept")
    done = subprocess.run([sys.executable, "-c", KILLED, str(folder)], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.split() == ["-9"] * len(RECIPES), done.stderr
    return folder


@pytest.mark.parametrize("name", RECIPES)
def test_a_killed_fit_goes_on_to_the_same_vectors(killed: Path, name: str) -> None:
    epochs: list[int] = []

    def watch(progress: Progress) -> None:
        if progress.model is not None:
            epochs.append(progress.epoch)

    whole, resumed = fitted(name), fitted(name, str(killed / name), watch)
    assert epochs == [4, 5]
    np.testing.assert_array_equal(resumed.item_vectors, whole.item_vectors)
    np.testing.assert_array_equal(resumed.user_vectors, whole.user_vectors)
    again = fitted(name, str(killed / name), lambda _: pytest.fail("nothing is left to do"))
    np.testing.assert_array_equal(again.item_vectors, whole.item_vectors)


def test_a_checkpoint_knows_its_fit(tmp_path: Path) -> None:
    log, recipe = log_of(block_events()), IALS(dim=8, epochs=2, threads=1, checkpoint=str(tmp_path / "kept"))
    model = recipe.fit(log)
    np.testing.assert_array_equal(replace(recipe, threads=2).fit(log).item_vectors, model.item_vectors)
    for other in (replace(recipe, epochs=3), replace(recipe, fold_l2=2.0)):
        with pytest.raises(SettingError, match=r"checkpoint=.*was written by another fit"):
            other.fit(log)
    with pytest.raises(SettingError, match="another fit"):
        recipe.fit(log, start=model)
    with pytest.raises(SettingError, match="another fit"):
        recipe.fit(log_of(block_events(1)))


# Seconds


@pytest.fixture
def seconds(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that a test sets."""
    now = [0.0]
    monkeypatch.setattr(progress_module, "clock", lambda: now[0])
    return now


def test_a_budget_begins_no_epoch_that_would_end_too_late(
    seconds: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    log, recipe = log_of(block_events()), IALS(dim=8, epochs=9, threads=1)

    def watch(_: Progress) -> None:
        seconds[0] += 3

    model = recipe.fit(log, watch=watch, seconds=10)  # type: ignore[call-arg]
    assert isinstance(model, FactorModel)
    third = replace(recipe, epochs=3).fit(log)
    np.testing.assert_array_equal(model.item_vectors, third.item_vectors)
    assert "seconds=10: the fit ends after epoch 3 of 9" in caplog.text


@pytest.mark.parametrize("late", [1, 3])
def test_an_epoch_that_is_late_is_given_up(
    monkeypatch: pytest.MonkeyPatch, seconds: list[float], caplog: pytest.LogCaptureFixture, late: int
) -> None:
    monkeypatch.setattr("palate.models.sgd.SLICE_SAMPLES", 40)
    monkeypatch.setattr("palate.models.sgd.BLOCK_SAMPLES", 20)
    log, recipe = log_of(block_events()), Embedding(dim=8, epochs=9, threads=1)

    def watch(progress: Progress) -> None:
        seconds[0] += 11 if progress.epoch == late else 0.1 * (progress.loss is not None)

    if late == 1:
        with pytest.raises(OutOfTime, match="seconds=10: over in epoch 1 of 9; allow more"):
            recipe.fit(log, watch=watch, seconds=10)  # type: ignore[call-arg]
        return
    model: Any = recipe.fit(log, watch=watch, seconds=10)  # type: ignore[call-arg]
    second: list[Any] = []
    recipe.fit(log, watch=lambda p: second.append(p.model) if p.epoch == 2 and p.model else None)
    np.testing.assert_array_equal(model.item_vectors, second[0].item_vectors)
    assert "over in epoch 3 of 9; allow more: the last full epoch is kept" in caplog.text


def test_seconds_are_above_0() -> None:
    with pytest.raises(SettingError, match="seconds=0: must be above 0"):
        IALS().fit(log_of(block_events()), seconds=0)  # type: ignore[call-arg]


# Ctrl-C

PROGRAM = """
import signal
import polars as pl
from palate import IALS
signal.signal(signal.SIGINT, signal.default_int_handler)
pairs = [(user, (user + n) % 20) for user in range(30) for n in range(5)]
log = pl.DataFrame(pairs, schema=["user_id", "item_id"], orient="row")
print("fitting", flush=True)
IALS(dim=24, threads=2).fit(log)
print("fitted")
"""


@pytest.mark.parametrize("kernels", [0, 2])
def test_ctrl_c_ends_a_program_while_kernels_are_compiled(tmp_path: Path, kernels: int) -> None:
    """In the main thread, and in those of a team: numba would swallow it, and the process wait for its threads."""
    env = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", PROGRAM], cwd=ROOT, env=env, **pipes) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "fitting\n"
        while len(list(tmp_path.rglob("*.nbc"))) < kernels:
            time.sleep(0.02)
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        try:
            out, err = process.communicate(timeout=6)  # 5 s, and the machine may be busy
        finally:
            process.kill()
    assert out == ""
    assert err.rstrip().endswith("KeyboardInterrupt")
    assert "ignored" not in err
    assert process.returncode in (1, -signal.SIGINT)
