"""Users that were forgotten leave every version of the model at the next training."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from databases import url
from processes import started

from palate import EASE, IALS, Blend, Embedding, InfiniteAE, Popularity, load, read_log
from palate.data.interactions import Interactions
from palate.errors import BundleError, DataError, SettingError
from palate.live.importing import import_model
from palate.live.training import train
from palate.models.base import Model, Recipe
from palate.models.ials import IALSModel
from palate.models.item_to_item import DenseItemModel
from palate.models.registry import load_with_log
from palate.store.events import Event, Store
from palate.store.transfer import import_log
from palate.store.versions import Versions

__all__ = ["url"]
SECRET = "bob-the-secret"
RECIPE = IALS(dim=8, epochs=1, threads=1)
OTHERS = 40


def filled(store: Store, *users: str) -> None:
    rng = np.random.default_rng(0)
    events = [Event(f"u{rng.integers(OTHERS)}", f"i{rng.integers(30)}", "view", 10**15 + n) for n in range(800)]
    store.append(events + [Event(user, f"i{n}", "view", 10**15 + n) for user in users for n in range(5)])


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "shop.db") as opened:
        filled(opened, SECRET)
        yield opened


def holding(folder: Path, *traces: bytes) -> list[str]:
    """Files below a folder that hold an id or a vector."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return [str(path.relative_to(folder)) for path in files if any(each in path.read_bytes() for each in traces)]


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize(
    "recipe",
    [
        RECIPE,
        Embedding(dim=8, epochs=1, threads=1),
        InfiniteAE(),
        Blend(recipes=("IALS(dim=8, epochs=1)", "InfiniteAE()")),
        EASE(),
    ],
    ids=lambda recipe: type(recipe).__name__,
)
def test_no_version_holds_a_forgotten_user_after_the_next_training(store: Store, recipe: Recipe) -> None:
    versions = Versions(store, read=load)
    train(store, versions, recipe)
    old = load(versions.path(1))
    knew = SECRET in old.known_users()
    assert knew == (not isinstance(recipe, EASE))
    assert bool(holding(versions.folder, SECRET.encode())) == knew
    traces = [SECRET.encode()]
    if isinstance(old, IALSModel):
        traces.append(old.user_vectors[old.users.code(SECRET)].tobytes())
        assert len(holding(versions.folder, traces[1])) == 1
    store.forget(SECRET)
    train(store, versions, recipe)
    assert holding(versions.folder, *traces) == []
    assert sorted(path.name for path in versions.folder.iterdir()) == ["000001", "000002"]
    left = load(versions.path(1))
    assert left.known_users() == old.known_users() - {SECRET}
    if not knew:  # EASE: what it learned of them left, too
        new, past = load(versions.path(2)), [["i1", "i2"]]
        np.testing.assert_allclose(left.scores(left.histories(past)), new.scores(new.histories(past)), atol=1e-6)
        assert isinstance(left, DenseItemModel)
        assert isinstance(old, DenseItemModel)
        assert np.abs(left.weights - old.weights).max() > 1e-4
    versions.activate(2)
    versions.activate(1)
    assert versions.rollback().number == 2


def test_a_version_that_did_not_know_them_stays_as_it_is(url: str, tmp_path: Path) -> None:
    with Store.open(url) as store:
        filled(store)
        versions = Versions(store, tmp_path / "models")
        train(store, versions, RECIPE)
        before = bytes_of(versions.path(1))
        store.append([Event(SECRET, "i1", "view"), Event(SECRET, "i2", "view")])
        train(store, versions, RECIPE)
        store.forget(SECRET)
        train(store, versions, RECIPE)
        assert holding(versions.folder, SECRET.encode()) == []
        assert load(versions.path(2)).known_users() == load(versions.path(1)).known_users()
        assert bytes_of(versions.path(1)) == before


def test_an_adopted_model_loses_what_its_log_tells_of_them(store: Store, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    users = [f"u{x}" for x in rng.integers(0, 60, 500)] + [SECRET] * 4
    items = [f"i{x}" for x in rng.integers(0, 50, 504)]
    log = read_log(pl.DataFrame({"user": users, "item": items, "timestamp": 10**9 + np.arange(504)}))
    RECIPE.fit(log).save(tmp_path / "model", log=log)
    versions = Versions(store, read=load)
    import_model(store, versions, tmp_path / "model")
    store.forget(SECRET)
    train(store, versions, RECIPE)
    assert holding(versions.folder, SECRET.encode()) == []
    _, kept = load_with_log(versions.path(1))
    assert kept is not None
    frame = log.to_frame().filter(pl.col("user_id") != SECRET)
    assert kept.to_frame().sort(pl.all()).equals(frame.sort(pl.all()))
    # Adopted again, it is the version without them; a copy of other bytes comes without them, too.
    assert import_model(store, versions, tmp_path / "model").number == 1
    EASE().fit(log).save(tmp_path / "other", log=log)
    import_model(store, versions, tmp_path / "other")
    assert holding(versions.folder, SECRET.encode()) == []
    assert holding(tmp_path / "model", SECRET.encode())  # which is the operator's own


def test_ids_that_are_numbers_are_forgotten_by_their_text(store: Store, tmp_path: Path) -> None:
    log = read_log(pl.DataFrame({"user": [1, 1, 22, 22, 333], "item": [5, 6, 5, 7, 6]}))
    RECIPE.fit(log).save(tmp_path / "model", log=log)
    versions = Versions(store)
    import_model(store, versions, tmp_path / "model")
    store.forget("22")
    train(store, versions, RECIPE)
    model, kept = load_with_log(versions.path(1))
    assert kept is not None
    assert kept.users.ids.to_list() == [1, 333]
    assert model.known_users() == {"1", "333"}


def test_who_is_forgotten_during_a_training_is_not_in_its_model(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit = IALS.fit

    def then_forget(recipe: IALS, log: Interactions, *more: Any, **others: Any) -> Model:
        store.forget(SECRET)
        return fit(recipe, log, *more, **others)

    monkeypatch.setattr(IALS, "fit", then_forget)
    versions = Versions(store)
    train(store, versions, RECIPE)
    assert holding(versions.folder, SECRET.encode()) == []


def test_they_leave_also_where_nothing_is_left_to_train_on(tmp_path: Path) -> None:
    with Store.open(tmp_path / "shop.db") as store:
        store.append([Event(SECRET, "i1", "view"), Event(SECRET, "i2", "view")])
        versions = Versions(store)
        train(store, versions, RECIPE)
        store.forget(SECRET)
        with pytest.raises(DataError, match="nothing to learn from"):
            train(store, versions, RECIPE)
        assert holding(versions.folder, SECRET.encode()) == []
        assert load(versions.path(1)).recommend([["i1"]], 1).lists() == [["i2"]]


@pytest.mark.parametrize("how", ["by events", "by an import"])
def test_who_comes_back_is_a_user_as_any_other(store: Store, how: str) -> None:
    versions = Versions(store)
    train(store, versions, RECIPE)
    store.forget(SECRET)
    back = [(SECRET, "i1"), (SECRET, "i2")]
    if how == "by events":
        store.append([Event(user, item, "view") for user, item in back])
    else:
        import_log(store, pl.DataFrame(back, ["user", "item"], orient="row"), bring_back=True)
    for _ in range(2):
        train(store, versions, RECIPE)
    assert SECRET in load(versions.path(2)).known_users()
    assert SECRET in load(versions.path(3)).known_users()


def test_a_damaged_version_goes_unless_it_is_the_active_one(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    versions = Versions(store)
    for _ in range(2):
        train(store, versions, RECIPE)
    for number in (1, 2):
        (versions.path(number) / "item_vectors.npy").write_bytes(b"")
    store.forget(SECRET)
    assert train(store, versions, Popularity()).activated
    text = caplog.text
    assert "version 1 is deleted: it may hold users that were forgotten, but" in text
    assert "version 2 may still hold users that were forgotten" in text, "it is active until there is another"
    assert text.index("version 2 may still") < text.index("version 2 is deleted")
    assert [version.number for version in versions.list()] == [3]
    with pytest.raises(SettingError, match="no other version was active before"):
        versions.rollback()
    assert versions.active() == 3
    assert holding(versions.folder, SECRET.encode()) == []


def test_a_full_disk_deletes_no_version(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from palate.bundles import bundle as bundles

    versions = Versions(store)
    train(store, versions, RECIPE)
    before = bytes_of(versions.path(1))
    store.forget(SECRET)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(bundles, "_write_files", full)
        with pytest.raises(BundleError, match="No space left"):
            train(store, versions, RECIPE)
    assert "version 1 may still hold users that were forgotten" in caplog.text
    assert bytes_of(versions.path(1)) == before
    train(store, versions, RECIPE)
    assert holding(versions.folder, SECRET.encode()) == []


def test_a_version_that_a_kill_left_between_two_renames_is_put_back(store: Store) -> None:
    versions = Versions(store)
    for _ in range(2):
        train(store, versions, RECIPE)
    versions.path(1).rename(versions.folder / ".000001.previous")
    train(store, versions, RECIPE)
    assert sorted(path.name for path in versions.folder.iterdir()) == ["000001", "000002", "000003"]
    assert versions.activate(1).number == 1


# Forgets a user and trains, again and again.
TRAIN_FOREVER = """
import itertools, sys
from palate import IALS, load
from palate.live.forgetting import forget
from palate.store.events import Event, Store
from palate.store.versions import Versions
store = Store.open(sys.argv[1])
versions = Versions(store, read=load)
for n in itertools.count():
    print(n, flush=True)
    store.forget(f"secret-{n}")
    forget(store, versions)
"""


def test_killed_at_any_moment_the_next_training_ends_it(tmp_path: Path) -> None:
    rng = random.Random(0)
    with Store.open(tmp_path / "shop.db") as store:
        filled(store, *(f"secret-{n}" for n in range(100)))
        versions = Versions(store, read=load)
        for _ in range(2):
            train(store, versions, RECIPE)
        for _ in range(3):
            with started(
                [sys.executable, "-c", TRAIN_FOREVER, tmp_path / "shop.db"], stdout=subprocess.PIPE
            ) as process:
                assert process.stdout is not None
                process.stdout.readline()
                time.sleep(rng.uniform(0, 0.1))
                process.send_signal(signal.SIGKILL)
            for version in versions.list():
                load(versions.path(version.number))  # one bundle or the other
        train(store, versions, RECIPE)
        there = {user for user in store.users(1000) if user.startswith("secret")}
        for number in (1, 2, 3):
            known = load(versions.path(number)).known_users()
            assert {user for user in known if user.startswith("secret")} == there
        assert sorted(path.name for path in versions.folder.iterdir()) == ["000001", "000002", "000003"]
