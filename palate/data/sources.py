"""Where batches come from: files by their suffix, folders of files, frames."""

from __future__ import annotations

import gzip
import io
import os
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO, cast

import polars as pl
from scipy.sparse import issparse

from palate.data.batch import Batch, Choose
from palate.data.delimited import Dialect, read_delimited
from palate.data.frames import read_frame, read_lazy
from palate.data.jsonlines import read_json_lines
from palate.errors import DataError, MissingExtra

# RecBole's files have no quoting.
DELIMITED = {
    ".csv": Dialect(","),
    ".tsv": Dialect("\t"),
    ".inter": Dialect("\t", quotes=False),
    ".item": Dialect("\t", quotes=False),
}
TEXT = (*DELIMITED, ".jsonl", ".ndjson")
SUFFIXES = (*TEXT, ".parquet", ".arrow", ".ipc", ".feather")


def batches(source: object, choose: Choose) -> Iterator[Batch]:
    """Rows of a file, of each file of a folder in the order of their names, or of a frame.

    Raises `DataError` for what cannot be opened or read, and `MissingExtra` for what needs pyarrow.
    """
    if isinstance(source, (str, os.PathLike)):
        for path, place in _files(Path(source)):
            with _reading(place):
                yield from _file(path, place, choose)
    else:
        with _reading(place_of(source)):
            yield from read_frame(source, place_of(source), choose)


def ahead(found: Iterator[Batch]) -> Iterator[Batch]:
    """Read the next batch in a thread of its own while this one is coded."""
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, found, None)
        while (batch := coming.result()) is not None:
            coming = pool.submit(next, found, None)
            yield batch


def place_of(source: object) -> str:
    """Name of the whole source in errors."""
    if isinstance(source, (str, os.PathLike)):
        return Path(source).name
    return "the entries of the matrix" if issparse(source) else "the frame"


@contextmanager
def _reading(place: str) -> Iterator[None]:
    """Turn what the libraries raise on a damaged file into a `DataError` with the place."""
    try:
        yield
    except (OSError, EOFError, zlib.error, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise DataError(f"{place}: cannot be read: {reason}") from error


def _files(source: Path) -> list[tuple[Path, str]]:
    """Return the files to read, each with the name errors give it."""
    if not source.exists():
        raise DataError(f"{source}: no such file or folder")
    if not source.is_dir():
        return [(source, source.name)]
    paths = sorted(path for path in source.iterdir() if path.name[0] not in "._")
    if not paths:
        raise DataError(f"{source}: an empty folder; it must hold the parts of a log")
    return [(path, f"{source.name}/{path.name}") for path in paths]


def _file(path: Path, place: str, choose: Choose) -> Iterator[Batch]:
    *_, kind, packing = ["", "", *(suffix.lower() for suffix in path.suffixes)]
    if packing not in (".gz", ".zst"):
        kind, packing = packing, ""
    if kind not in (TEXT if packing == ".zst" else SUFFIXES):
        known = f"{' '.join(SUFFIXES)}, each also with .gz, and text with .zst"
        raise DataError(f"{place}: unknown suffix {kind + packing!r}; known are {known}")
    if kind in TEXT and kind not in DELIMITED:
        yield from read_json_lines(partial(_opened, path, packing), place, choose)
        return
    with _opened(path, packing) as stream:
        if kind in DELIMITED:
            yield from read_delimited(stream, place, DELIMITED[kind], choose)
        elif kind == ".parquet":
            plain = io.BytesIO(stream.read()) if packing else path
            yield from read_lazy(pl.scan_parquet(plain, glob=False), place, choose)
        else:
            packed = io.BytesIO(stream.read())
            read = pl.read_ipc if packed.getvalue()[:6] == b"ARROW1" else pl.read_ipc_stream
            yield from read_lazy(read(packed).lazy(), place, choose)


def _opened(path: Path, packing: str) -> BinaryIO:
    if packing == ".gz":
        return cast(BinaryIO, gzip.open(path))
    return _unpacked(path) if packing == ".zst" else path.open("rb")


def _unpacked(path: Path) -> BinaryIO:
    """Open a file of frames of Zstandard, which Python itself cannot read before 3.14."""
    try:
        from pyarrow import CompressedInputStream, OSFile
    except ModuleNotFoundError:
        raise MissingExtra("pyarrow", "arrow") from None
    return cast(BinaryIO, CompressedInputStream(OSFile(str(path)), "zstd"))
