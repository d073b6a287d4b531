"""A bundle: named parts in a folder of plain files, with a manifest of their checksums.

Arrays are `.npy`, ids and tables are uncompressed Arrow IPC (`.arrow`), weights of a network `.safetensors` (extra
`deep`), everything else stands in `manifest.json`. Loading maps the files into memory. This room knows no models: it
writes and reads parts by name.
"""

from __future__ import annotations

import json
import mmap
import os
import shutil
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from time import monotonic
from types import ModuleType
from typing import Any, TypeAlias, TypeVar, cast

import numpy as np
import polars as pl

from palate.arrays import AnyArray
from palate.data.vocabulary import Vocabulary
from palate.errors import BundleError, MissingExtra
from palate.files import aside_of, flush

FORMAT = 1
MANIFEST = "manifest.json"
PATIENCE = 10.0  # seconds to retry while a bundle is being replaced

T = TypeVar("T")
Part: TypeAlias = (
    "AnyArray | Mapping[str, AnyArray] | Vocabulary | pl.DataFrame | str | int | float | bool"
    " | tuple[Part, ...] | None"
)
About: TypeAlias = Mapping[str, Any]  # what JSON has, by name


@dataclass(frozen=True)
class Bundle:
    """The contents of a folder: `parts` by name, and `about`, the free part of its manifest."""

    about: About
    parts: Mapping[str, Part]


def write_bundle(folder: str | Path, parts: Mapping[str, Part], about: About) -> None:
    """Write the parts to a new folder, or in place of the bundle that is there.

    Everything is written aside, flushed to disk and renamed, so a crash leaves the old bundle or the new one. A new
    bundle is its owner's alone, since it may hold histories; one that replaces another may be read by the same.
    Raises `BundleError` for a target that is something else, or that cannot be written.
    """
    target = Path(folder).resolve()
    if not (target / MANIFEST).is_file() and _holds_something(target):
        raise BundleError(f"{target}: exists and has no {MANIFEST}; only a bundle or an empty folder is replaced")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with aside_of(target, folder=True) as aside:
            _write_files(aside, parts, about)
            _replace(target, aside)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise BundleError(f"{target}: cannot be written: {error}") from None


def read_bundle(folder: str | Path) -> Bundle:
    """Map the parts of a bundle into memory, every file checked against the manifest.

    Raises `BundleError` for what is missing, damaged or from a newer version. Arrays are copy-on-write: changing
    one never reaches the file. While the bundle is replaced, it is the old one or the new one.
    """
    return _steadily(folder, _read)


def copy_bundle(folder: str | Path, target: Path) -> str:
    """Copy a bundle as it is to a new folder; returns the checksum of its manifest. Raises as `read_bundle`."""

    def copied(home: Path) -> str:
        shutil.rmtree(target, ignore_errors=True)
        try:
            shutil.copytree(home, target)
        except OSError as error:
            raise BundleError(f"{target}: cannot be written: {error}") from error
        return manifest_checksum(target)

    return _steadily(folder, copied)


def is_there(folder: str | Path) -> bool:
    """Whether there is a bundle in this folder, or one that a crash left to be put there."""
    return _home(Path(folder).resolve()).is_dir()


def manifest_checksum(folder: str | Path) -> str:
    """Checksum of a bundle's manifest, another for any other bundle. Raises as `read_bundle`."""
    return _steadily(folder, lambda home: _body_crc32(_read_manifest(home / MANIFEST)))


def _steadily(folder: str | Path, work: Callable[[Path], T]) -> T:
    """Work on a bundle's folder, again if it was replaced meanwhile: then the manifest is another file."""
    given = Path(folder).resolve()
    end = monotonic() + PATIENCE
    while True:
        home = _home(given)
        answer: T | BundleError
        with _held(home / MANIFEST) as held:
            try:
                answer = work(home)
            except BundleError as error:
                answer = error
            steady = home == _home(given) and held == _file_of(home / MANIFEST)
        if steady and not isinstance(answer, BundleError):
            return answer
        if steady or monotonic() > end:
            raise answer if isinstance(answer, BundleError) else BundleError(f"{given}: replaced without a pause")


def _home(given: Path) -> Path:
    """Where a bundle is: between the two renames of a save, or after a crash there, it is the one before."""
    return given if given.exists() or not _previous(given).exists() else _previous(given)


@contextmanager
def _held(path: Path) -> Iterator[tuple[int, int] | None]:
    """Hold a file open, so that no other gets its number; gives device and number, None where there is none."""
    try:
        file = path.open("rb")
    except OSError:
        yield None
        return
    with file:
        found = os.fstat(file.fileno())
        yield found.st_dev, found.st_ino


def _file_of(path: Path) -> tuple[int, int] | None:
    with suppress(OSError):
        found = path.stat()
        return found.st_dev, found.st_ino
    return None


def _read(home: Path) -> Bundle:
    if not home.is_dir():
        raise BundleError(f"{home}: no such folder; a bundle is a folder with a {MANIFEST}")
    manifest = _read_manifest(home / MANIFEST)
    try:
        for name, facts in manifest["files"].items():
            _verify(home / Path(name).name, facts["bytes"], facts["crc32"])
        return Bundle(manifest["about"], {name: _load(home, code) for name, code in manifest["parts"].items()})
    except (BundleError, MissingExtra):
        raise
    except (Exception, pl.exceptions.PanicException) as error:  # whatever a library says of a file
        raise BundleError(f"{home / MANIFEST}: does not describe a bundle: {error!r}") from error


# Writing


def _holds_something(target: Path) -> bool:
    return target.is_file() or (target.is_dir() and any(target.iterdir()))


def _write_files(folder: Path, parts: Mapping[str, Part], about: About) -> None:
    codes = {name: _save(folder, name, part) for name, part in parts.items()}
    files = {path.name: {"bytes": path.stat().st_size, "crc32": _crc32(path)} for path in sorted(folder.iterdir())}
    body = {
        "format": FORMAT,
        "palate": version("palate"),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "about": dict(about),
        "parts": codes,
        "files": files,
    }
    text = json.dumps(body | {"crc32": _body_crc32(body)}, indent=2, default=np.generic.item)
    (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")
    shared = folder.stat().st_mode & 0o044
    for path in (*folder.iterdir(), folder):
        if path != folder:
            path.chmod(0o600 | shared)
        flush(path)


def _save(folder: Path, name: str, part: Part) -> object:
    """Write what needs a file; return how the manifest speaks of the part."""
    if isinstance(part, tuple):
        return [_save(folder, f"{name}.{n}", each) for n, each in enumerate(part)]
    if isinstance(part, np.ndarray):
        np.save(folder / f"{name}.npy", part, allow_pickle=False)
        return {"file": f"{name}.npy"}
    if isinstance(part, Vocabulary | pl.DataFrame):
        frame = pl.DataFrame({"id": part.ids}) if isinstance(part, Vocabulary) else part
        frame.write_ipc(folder / f"{name}.arrow", compression="uncompressed", compat_level=pl.CompatLevel.oldest())
        return {"file" if isinstance(part, Vocabulary) else "table": f"{name}.arrow"}
    if isinstance(part, Mapping):
        named = {key: np.ascontiguousarray(array) for key, array in part.items()}
        _safetensors().save_file(named, folder / f"{name}.safetensors")
        return {"file": f"{name}.safetensors"}
    return part


def _replace(target: Path, aside: Path) -> None:
    """Put `aside` in the place of `target`; `read_bundle` knows where the old one is between the two renames."""
    previous = _previous(target)
    if target.exists():
        shutil.rmtree(previous, ignore_errors=True)
        target.rename(previous)
    aside.rename(target)
    flush(target.parent)
    shutil.rmtree(previous, ignore_errors=True)


def finish_replacing(target: Path) -> None:
    """Finish a replacement that a kill cut off; no other process may work on the bundle meanwhile."""
    previous = _previous(target)
    if target.exists():
        shutil.rmtree(previous, ignore_errors=True)
    elif previous.exists():
        previous.rename(target)
        flush(target.parent)


def _previous(target: Path) -> Path:
    return target.with_name(f".{target.name}.previous")


# Reading


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        body = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise BundleError(f"{path}: missing; every bundle has one") from None
    except (OSError, ValueError) as error:
        raise BundleError(f"{path}: cannot be read as JSON: {error}") from None
    if not isinstance(body, dict) or not isinstance(body.get("format"), int):
        raise BundleError(f"{path}: holds no 'format' number; it is not the manifest of a bundle")
    if body["format"] > FORMAT:
        raise BundleError(
            f"{path}: format {body['format']}, written by palate {body.get('palate')}; this is palate "
            f"{version('palate')}, which reads up to format {FORMAT}: upgrade it"
        )
    stated = body.pop("crc32", None)
    if stated != _body_crc32(body):
        raise BundleError(
            f"{path}: its crc32 is {_body_crc32(body)}, not the {stated} it states: the file was changed"
        )
    return body


def _verify(path: Path, size: int, crc32: str) -> None:
    try:
        found = path.stat().st_size
        if found != size:
            raise BundleError(f"{path}: {found:,} bytes; the manifest says {size:,}")
        if _crc32(path) != crc32:
            raise BundleError(f"{path}: its crc32 is {_crc32(path)}, the manifest says {crc32}: the file was changed")
    except OSError as error:
        raise BundleError(f"{path}: cannot be read, though the manifest names it: {error}") from None


def _load(folder: Path, code: object) -> Part:
    if isinstance(code, list):
        return tuple(_load(folder, each) for each in code)
    if not isinstance(code, dict):
        return cast("Part", code)
    path = folder / Path(code["table" if "table" in code else "file"]).name
    try:
        return _read_part(path, "table" in code)
    except MissingExtra:
        raise
    except (Exception, pl.exceptions.PanicException) as error:  # of any of the libraries
        raise BundleError(f"{path}: cannot be read: {error}") from None


def _read_part(path: Path, table: bool) -> Part:
    if table:
        return pl.scan_ipc(path).collect()
    if path.suffix == ".arrow":
        return Vocabulary(pl.scan_ipc(path).collect()["id"]).checked()
    if path.suffix == ".safetensors":
        return dict(_safetensors().load_file(path))
    # Copy-on-write, since numba would compile every kernel again for read-only arrays; kernels go row by row.
    return np.asarray(np.load(path, mmap_mode="c", allow_pickle=False), order="C")


def _safetensors() -> ModuleType:
    try:
        import safetensors.numpy
    except ModuleNotFoundError:
        raise MissingExtra("safetensors", "deep") from None
    return safetensors.numpy


def _body_crc32(body: About) -> str:
    return f"{zlib.crc32(json.dumps(body, sort_keys=True, default=np.generic.item).encode()):08x}"


def _crc32(path: Path) -> str:
    """Any change within four bytes is sure to show, any other misses once in 4 billion; about 4 GB/s."""
    with path.open("rb") as file:
        if not path.stat().st_size:
            return f"{0:08x}"
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return f"{zlib.crc32(content):08x}"
