"""Where batches come from: files by their suffix, folders of files, frames."""

from __future__ import annotations

import gzip
import io
import os
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import IO, BinaryIO, cast
from urllib.parse import unquote
from zipfile import BadZipFile, ZipFile

import polars as pl

from palate.data.batch import Batch, Choose
from palate.data.delimited import read_delimited
from palate.data.dialects import Form
from palate.data.frames import is_sparse, read_frame, read_lazy, reading
from palate.data.jsonlines import read_json_lines
from palate.data.records import Dialect
from palate.errors import DataError, MissingExtra, Package, require

# RecBole's files have no quoting.
DELIMITED = {
    ".csv": Dialect(","),
    ".tsv": Dialect("\t"),
    ".txt": Dialect("\t"),
    ".dat": Dialect("\t"),
    ".data": Dialect("\t"),
    ".inter": Dialect("\t", quotes=False),
    ".item": Dialect("\t", quotes=False),
}
DAMAGED = (
    *(OSError, EOFError, UnicodeError, zlib.error, BadZipFile, NotImplementedError),
    *(pl.exceptions.PolarsError, pl.exceptions.PanicException),
)
TEXT = (*DELIMITED, ".jsonl", ".ndjson")
SUFFIXES = (*TEXT, ".parquet", ".arrow", ".ipc", ".feather", ".xlsx")


@dataclass(frozen=True)
class Part:
    """A file of a source: its name in errors, and columns that the names of its folders give, `day=2020-01-02`."""

    path: Path
    place: str
    keys: Mapping[str, str] = field(default_factory=dict)


def batches(source: object, choose: Choose, form: Form | None = None) -> Iterator[Batch]:
    """Rows of a file, of the files of a folder, pattern or list, in the order of their names, or of a frame.

    form: what was stated of delimited text. Raises `DataError` for what cannot be opened or read, and `MissingExtra`
    for what needs pyarrow.
    """
    paths = _paths(source)
    if paths is None:
        with _reading(place_of(source)):
            yield from read_frame(source, place_of(source), choose)
    for part in chain.from_iterable(map(_parts, paths or ())):
        with _reading(part.place):
            yield from _with_keys(partial(_file, part, form=form), part.keys, choose)


def ahead(found: Iterator[Batch]) -> Iterator[Batch]:
    """Read the next batch in a thread of its own while this one is coded."""
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, found, None)
        while (batch := coming.result()) is not None:
            coming = pool.submit(next, found, None)
            yield batch


def place_of(source: object) -> str:
    """Name of the whole source in errors."""
    paths = _paths(source)
    if paths is not None:
        return paths[0].name if len(paths) == 1 else f"{paths[0].name} and {len(paths) - 1} more"
    return "the entries of the matrix" if is_sparse(source) else "the frame"


@contextmanager
def _reading(place: str) -> Iterator[None]:
    """Turn what the libraries raise on a damaged file into a `DataError` with the place."""
    try:
        yield
    except DAMAGED as error:
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise DataError(f"{place}: cannot be read: {reason}") from error


def _paths(source: object) -> list[Path] | None:
    """Return the paths of a source, None for a frame."""
    if isinstance(source, (str, os.PathLike)):
        return [Path(source)]
    if isinstance(source, (list, tuple)) and source and all(isinstance(each, (str, os.PathLike)) for each in source):
        return [Path(each) for each in source]
    return None


def _parts(source: Path) -> Iterator[Part]:
    """Return the files of a path, which may be a pattern, `2020-*/*.csv`, or a folder."""
    if source.is_dir():
        parts = list(_folder(source, source.name, {}))
        if not parts:
            raise DataError(f"{source}: an empty folder; it must hold the parts of a log")
        yield from parts
        return
    pattern = str(source.relative_to(source.anchor))
    found = [source] if source.exists() else sorted(Path(source.anchor).glob(pattern))
    if not found:
        raise DataError(f"{source}: no such file or folder")
    for path in found:
        yield Part(path, path.name)


def _folder(folder: Path, place: str, keys: Mapping[str, str]) -> Iterator[Part]:
    """Files of a folder, and of those within that are named by a key and its value, as Hive has them."""
    for path in sorted(path for path in folder.iterdir() if path.name[0] not in "._"):
        key, sign, value = path.name.partition("=")
        within = f"{place}/{path.name}"
        if sign and path.is_dir():
            yield from _folder(path, within, {**keys, key: unquote(value)})
        else:
            yield Part(path, within, keys)


def _with_keys(read: Callable[[Choose], Iterator[Batch]], keys: Mapping[str, str], choose: Choose) -> Iterator[Batch]:
    """Batches with the columns that the names of folders give; one that is in the file as well is read there."""
    given: dict[str, str] = {}

    def chosen(names: Sequence[str], place: str) -> dict[str, str]:
        columns = choose([*names, *(key for key in keys if key not in names)], place)
        given.update({role: name for role, name in columns.items() if name not in names})
        return {role: name for role, name in columns.items() if name in names}

    for batch in read(chosen):
        values = [pl.Series(role, [keys[name]], pl.String) for role, name in given.items()]
        more = [value.new_from_index(0, len(batch.row)) for value in values]
        yield replace(batch, columns=batch.columns | given, frame=batch.frame.with_columns(more)) if given else batch


def _file(part: Part, choose: Choose, form: Form | None) -> Iterator[Batch]:
    path, place = part.path, part.place
    kind, packing = _kind(path.name, place)
    if kind == ".zip":
        with ZipFile(path) as archive:
            names = [name for name in archive.namelist() if not _is_hidden(name)]
            for name in sorted(names):
                within, packed = _kind(name, f"{place}/{name}")
                if packed or within == ".zip":
                    raise DataError(f"{place}/{name}: packed twice; unpack {place} first")
                yield from _read(within, partial(archive.open, name), f"{place}/{name}", choose, form)
    elif kind == ".parquet" and not packing:
        yield from read_lazy(pl.scan_parquet(path, glob=False), place, choose)
    else:
        yield from _read(kind, partial(_opened, path, packing), place, choose, form)


def _kind(name: str, place: str) -> tuple[str, str]:
    """Return the suffix of a file and that of its packing, "" for none; raises `DataError` for an unknown one."""
    *_, kind, packing = ["", "", *(suffix.lower() for suffix in Path(name).suffixes)]
    if packing not in (".gz", ".zst"):
        kind, packing = packing, ""
    if kind not in (TEXT if packing == ".zst" else SUFFIXES) and (kind, packing) != (".zip", ""):
        known = f"{' '.join(SUFFIXES)}, each also with .gz, text with .zst, and .zip of these"
        raise DataError(f"{place}: unknown suffix {kind + packing!r}; known are {known}")
    return kind, packing


def _is_hidden(name: str) -> bool:
    return name.endswith("/") or any(each[:1] in (".", "_") for each in name.split("/"))


def _read(
    kind: str, opened: Callable[[], BinaryIO | IO[bytes]], place: str, choose: Choose, form: Form | None
) -> Iterator[Batch]:
    """Rows of a file that `opened` opens, of one of the `SUFFIXES`."""
    if kind in TEXT and kind not in DELIMITED:
        yield from read_json_lines(opened, place, choose)
        return
    with opened() as stream:
        if kind in DELIMITED:
            yield from read_delimited(stream, place, DELIMITED[kind], choose, form)
            return
        packed = io.BytesIO(stream.read())
    if kind == ".parquet":
        yield from read_lazy(pl.scan_parquet(packed, glob=False), place, choose)
    elif kind == ".xlsx":
        yield from _sheet(packed, place, choose)
    else:
        read = pl.read_ipc if packed.getvalue()[:6] == b"ARROW1" else pl.read_ipc_stream
        yield from read_lazy(read(packed).lazy(), place, choose)


def _sheet(packed: BinaryIO, place: str, choose: Choose) -> Iterator[Batch]:
    """Rows of the first sheet of a workbook; blank ones count and are ignored."""
    require([Package("fastexcel", "fastexcel", "excel")])
    with reading(place):  # the errors of its library are of many kinds
        sheet = pl.read_excel(packed, drop_empty_rows=False)
    for batch in read_frame(sheet, place, choose):
        filled = ~batch.frame.select(pl.all_horizontal(pl.all().is_null())).to_series()
        yield replace(batch, frame=batch.frame.filter(filled), row=batch.row[filled.to_numpy()])


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
