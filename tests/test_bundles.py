from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from processes import started

from palate.bundles import bundle as bundles
from palate.bundles.bundle import MANIFEST, Part, copy_bundle, read_bundle, write_bundle
from palate.data.interactions import Interactions
from palate.data.vocabulary import Vocabulary
from palate.errors import BundleError
from palate.files import aside_of
from palate.models.base import Model
from palate.models.ease import EASE
from palate.models.popularity import Popularity
from palate.models.registry import load, load_with_log
from palate.store.events import Store
from palate.store.versions import Versions


@pytest.fixture
def model(block_log: Interactions) -> Model:
    return Popularity(half_life_days=3.5).fit(block_log)


@pytest.fixture
def saved(model: Model, block_log: Interactions, tmp_path: Path) -> Path:
    model.save(tmp_path / "model", log=block_log)
    return tmp_path / "model"


def edit_manifest(folder: Path, change: dict[str, Any]) -> None:
    """Write another manifest, one that vouches for itself."""
    body = json.loads((folder / MANIFEST).read_text()) | change
    body.pop("crc32")
    (folder / MANIFEST).write_text(json.dumps(body | {"crc32": bundles._body_crc32(body)}))


def test_a_model_comes_back_with_its_recipe_and_scores(model: Model, saved: Path, block_log: Interactions) -> None:
    back = load(saved)
    assert type(back) is type(model)
    assert back.recipe == model.recipe
    assert back.items.ids.equals(model.items.ids)
    np.testing.assert_array_equal(back.scores(block_log.histories()), model.scores(block_log.histories()))


def test_the_log_comes_back_as_the_same_histories(saved: Path, block_log: Interactions) -> None:
    log = load_with_log(saved)[1]
    assert log is not None
    assert log.to_frame().equals(block_log.to_frame())


def test_without_a_log_none_is_kept(model: Model, tmp_path: Path) -> None:
    model.save(tmp_path / "model")
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == [
        "item_scores.npy",
        "items.arrow",
        MANIFEST,
    ]
    assert load_with_log(tmp_path / "model")[1] is None


def test_the_manifest_tells_recipe_data_and_files(saved: Path, block_log: Interactions) -> None:
    manifest = json.loads((saved / MANIFEST).read_text())
    about = manifest["about"]
    assert about["recipe"] == {"name": "Popularity", "settings": {"half_life_days": 3.5}}
    assert about["data"] == {"items": 20, "users": 30, "events": len(block_log)}
    assert manifest["format"] == 1
    assert set(manifest["files"]) == {path.name for path in saved.iterdir()} - {MANIFEST}
    for name, facts in manifest["files"].items():
        assert facts["bytes"] == (saved / name).stat().st_size


PARTS: dict[str, Part] = {
    "floats": np.arange(12, dtype=np.float32).reshape(3, 4),
    "turned": np.asfortranarray(np.arange(6, dtype=np.int64).reshape(2, 3)),
    "none_left": np.empty((0, 5), np.float32),
    "single": np.array(3.5),
    "words": Vocabulary.of(["café", "寿司", "", "a/b", "😀"]),
    "numbers": Vocabulary.of([5, -3, 2**62]),
    "nobody": Vocabulary(pl.Series([], dtype=pl.String)),
    "layers": (np.ones(2), (np.zeros(3), "relu"), Vocabulary.of(["x"])),
    "plain": ("a", 1, 2.5, True, None),
    "rate": 0.1,
}


def assert_same(left: Part, right: Part) -> None:
    if isinstance(left, tuple):
        assert isinstance(right, tuple)
        assert len(left) == len(right)
        for a, b in zip(left, right, strict=True):
            assert_same(a, b)
    elif isinstance(left, np.ndarray):
        assert type(right) is np.ndarray
        assert left.dtype == right.dtype
        np.testing.assert_array_equal(left, right)
    elif isinstance(left, Vocabulary):
        assert isinstance(right, Vocabulary)
        assert left.ids.equals(right.ids, check_dtypes=True)
    else:
        assert left == right


def test_every_kind_of_part_comes_back(tmp_path: Path) -> None:
    write_bundle(tmp_path / "b", PARTS, {"note": "é", "share": 0.1, "width": np.int64(7)})
    bundle = read_bundle(tmp_path / "b")
    assert bundle.about == {"note": "é", "share": 0.1, "width": 7}
    assert list(bundle.parts) == list(PARTS)
    for name, part in PARTS.items():
        assert_same(part, bundle.parts[name])


def test_arrays_are_mapped_aligned_and_never_written_back(tmp_path: Path) -> None:
    write_bundle(tmp_path / "b", PARTS, {})
    floats = read_bundle(tmp_path / "b").parts["floats"]
    assert isinstance(floats, np.ndarray)
    assert isinstance(floats.base, np.memmap)
    assert floats.ctypes.data % 64 == 0
    floats[0, 0] = 99
    again = read_bundle(tmp_path / "b").parts["floats"]
    assert isinstance(again, np.ndarray)
    assert again[0, 0] == 0


def test_objects_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="allow_pickle"):
        write_bundle(tmp_path / "b", {"objects": np.array([{}])}, {})
    assert list(tmp_path.iterdir()) == []


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_flipped_byte_is_caught(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("flips") / "b"
    write_bundle(folder, PARTS, {"note": "é"})
    path = data.draw(st.sampled_from(sorted(folder.iterdir())))
    before = path.read_bytes()
    after = bytearray(before)
    after[data.draw(st.integers(0, len(before) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(after)
    assume(path.name != MANIFEST or after.split() != before.split())  # other white space says the same
    with pytest.raises(BundleError) as caught:
        read_bundle(folder)
    assert path.name in str(caught.value)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda folder: (folder / "items.arrow").unlink(),
            "items.arrow: cannot be read, though the manifest names it",
        ),
        (
            lambda folder: (folder / "item_scores.npy").write_bytes(b"x"),
            "item_scores.npy: 1 bytes; the manifest says",
        ),
        (lambda folder: (folder / "items.arrow").write_bytes(b""), "items.arrow: 0 bytes; the manifest says"),
        (lambda folder: (folder / MANIFEST).unlink(), "manifest.json: missing"),
        (lambda folder: (folder / MANIFEST).write_text("{"), "manifest.json: cannot be read as JSON"),
        (lambda folder: (folder / MANIFEST).write_bytes(b"\xff\xfe"), "manifest.json: cannot be read as JSON"),
        (lambda folder: (folder / MANIFEST).write_text("[]"), "holds no 'format' number"),
        (lambda folder: (folder / MANIFEST).write_text('{"format": 1}'), "the file was changed"),
        (lambda folder: edit_manifest(folder, {"format": 2, "palate": "9.1"}), "format 2, written by palate 9.1"),
        (lambda folder: edit_manifest(folder, {"files": 3}), "does not describe a bundle"),
        (lambda folder: edit_manifest(folder, {"about": {}}), "cannot rebuild the model"),
        (
            lambda folder: edit_manifest(
                folder, {"about": {"model": "PopularityModel", "recipe": {"name": "Oracle"}}}
            ),
            "recipe 'Oracle' is unknown; known are Autoencoder, Blend, Content",
        ),
        (
            lambda folder: edit_manifest(
                folder,
                {
                    "about": {
                        "model": "PopularityModel",
                        "recipe": {"name": "Popularity", "settings": {"half_life_days": -1}},
                    }
                },
            ),
            "half_life_days=-1: must be above 0",
        ),
    ],
)
def test_damage_is_named(saved: Path, damage: Any, message: str) -> None:
    damage(saved)
    with pytest.raises(BundleError) as caught:
        load(saved)
    assert message in str(caught.value)
    assert str(saved) in str(caught.value)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="nowhere: no such folder"):
        load(tmp_path / "nowhere")


def test_only_bundles_and_empty_folders_are_replaced(model: Model, saved: Path, tmp_path: Path) -> None:
    Popularity().fit(Interactions.of(model.items, model.items, *np.zeros((2, 1), np.int32))).save(saved)
    assert load(saved).recipe == Popularity()
    (tmp_path / "empty").mkdir()
    model.save(tmp_path / "empty")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "thesis.txt").write_text("mine")
    for target in ("file", "folder"):
        with pytest.raises(BundleError, match="only a bundle or an empty folder is replaced"):
            model.save(tmp_path / target)
    assert (tmp_path / "file").read_text() == (tmp_path / "folder" / "thesis.txt").read_text() == "mine"
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_link_to_a_bundle_stays_a_link(model: Model, saved: Path, tmp_path: Path) -> None:
    (tmp_path / "current").symlink_to(saved)
    model.save(tmp_path / "current")
    assert (tmp_path / "current").is_symlink()
    assert load(tmp_path / "current").recipe == model.recipe


def test_an_unwritable_place_is_named(model: Model, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BundleError, match="cannot be written"):
        model.save(tmp_path / "file" / "model")


@pytest.mark.parametrize("step", ["_write_files", "flush", "_replace"])
def test_a_failure_on_the_way_leaves_the_old_bundle(
    model: Model, saved: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    before = {path.name: path.read_bytes() for path in saved.iterdir()}

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(bundles, step, fail)
    with pytest.raises(BundleError, match="disk full"):
        model.save(saved)
    assert {path.name: path.read_bytes() for path in saved.iterdir()} == before
    assert [path.name for path in saved.parent.iterdir()] == ["model"]


def test_a_crash_between_the_renames_leaves_the_old_bundle(model: Model, saved: Path) -> None:
    saved.rename(saved.with_name(".model.previous"))
    assert load(saved).recipe == model.recipe
    model.save(saved)
    assert [path.name for path in saved.parent.iterdir()] == ["model"]


SAVE_FOREVER = """
import sys, numpy as np
from palate.bundles.bundle import write_bundle
for n in range(1, 1_000_000):
    write_bundle(sys.argv[1], {"n": n, "left": np.full(5000, n), "right": np.full(5000, n)}, {})
    print(n, flush=True)
"""


def test_what_a_kill_left_goes_with_the_next_save_beside_it(tmp_path: Path) -> None:
    kill = (
        "import os; bundles._replace = lambda *_: os.kill(os.getpid(), 9); bundles.write_bundle(sys.argv[1], {}, {})"
    )
    code = f"import sys; from palate.store import bundles; {kill}"
    subprocess.run([sys.executable, "-c", code, tmp_path / "killed"], check=False)
    assert len(list(tmp_path.iterdir())) == 1
    (tmp_path / ".notes.new").write_text("of somebody else")
    with aside_of(tmp_path / "in the making", folder=True) as living:
        write_bundle(tmp_path / "other", {}, {})
        assert living.is_dir()
    assert {path.name for path in tmp_path.iterdir()} == {"other", ".notes.new"}


def test_a_bundle_is_its_owners_alone_unless_it_replaces_a_shared_one(tmp_path: Path) -> None:
    def modes() -> set[int]:
        return {path.stat().st_mode & 0o777 for path in (tmp_path / "b", *(tmp_path / "b").iterdir())}

    write_bundle(tmp_path / "b", {"x": np.zeros(3)}, {})
    assert modes() == {0o700, 0o600}
    (tmp_path / "b").chmod(0o755)
    write_bundle(tmp_path / "b", {"x": np.zeros(3)}, {})
    assert modes() == {0o755, 0o644}


def test_while_it_is_replaced_a_bundle_is_the_old_one_or_the_new_one(tmp_path: Path) -> None:
    write_bundle(tmp_path / "b", {"n": 0, "left": np.zeros(5000), "right": np.zeros(5000)}, {})
    process = subprocess.Popen([sys.executable, "-c", SAVE_FOREVER, tmp_path / "b"], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        for _ in range(20):
            process.stdout.readline()
            for _ in range(10):
                parts: Any = read_bundle(tmp_path / "b").parts
                assert (parts["left"] == parts["n"]).all()
                assert (parts["right"] == parts["n"]).all()
            copy_bundle(tmp_path / "b", tmp_path / "copy")
            read_bundle(tmp_path / "copy")
    finally:
        process.kill()
        process.communicate()


def test_killed_at_any_moment_a_whole_bundle_is_there(tmp_path: Path) -> None:
    rng = random.Random(0)
    for _ in range(4):
        with started([sys.executable, "-c", SAVE_FOREVER, tmp_path / "b"], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(rng.uniform(0, 0.1))
            process.send_signal(signal.SIGKILL)
        parts: Any = read_bundle(tmp_path / "b").parts
        assert (parts["left"] == parts["n"]).all()
        assert (parts["right"] == parts["n"]).all()


def test_a_version_whose_arrays_do_not_fit_is_not_activated(block_log: Interactions, tmp_path: Path) -> None:
    model = EASE(neighbours=3).fit(block_log)
    with Store.open(f"{tmp_path / 'shop.db'}") as store:
        versions = Versions(store, read=load)
        for _ in range(2):
            versions.add(model.save, {})
        versions.activate(1)
        column = versions.path(2) / "column.npy"
        np.save(column, np.load(column)[:-5])
        files = json.loads((versions.path(2) / MANIFEST).read_text())["files"]
        files[column.name] = {"bytes": column.stat().st_size, "crc32": bundles._crc32(column)}
        edit_manifest(versions.path(2), {"files": files})
        with pytest.raises(BundleError, match="column"):
            versions.activate(2)
        assert versions.active() == 1
        count = len(versions.list())
        with pytest.raises(BundleError, match="cannot rebuild the model"):
            versions.add(lambda path: shutil.copytree(versions.path(2), path), {})
        assert len(versions.list()) == count
