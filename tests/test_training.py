"""The training loop: the same result after a kill, clipped gradients, a guard against losses that are no number."""

from __future__ import annotations

import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import block_events, log_of

from palate import Popularity, fit_until_best, load, split_last
from palate.errors import BundleError, SettingError
from palate.models.base import Model, Progress, Watch
from palate.models.transformer import Transformer, TransformerModel
from palate.training.loop import fit
from palate.training.networks import CLIP, LAST, AdamW, Diverged, NetworkTask, learning_rate_share

RECIPE = Transformer(dim=8, window=4, epochs=4, batch=32, learning_rate=0.01)
HOW = AdamW(epochs=3, learning_rate=0.1, weight_decay=0.0, seed=0, device="cpu")


def same(first: TransformerModel, second: TransformerModel) -> bool:
    return all(np.array_equal(first.weights[name], second.weights[name]) for name in first.weights)


def line(scale: float = 1.0) -> NetworkTask[Any]:
    """A weight of two numbers that is drawn to 3; the model is the weights themselves."""

    def loss(weights: dict[str, torch.Tensor], batch: float, _: torch.Generator) -> torch.Tensor:
        return scale * ((weights["x"] - 3) ** 2).sum() * batch

    return NetworkTask(HOW, {"x": np.zeros(2, np.float32)}, lambda _: [1.0] * 50, loss, dict, 50)


def trained(task: NetworkTask[Any]) -> dict[str, Any]:
    """The weights after all epochs."""
    return dict(fit(task, nullcontext(), HOW.epochs))


# Resume

KILLED = """
import os, signal, sys
sys.path.insert(0, "tests")
from conftest import block_events, log_of
from palate import Transformer

def watch(progress):
    if progress.epoch == 3:  # two epochs are kept; this one is lost
        os.kill(os.getpid(), signal.SIGKILL)

Transformer(dim=8, window=4, epochs=4, batch=32, learning_rate=0.01, checkpoint=sys.argv[1]).fit(
    log_of(block_events()), watch=watch
)
"""


def test_a_killed_fit_goes_on_to_the_same_result(tmp_path: Path) -> None:
    folder = str(tmp_path / "kept")
    root = Path(__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", KILLED, folder], cwd=root, capture_output=True, check=False)
    assert done.returncode == -9, done.stderr.decode()
    log = log_of(block_events())
    epochs: list[int] = []
    resumed = replace(RECIPE, checkpoint=folder).fit(
        log, watch=lambda p: epochs.append(p.epoch) if p.model is not None else None
    )
    assert epochs == [3, 4]
    assert same(resumed, RECIPE.fit(log))
    again = replace(RECIPE, checkpoint=folder).fit(log, watch=lambda _: pytest.fail("nothing is left to do"))
    assert same(again, resumed)


KILLED_SEARCHES = """
import os, signal, sys
sys.path.insert(0, "tests")
from test_training import search

for epoch in map(int, sys.argv[2:]):
    def watch(progress):
        if progress.epoch == epoch and progress.model is not None:
            os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if not child:
        search(f"{sys.argv[1]}/{epoch}", watch)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def search(folder: str | None, watch: Watch | None = None) -> Model:
    """The best of nine epochs is not the last; an epoch is graded after `watch`."""
    split = split_last(log_of(block_events()), valid=True)
    recipe = replace(RECIPE, epochs=9, learning_rate=0.05, checkpoint=folder)
    return fit_until_best(recipe, split, patience=3, watch=watch)


@pytest.fixture(scope="module")
def whole() -> tuple[Model, int]:
    """The best of a search that nothing cuts off, and its last epoch."""
    epochs: list[int] = []
    model = search(None, lambda p: epochs.append(p.epoch) if p.model is not None else None)
    return model, max(epochs)


KILLED_AT = (1, 3, 5)


@pytest.fixture(scope="module")
def killed_searches(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of what searches kept that were killed in these epochs."""
    folder = tmp_path_factory.mktemp("kept")
    root = Path(__file__).parents[1]
    command = [sys.executable, "-c", KILLED_SEARCHES, str(folder), *map(str, KILLED_AT)]
    done = subprocess.run(command, cwd=root, capture_output=True, check=False, text=True)
    assert done.stdout.split() == ["-9"] * len(KILLED_AT), done.stderr
    return folder


@pytest.mark.parametrize("killed", KILLED_AT)
def test_a_killed_search_goes_on_to_the_same_best(
    killed_searches: Path, killed: int, whole: tuple[Model, int]
) -> None:
    folder = str(killed_searches / str(killed))
    best, last = whole
    assert killed <= last, "it was killed before the end"
    first, again = search(folder), search(folder)
    assert isinstance(best, TransformerModel)
    for found in (first, again):
        assert isinstance(found, TransformerModel)
        assert same(found, best)


@pytest.mark.parametrize("change", ["settings", "log"])
def test_a_checkpoint_of_another_fit_is_refused(tmp_path: Path, change: str) -> None:
    folder = str(tmp_path / "kept")
    replace(RECIPE, checkpoint=folder, epochs=1).fit(log_of(block_events()))
    recipe = replace(RECIPE, checkpoint=folder, epochs=1, dropout=0.2 if change == "settings" else RECIPE.dropout)
    log = log_of(block_events(1 if change == "log" else 0))
    with pytest.raises(SettingError, match=r"checkpoint=.*was written by another fit"):
        recipe.fit(log)


def test_a_bundle_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    log = log_of(block_events())
    Popularity().fit(log).save(tmp_path / "model")
    with pytest.raises(BundleError, match="not a checkpoint of a fit"):
        replace(RECIPE, checkpoint=str(tmp_path / "model")).fit(log)
    assert load(tmp_path / "model").recipe == Popularity()


# The loop


def test_it_reaches_the_least_loss() -> None:
    np.testing.assert_allclose(trained(line())["x"], 3, atol=0.1)


def test_gradients_are_clipped() -> None:
    task = line(1e6)
    for _ in task.epoch(None, 0):
        pass
    assert float(task.weights["x"].grad.norm()) <= CLIP * (1 + 1e-5)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_stops_the_fit(bad: float) -> None:
    task = replace(line(), batches=lambda _: [1.0, 1.0, bad])
    with pytest.raises(Diverged, match=r"epoch 1, batch 3: the loss is (nan|inf); lower learning_rate"):
        trained(task)


def test_frozen_weights_are_changed_by_prepare_alone() -> None:
    task = replace(line(), start={"x": np.zeros(2, np.float32), "old.x": np.ones(2, np.float32)}, frozen=("old.",))
    assert trained(task)["old.x"].tolist() == [1, 1]

    def prepare(weights: dict[str, torch.Tensor]) -> None:
        weights["old.x"].copy_(weights["x"].detach())

    kept = trained(replace(task, prepare=prepare))
    assert 0 < abs(kept["old.x"] - kept["x"]).max() < 3


def test_the_step_grows_then_falls() -> None:
    paces = [learning_rate_share(step, 1000) for step in range(1000)]
    assert np.argmax(paces) == 99
    assert (np.diff(paces[:100]) > 0).all()
    assert (np.diff(paces[100:]) < 0).all()
    assert paces[-1] == pytest.approx(LAST, rel=0.01)


def test_the_seed_decides() -> None:
    log = log_of(block_events())
    assert same(RECIPE.fit(log), RECIPE.fit(log))
    assert not same(RECIPE.fit(log), replace(RECIPE, seed=1).fit(log))


# Watching


def test_progress_is_told_and_a_watch_may_stop() -> None:
    log = log_of(block_events())
    told: list[Progress] = []

    def watch(progress: Progress) -> bool:
        told.append(progress)
        return progress.epoch == 2 and progress.model is not None

    model = RECIPE.fit(log, watch=watch)
    ends = [each for each in told if each.model is not None]
    assert [each.epoch for each in ends] == [1, 2]
    assert ends[-1].model is model
    assert all(each.loss is not None and each.rate > 0 for each in ends)
    assert [each.done for each in told] == sorted(each.done for each in told)
    assert ends[-1].done == 0.5


def test_ctrl_c_keeps_the_last_full_epoch() -> None:
    log = log_of(block_events())
    kept: list[Model] = []

    def watch(progress: Progress) -> None:
        if progress.model is not None:
            kept.append(progress.model)
        elif progress.epoch == 3:
            raise KeyboardInterrupt

    def interrupted(_: Progress) -> None:
        raise KeyboardInterrupt

    assert RECIPE.fit(log, watch=watch) is kept[1]
    with pytest.raises(KeyboardInterrupt):
        RECIPE.fit(log, watch=interrupted)
