from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from databases import new_database, url

from palate.bundles.bundle import read_bundle, write_bundle
from palate.errors import BundleError, DataError, SettingError, UnknownId
from palate.store.events import Store
from palate.store.keys import Keys
from palate.store.versions import Versions

__all__ = ["url"]


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    with Store.open(url) as opened:
        yield opened


def test_a_key_opens_what_its_scopes_say(store: Store) -> None:
    keys = Keys(store)
    secret = keys.create("shop", ["write", "read"])
    other = keys.create("boss", ["admin"])
    assert secret.startswith("pk_")
    assert len(secret) >= 3 + 43, "256 random bits"
    assert keys.verify(secret) == {"read", "write"}
    assert keys.verify(other) == {"admin"}
    for wrong in ("", "pk_", secret[:-1], secret + "x", secret[:11] + other[11:], "é" * 40, "\0", "x" * 100_000):
        assert keys.verify(wrong) == frozenset()


def test_a_secret_is_nowhere_in_the_store(tmp_path: Path) -> None:
    with Store.open(tmp_path / "s.db") as store:
        secret = Keys(store).create("shop", ["read"])
    everything = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert secret[:11].encode() in everything
    assert secret[11:].encode() not in everything


def test_a_revoked_key_opens_nothing(url: str) -> None:
    with Store.open(url) as one, Store.open(url) as other:
        secret = Keys(one).create("shop", ["read"])
        assert Keys(other).verify(secret)
        Keys(one).revoke("shop")
        assert not Keys(other).verify(secret)
        with pytest.raises(UnknownId, match="key 'shop' is unknown, or was revoked before"):
            Keys(other).revoke("shop")
        (key,) = Keys(other).list()
        assert (key.name, key.prefix, sorted(key.scopes)) == ("shop", secret[:11], ["read"])
        assert key.revoked is not None
        assert key.revoked >= key.created


def test_a_key_needs_a_name_of_its_own_and_scopes(store: Store) -> None:
    keys = Keys(store)
    keys.create("shop", ["read"])
    with pytest.raises(SettingError, match="there is a key of this name"):
        keys.create("shop", ["read"])
    with pytest.raises(SettingError, match=r"scopes=\['delete', 'read'\]: must be of read, write, admin"):
        keys.create("x", ["read", "delete"])
    with pytest.raises(SettingError, match="must have one or more"):
        keys.create("x", [])
    with pytest.raises(DataError, match="key: name is ''"):
        keys.create("", ["read"])


# Versions of models


def bundle(n: int) -> Any:
    return lambda path: write_bundle(path, {"n": n, "array": np.full(9, n)}, {"n": n})


@pytest.fixture
def versions(store: Store, tmp_path: Path) -> Versions:
    return Versions(store, tmp_path / "models")


def test_versions_are_numbered_activated_and_rolled_back(versions: Versions) -> None:
    assert versions.active() is None
    first = versions.add(bundle(1), {"recipe": "Popularity", "metrics": {"ndcg": 0.1}})
    second = versions.add(bundle(2), {})
    assert [version.number for version in versions.list()] == [1, 2]
    assert versions.list()[0] == first
    assert versions.active() is None
    with pytest.raises(SettingError, match="no other version was active before"):
        versions.rollback()
    versions.activate(1)
    versions.activate(second.number)
    versions.activate(second.number)
    assert versions.active() == 2
    assert versions.rollback() == first
    assert versions.active() == 1
    assert versions.rollback() == second


def test_a_version_that_is_not_sound_is_never_active(versions: Versions) -> None:
    versions.add(bundle(1), {})
    versions.activate(1)
    versions.add(bundle(2), {})
    array = versions.path(2) / "array.npy"
    array.write_bytes(array.read_bytes()[:-1] + b"x")
    with pytest.raises(BundleError, match=r"array\.npy"):
        versions.activate(2)
    with pytest.raises(UnknownId, match="model version 3 is unknown; known are 1, 2"):
        versions.activate(3)
    assert versions.active() == 1


@pytest.mark.parametrize("damage", ["changed", "missing"])
def test_there_is_no_rollback_to_a_damaged_version(versions: Versions, damage: str) -> None:
    for n in (1, 2):
        versions.add(bundle(n), {})
        versions.activate(n)
    if damage == "changed":
        (versions.path(1) / "array.npy").write_bytes(b"x")
    else:
        shutil.rmtree(versions.path(1))
    with pytest.raises(BundleError, match=r"000001.*(1 bytes; the manifest says|no such folder)"):
        versions.rollback()
    assert versions.active() == 2
    bundle(1)(versions.path(1))
    assert versions.rollback().number == 1, "which version was active before is known as it was"


def test_a_version_that_failed_to_be_written_is_none(versions: Versions) -> None:
    def fail(path: Path) -> None:
        bundle(1)(path)
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        versions.add(fail, {})
    with pytest.raises(BundleError):
        versions.add(lambda path: path.mkdir(), {})
    assert versions.list() == []
    assert list(versions.folder.iterdir()) == []
    assert versions.add(bundle(1), {}).number == 3, "a number is never given twice"


def test_what_a_kill_left_goes_when_the_next_version_is_added(versions: Versions) -> None:
    versions.add(bundle(1), {})
    for name in ("000002", ".000003.0123456789abcdef0123456789abcdef.new", "000009"):
        bundle(2)(versions.folder / name)
    (versions.folder / "start").mkdir()
    versions.add(bundle(3), {})
    assert sorted(path.name for path in versions.folder.iterdir()) == ["000001", "000002", "start"]
    assert read_bundle(versions.path(2)).parts["n"] == 3

    def slow(path: Path) -> None:
        bundle(4)(path)
        versions.add(bundle(5), {})  # by another process, meanwhile

    assert versions.add(slow, {}).number == 3
    assert [version.number for version in versions.list()] == [1, 2, 3, 4]
    assert read_bundle(versions.path(3)).parts["n"] == 4


def test_a_version_that_is_deleted_meanwhile_is_not_activated(versions: Versions, store: Store) -> None:
    for n in range(3):
        versions.add(bundle(n), {})
    versions.activate(3)

    def read(_: Path) -> None:
        versions.keep(1)  # by another process, just when the bundle was found to be whole

    with pytest.raises(UnknownId, match="model version 1 was deleted meanwhile"):
        Versions(store, versions.folder, read=read).activate(1)
    assert versions.active() == 3


def test_retention_keeps_what_is_needed(versions: Versions) -> None:
    for n in range(6):
        versions.add(bundle(n), {})
    versions.activate(1)
    versions.activate(3)
    assert versions.keep(2) == (2, 4)
    assert [version.number for version in versions.list()] == [1, 3, 5, 6]
    assert sorted(path.name for path in versions.folder.iterdir()) == ["000001", "000003", "000005", "000006"]
    assert versions.rollback().number == 1
    with pytest.raises(SettingError, match="n=0"):
        versions.keep(0)


def test_models_lie_beside_an_sqlite_file(tmp_path: Path) -> None:
    with Store.open(tmp_path / "shop.db") as store:
        assert Versions(store).folder == tmp_path / "shop.models"
    with (
        Store.open(new_database("postgresql", tmp_path)) as store,
        pytest.raises(SettingError, match="no folder beside it; name one"),
    ):
        Versions(store)
