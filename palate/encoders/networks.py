"""How the packages that run networks are reached: each only when an encoder wants it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

from palate.errors import DataError, MissingExtra

Tensor: TypeAlias = Any

EXTRA = "content"


def need(module: str, package: str = "", extra: str = EXTRA) -> ModuleType:
    """Import a module of an extra; raises `MissingExtra` where its package, or one that it needs, is missing."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        own = error.name in (None, module, module.partition(".")[0])
        raise MissingExtra((package or module) if own else str(error.name), extra) from None


def folder_of(module: str, package: str, extra: str = EXTRA) -> Path:
    """Folder of an installed module whose code is not run; raises `MissingExtra`."""
    found = find_spec(module)
    if found is None or not found.submodule_search_locations:
        raise MissingExtra(package, extra)
    return Path(found.submodule_search_locations[0])


def session(path: Path) -> Any:
    """Open an ONNX model to run on the processor. Raises `DataError` for a file that is none."""
    runtime = need("onnxruntime")
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    try:
        return runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its own errors share no base
        raise DataError(f"{path}: cannot be read as an ONNX model: {error}") from None


def weights(path: Path) -> Any:
    """Read what torch saved in a file; numbers alone are let in, so that no code in it can run."""
    torch = need("torch")
    numbers = need("numpy.core.multiarray") if find_spec("numpy._core") is None else need("numpy._core.multiarray")
    numpy = need("numpy")
    kinds = [(numbers.scalar, "numpy.core.multiarray.scalar"), numpy.dtype, type(numpy.dtype(numpy.int64))]
    kinds += [type(numpy.dtype(numpy.float64)), (need("_codecs").encode, "_codecs.encode")]
    with torch.serialization.safe_globals(kinds):
        return torch.load(path, map_location="cpu", weights_only=True)


@lru_cache(16)
def digest(path: Path) -> str:
    """Return a short hash of a file: the same weights have the same name."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


@contextmanager
def inference() -> Iterator[ModuleType]:
    """Yield torch, with gradients off."""
    torch = need("torch")
    with torch.inference_mode():
        yield torch
