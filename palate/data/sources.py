"""Where batches come from: files by their suffix, folders of files, frames."""

from __future__ import annotations

import gzip
import io
import os
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import polars as pl
from polars.selectors import by_name

from palate.data.batch import FILLED, Batch, Choose
from palate.data.delimited import Dialect, read_delimited
from palate.data.jsonlines import read_json_lines
from palate.errors import DataError, MissingExtra

# RecBole's files have no quoting.
DELIMITED = {
    ".csv": Dialect(","),
    ".tsv": Dialect("\t"),
    ".inter": Dialect("\t", None),
    ".item": Dialect("\t", None),
}
TEXT = (*DELIMITED, ".jsonl", ".ndjson")
SUFFIXES = (*TEXT, ".parquet", ".arrow", ".ipc", ".feather")


def batches(source: object, choose: Choose, ids: Sequence[str] = ()) -> Iterator[Batch]:
    """Rows of a file, of each file of a folder in the order of their names, or of a frame.

    The roles named by `ids` may stay text, in `Batch.ids` (see `read_delimited`).
    Raises `DataError` for what cannot be opened or read, and `MissingExtra` for a frame that needs pyarrow.
    """
    if isinstance(source, (str, os.PathLike)):
        for path, place in _files(Path(source)):
            with _reading(place):
                yield from _file(path, place, choose, ids)
    else:
        with _reading(place_of(source)):
            yield from _frame(_lazy(source), place_of(source), choose)


def ahead(found: Iterator[Batch]) -> Iterator[Batch]:
    """Read the next batch in a thread of its own while this one is coded."""
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, found, None)
        while (batch := coming.result()) is not None:
            coming = pool.submit(next, found, None)
            yield batch


def place_of(source: object) -> str:
    """Name of the whole source in errors."""
    return Path(source).name if isinstance(source, (str, os.PathLike)) else "the frame"


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


def _file(path: Path, place: str, choose: Choose, ids: Sequence[str]) -> Iterator[Batch]:
    *_, kind, packing = ["", "", *(suffix.lower() for suffix in path.suffixes)]
    if packing not in (".gz", ".zst"):
        kind, packing = packing, ""
    if kind not in (TEXT if packing == ".zst" else SUFFIXES):
        known = f"{' '.join(SUFFIXES)}, each also with .gz, and text with .zst"
        raise DataError(f"{place}: unknown suffix {kind + packing!r}; known are {known}")
    with _opened(path, packing) as stream:
        if kind in DELIMITED:
            yield from read_delimited(stream, place, DELIMITED[kind], choose, ids)
        elif kind in TEXT:
            yield from read_json_lines(stream, place, choose)
        elif kind == ".parquet":
            plain = io.BytesIO(stream.read()) if packing else path
            yield from _frame(pl.scan_parquet(plain, glob=False), place, choose)
        else:
            packed = io.BytesIO(stream.read())
            read = pl.read_ipc if packed.getvalue()[:6] == b"ARROW1" else pl.read_ipc_stream
            yield from _frame(read(packed).lazy(), place, choose)


def _opened(path: Path, packing: str) -> BinaryIO:
    if packing == ".gz":
        return cast(BinaryIO, gzip.open(path))
    if packing == ".zst":  # Python has no zstd before 3.14; polars has, line by line
        with path.open("rb") as file:
            return io.BytesIO("\n".join(pl.read_lines(file)["line"]).encode())
    return path.open("rb")


def _lazy(source: object) -> pl.LazyFrame:
    if isinstance(source, (pl.DataFrame, pl.LazyFrame)):
        return source.lazy()
    kind = f"{type(source).__module__.split('.')[0]}.{type(source).__name__}"
    try:
        if kind == "pandas.DataFrame":
            return pl.from_pandas(source).lazy()
        if hasattr(source, "__arrow_c_stream__"):
            return pl.DataFrame(source).lazy()
    except ModuleNotFoundError:
        raise MissingExtra("pyarrow", "arrow") from None
    except (ValueError, TypeError, OverflowError) as error:  # the kinds of pyarrow's own errors
        raise DataError(f"a {kind}: cannot be read: {error}") from error
    raise DataError(f"a {kind}: cannot be read; give a path, or a frame of polars, pandas or pyarrow")


def _frame(frame: pl.LazyFrame, place: str, choose: Choose) -> Iterator[Batch]:
    columns = choose(frame.collect_schema().names(), place)
    first = 1
    wanted = frame.select(by_name(name).as_expr().alias(role) for role, name in columns.items())
    for part in wanted.with_columns(FILLED).collect_batches():
        yield Batch(place, columns, part, np.arange(first, first + len(part)), [], typed=True)
        first += len(part)
