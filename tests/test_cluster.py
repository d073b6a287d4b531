"""Fits on Ray: the same models as in one process, however users are divided and whoever is killed on the way."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from palate.cli import app
from palate.data.interactions import Interactions
from palate.data.readers import read_log
from palate.data.splits import split_ratio
from palate.errors import DataError, MissingExtra, Package, SettingError
from palate.evaluation.protocol import evaluate
from palate.models.base import Model, Progress, Recipe
from palate.models.ease import EASE
from palate.models.ials import IALS
from palate.models.item_knn import ItemKNN
from palate.models.popularity import Popularity
from palate.models.slist import SLIST

os.environ |= {"RAY_raylet_start_wait_time_s": "300", "RAY_USAGE_STATS_ENABLED": "0"}
os.environ |= {"RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
ray = pytest.importorskip("ray", reason="ray is not installed: pip install 'palate[cluster]'")

from palate.cluster import RayExecutor, read_parts  # noqa: E402
from palate.cluster.gang import Gang  # noqa: E402

USERS, ITEMS = 90, 40
pytestmark = pytest.mark.filterwarnings("ignore")  # those of Ray's own threads and sockets


def whole_log() -> Interactions:
    rng = np.random.default_rng(3)
    taste = rng.dirichlet(np.full(ITEMS, 0.3), size=4)
    rows = [
        (f"u{user:02}", f"i{item:02}", float(rng.integers(1, 6)))
        for user in rng.permutation(USERS)
        for item in rng.choice(ITEMS, 12, replace=False, p=(taste[user % 4] + 0.01) / (1 + 0.01 * ITEMS))
    ]
    order = rng.permutation(len(rows))
    return read_log(pl.DataFrame([rows[n] for n in order], ["user_id", "item_id", "weight"], orient="row"))


LOG = whole_log()
SMALL = IALS(dim=16, epochs=4, threads=1)


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    ray.init(
        num_cpus=5,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        object_store_memory=100 << 20,
    )
    yield
    for each in EXECUTORS.values():
        each.hosts.clear()
    ray.shutdown()


TYPES = {"item_id": pl.String, "weight": pl.Float32}
EXECUTORS = {workers: RayExecutor(workers=workers) for workers in (1, 3)}


def fitted(recipe: Recipe, log: object, workers: int, **named: Any) -> Any:
    fit: Callable[..., Model] = recipe.fit
    return fit(log, executor=EXECUTORS[workers], **named)


def same_vectors(one: Any, other: Any, far: float = 1e-5) -> None:
    """Whether two models have the same vectors; axes have no sign."""
    rows = other.items.codes(one.items.ids), other.users.codes(one.users.ids)
    items, users = other.item_vectors[rows[0]], other.user_vectors[rows[1]]
    sign = np.sign((one.item_vectors * items).sum(axis=0))
    np.testing.assert_allclose(one.item_vectors, items * sign, atol=far, rtol=0)
    np.testing.assert_allclose(one.user_vectors, users * sign, atol=far, rtol=0)


@pytest.fixture(scope="module")
def plain() -> Any:
    return SMALL.fit(LOG)


@pytest.mark.parametrize("workers", [1, 3])
def test_ials_is_that_of_one_process(workers: int, plain: Any) -> None:
    seen: list[Progress] = []
    model = fitted(SMALL, LOG, workers, watch=seen.append)
    same_vectors(model, plain)
    assert model.log is LOG
    assert model.users is LOG.users
    theirs: list[Progress] = []
    SMALL.fit(LOG, watch=theirs.append)
    np.testing.assert_allclose([each.loss for each in seen], [each.loss for each in theirs], rtol=1e-4)  # type: ignore[arg-type]
    assert model.recipe == plain.recipe


def test_bytes_of_an_epoch_are_those_of_the_formula() -> None:
    rng = np.random.default_rng(0)
    log = read_log(pl.DataFrame({"user_id": rng.integers(0, 300, 4000), "item_id": rng.integers(0, 2000, 4000)}))
    traffic = []
    for epochs in (1, 4):
        recipe = IALS(dim=16, epochs=epochs)
        fitted(recipe, log, 3)
        total = EXECUTORS[3].traffic
        assert total is not None
        traffic.append((total.down, total.up))
    formula = (recipe.steps + 2) * len(log.items) * recipe.dim * 4
    for first, last in zip(*traffic, strict=True):
        assert (last - first) / 3 == pytest.approx(formula, rel=0.05)


@pytest.mark.parametrize(
    "recipe",
    [
        EASE(),
        EASE(binary=False, l2=30.0),
        ItemKNN(neighbours=8),
        ItemKNN(neighbours=8, similarity="bm25", binary=False),
        ItemKNN(similarity="tf-idf"),
        SLIST(neighbours=None),
        SLIST(neighbours=39, walk=0.5, beta=0.2),
    ],
    ids=repr,
)
def test_weights_between_items_are_those_of_one_process(recipe: Recipe) -> None:
    whole: Any = recipe.fit(LOG)
    model = fitted(recipe, LOG, 3)
    dense = isinstance(recipe, EASE) or getattr(recipe, "neighbours", 0) is None
    own, theirs = (each.weights if dense else each.matrix.toarray() for each in (model, whole))
    np.testing.assert_allclose(own, theirs, atol=1e-6 * np.abs(theirs).max())
    np.testing.assert_allclose(model.popularity, whole.popularity)
    assert model.recipe == whole.recipe


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    frame = LOG.to_frame().sample(fraction=1, shuffle=True, seed=5)
    for n in range(3):
        frame[n * 400 : (n + 1) * 400].write_parquet(tmp_path / f"{n}.parquet")
    return tmp_path


def test_workers_read_their_own_users(parts: Path) -> None:
    whole = read_log(parts)
    model = fitted(SMALL, read_parts(parts), 3)
    assert model.users.ids.to_list() == whole.users.ids.to_list()
    assert model.items.ids.to_list() == whole.items.ids.to_list()
    same_vectors(model, SMALL.fit(whole))
    assert model.log is None
    own: Any = EASE().fit(whole)
    np.testing.assert_allclose(fitted(EASE(), read_parts(parts), 3).weights, own.weights, atol=1e-6)


def test_what_no_worker_can_read_is_named(tmp_path: Path, parts: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"no file \*\.parquet in it"):
        read_parts(tmp_path / "empty")
    with pytest.raises(DataError, match="none: cannot be read as Parquet"):
        read_parts(tmp_path / "none")
    with pytest.raises(DataError, match=r"no column 'viewer'"):
        read_parts(parts, user="viewer")
    pl.DataFrame({"user_id": ["u"], "item_id": [None], "weight": [1.0]}, schema_overrides=TYPES).write_parquet(
        parts / "9.parquet"
    )
    with pytest.raises(DataError, match="item_id"):
        fitted(EASE(), read_parts(parts), 3)


def test_a_worker_killed_in_each_epoch_changes_nothing(plain: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second sum of each epoch finds a worker dead: it is made again, and the epoch done again."""
    killed: list[int] = []
    whole_sum = Gang.sum

    def deadly(gang: Gang, name: str, *args: Any, **named: Any) -> Any:
        if name == "step" and len(killed) < SMALL.epochs and len(killed) == epoch_of(gang):
            _, process = ray.get(gang.hosts[len(killed) % 3].place.remote())
            killed.append(process)
            os.kill(process, signal.SIGKILL)
        return whole_sum(gang, name, *args, **named)

    def epoch_of(gang: Gang) -> int:
        return sum(name == "call" for name, _ in gang.journal)

    monkeypatch.setattr(Gang, "sum", deadly)
    model = fitted(SMALL, LOG, 3)
    assert len(set(killed)) == SMALL.epochs
    same_vectors(model, plain)


def test_a_node_that_comes_late_is_used(monkeypatch: pytest.MonkeyPatch, plain: Any) -> None:
    """Ray says that a node came: the last worker of the crowded one is made there, and the result is the same."""
    nodes = ray.nodes()
    late = {**nodes[0], "NodeID": "ab" * 28}
    asked: list[str] = []
    remake = Gang._remake

    def remade(gang: Gang, n: int, where: Any) -> None:
        asked.append(where.node_id)
        remake(gang, n, "SPREAD")

    monkeypatch.setattr(ray, "nodes", lambda: [*nodes, late])
    monkeypatch.setattr(Gang, "_remake", remade)
    same_vectors(fitted(SMALL, LOG, 3), plain)
    assert set(asked) == {late["NodeID"]}


def test_an_evaluation_is_that_of_one_process() -> None:
    split = split_ratio(LOG, seed=1)
    whole = evaluate(ItemKNN(neighbours=8), split, k=[5, 10])
    found = evaluate(ItemKNN(neighbours=8), split, k=[5, 10], executor=EXECUTORS[3])
    assert {name: found[name] for name in whole.metrics} == pytest.approx(
        {name: whole[name] for name in whole.metrics}
    )


def test_the_commands_fit_and_rank_on_the_cluster(
    tmp_path: Path, parts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A log in parts; then all lists in parts of 20 users, of which one is there from a run that stopped."""
    model, out = tmp_path / "model", tmp_path / "lists.parquet"
    run = CliRunner()
    done = run.invoke(app, ["fit", "ease", str(parts), "--cluster", "auto", "--out", str(model)])
    assert done.exit_code == 0, done.output
    LOG.to_frame().write_parquet(tmp_path / "log.parquet")
    monkeypatch.setattr("palate.cli.export.PART", 20)
    asked = ["recommend", str(model), "--all-users", "--history", str(tmp_path / "log.parquet"), "-k", "3"]
    stopped: list[int] = []
    write: Any = RayExecutor.export

    def stop(executor: RayExecutor, *args: Any) -> None:
        write(executor, *args[:4], args[4][:2], args[5])
        stopped.extend(low for low, *_ in args[4][:2])
        raise OSError("the machine goes down")

    monkeypatch.setattr(RayExecutor, "export", stop)
    assert run.invoke(app, [*asked, "--cluster", "auto", "--out", str(out)]).exit_code != 0
    assert stopped == [0, 20]
    todo: list[int] = []

    def go_on(executor: RayExecutor, *args: Any) -> None:
        todo.extend(low for low, *_ in args[4])
        write(executor, *args)

    monkeypatch.setattr(RayExecutor, "export", go_on)
    done = run.invoke(app, [*asked, "--cluster", "auto", "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert todo == [40, 60, 80]
    here = tmp_path / "here.parquet"
    assert run.invoke(app, [*asked, "--out", str(here)]).exit_code == 0
    lists = pl.read_parquet(out)
    assert lists.equals(pl.read_parquet(here))
    assert lists.group_by("user_id").len()["len"].to_list() == [3] * USERS


def test_recipes_without_sums_say_so() -> None:
    with pytest.raises(SettingError, match=r"recipe=Popularity\(\).*can: EASE, IALS, ItemKNN, SLIST"):
        fitted(Popularity(), LOG, 3)
    with pytest.raises(SettingError, match=r"IALS.half_life_days=3.*must be None on a cluster"):
        fitted(IALS(half_life_days=3.0), LOG, 3)
    with pytest.raises(SettingError, match="workers=0"):
        RayExecutor(workers=0)


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("palate.cluster.executor.PACKAGES", (Package("no_ray", "ray", "cluster"),))
    with pytest.raises(MissingExtra, match=r"palate\[cluster\]"):
        fitted(EASE(), LOG, 1)
