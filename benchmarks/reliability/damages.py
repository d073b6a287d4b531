"""Bundles with wrong arrays, sealed anew: what every model makes of them."""

from __future__ import annotations

import json
import multiprocessing
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy as safetensors

from benchmarks.reliability.parts import Facts, Part, Step, exactly
from palate.bundles import bundle as bundles
from palate.bundles.bundle import MANIFEST
from palate.errors import PalateError
from palate.models.base import Recipe
from palate.models.registry import load_with_log, recipes

EACH = 50  # damages of a step
ASKED = [["i1", "i2"], [], ["i3"]]


def arrays_of(folder: Path) -> list[Path]:
    """Files of a bundle that hold arrays."""
    return sorted(path for path in folder.iterdir() if path.suffix in (".npy", ".safetensors"))


def mutated(array: Any, rng: np.random.Generator) -> Any:
    """One of the ways in which an array can be another than it was."""
    row = int(rng.integers(max(1, len(array)))) if array.ndim else 0
    ways: list[Callable[[], Any]] = [
        lambda: array[: len(array) // 2],
        lambda: np.concatenate([array, array]),
        lambda: array[:0],
        lambda: array[None],
        lambda: array.reshape(-1)[:-1],
        lambda: np.asfortranarray(array).T if array.ndim == 2 else array[::-1],
        lambda: array.astype(np.float64 if array.dtype != np.float64 else np.float32),
        lambda: array.astype(array.dtype.newbyteorder()),
        lambda: array.astype(np.int16),
        lambda: np.full_like(array, most(array, 10**8)),
        lambda: np.full_like(array, -1) if array.dtype.kind != "u" else array * 0,
        lambda: placed(array, row, np.nan if array.dtype.kind == "f" else most(array, 2**31 - 1)),
        lambda: placed(array, row, -np.inf if array.dtype.kind == "f" else most(array, len(array))),
        lambda: np.array("text"),
    ]
    return ways[rng.integers(len(ways))]()


def most(array: Any, value: int) -> int:
    """Return the value, or the largest that an array of bytes can hold."""
    return min(value, 255) if array.dtype.itemsize == 1 else value


def placed(array: Any, row: int, value: float) -> Any:
    """Copy an array, one number of it another."""
    copy = array.copy()
    copy.reshape(-1)[row : row + 1] = value
    return copy


def damage(path: Path, rng: np.random.Generator) -> None:
    """Put another array in the place of one."""
    if path.suffix == ".npy":
        np.save(path, mutated(np.load(path), rng))
        return
    named = safetensors.load(path.read_bytes())
    name = list(named)[rng.integers(len(named))]
    changed = mutated(named[name], rng)
    if changed.dtype.kind == "U" or changed.dtype.byteorder == ">":
        changed = named[name][:0]
    safetensors.save_file(named | {name: np.ascontiguousarray(changed)}, path)


def reseal(folder: Path) -> None:
    """Have a bundle vouch for its files as they are."""
    manifest = folder / MANIFEST
    body = json.loads(manifest.read_text())
    body.pop("crc32", None)
    body["files"] = {
        name: {"bytes": (folder / name).stat().st_size, "crc32": bundles._crc32(folder / name)}
        for name in body["files"]
    }
    manifest.write_text(json.dumps(body | {"crc32": bundles._body_crc32(body)}))


def tried(folder: Path) -> str:
    """Load and ask a bundle: "refused", "ranked" where its arrays are those of some model, or what is wrong."""
    try:
        model, _ = load_with_log(folder)
        answer = model.recommend(ASKED, 4)
    except PalateError:
        return "refused"
    except BaseException as error:  # a library's own comes through raw
        return f"{type(error).__name__}: {error}"
    within = ((answer.item >= 0) & (answer.item < len(model.items))).all()
    return "ranked" if within and np.isfinite(answer.score).all() else "a list that is none"


# Over all models


def plan() -> list[tuple[Recipe, bool]]:
    """Recipes of the contract, then those of networks once more: True for a network as a graph."""
    from test_contract import FAST

    from palate.models.transformer import Transformer

    assert {type(recipe) for recipe in FAST} == set(recipes())
    return [(recipe, False) for recipe in FAST] + [(each, True) for each in FAST if isinstance(each, Transformer)]


def saved(path: Path, recipe: Recipe, graph: bool) -> Path:
    """Save a fitted model, with its log, unless an earlier step has."""
    from conftest import block_events, log_of
    from test_contract import fitted

    from palate.models.onnx import exported

    if not path.exists():
        log = log_of(block_events())
        model: Any = fitted(recipe, log)
        (exported(model) if graph else model).save(path, log=log)
    return path


@contextmanager
def damages(folder: Path) -> Iterator[Step]:
    """Damage one model after the other, `EACH` times a step, in a process of its own: it may crash."""
    models = plan()

    def step(n: int) -> Facts:
        number = n % len(models)
        recipe, graph = models[number]
        name = f"{number}-{type(recipe).__name__}{'-graph' * graph}"
        copy = folder / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(saved(folder / name, recipe, graph), copy)
        process = multiprocessing.get_context("spawn").Process(target=attempts, args=(copy, n))
        process.start()
        process.join()
        outcomes = json.loads((folder / "outcomes.json").read_text()) if process.exitcode == 0 else []
        faults = [] if process.exitcode == 0 else [f"{name}: exit code {process.exitcode}"]
        faults += [f"{name}: {each}" for each in outcomes if each not in ("refused", "ranked")]
        counts = {"refused": outcomes.count("refused"), "ranked": outcomes.count("ranked")}
        return {"damages": EACH, **counts, "wrong": len(faults), "faults": faults}

    yield step


def attempts(copy: Path, seed: int) -> None:
    """Damage a bundle again and again, each time from the sound one."""
    rng = np.random.default_rng(seed)
    outcomes, paths = [], arrays_of(copy)
    for _ in range(EACH):
        path = paths[rng.integers(len(paths))]
        sound = path.read_bytes()
        damage(path, rng)
        reseal(copy)
        outcomes.append(tried(copy))
        path.write_bytes(sound)
    (copy.parent / "outcomes.json").write_text(json.dumps(outcomes))


DAMAGES = Part(
    "bundles with wrong arrays, sealed anew, of every model",
    2000 // EACH,
    damages,
    exactly(wrong=0),
    lambda facts: (
        f"{facts['damages']:,} damages: {facts['refused']:,} clear errors; {facts['ranked']:,} fit what the model"
        f" states of its arrays, and rank; raw errors, crashes and lists out of range {facts['wrong']}"
    ),
)
