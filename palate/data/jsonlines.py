"""JSON lines as batches: one object a line, its values kept as they are."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import IO, BinaryIO, TypeAlias

import numpy as np
import polars as pl

from palate.data.batch import CHUNK, LONGEST, Batch, Choose
from palate.data.kinds import series_of
from palate.errors import DataError

Object: TypeAlias = dict[str, object]


def read_json_lines(opened: Callable[[], BinaryIO | IO[bytes]], place: str, choose: Choose) -> Iterator[Batch]:
    """Rows of JSON lines, read twice: the columns are the keys of all lines; a key that a row lacks is null.

    Raises `DataError` for a line of more than `LONGEST` bytes.
    """
    keys: dict[str, None] | None = None
    for good, _ in _blocks(opened, place):
        keys = (keys or {}) | dict.fromkeys(key for value in good.values() for key in value)
    if keys is None:
        raise DataError(f"{place}: empty; it must hold one JSON object a line")
    columns = choose(list(keys), place)
    for good, broken in _blocks(opened, place):
        series = [series_of(role, [value.get(name) for value in good.values()]) for role, name in columns.items()]
        row = np.array(list(good), np.int64)
        yield Batch(place, columns, pl.DataFrame(series), row, list(broken.items()), typed=True)


def _blocks(
    opened: Callable[[], BinaryIO | IO[bytes]], place: str
) -> Iterator[tuple[dict[int, Object], dict[int, str]]]:
    """Objects of some lines by their numbers, and the faults of those that hold none; blank lines are neither."""
    first = 1
    with opened() as stream:
        for lines in _lines(stream, place):
            good, broken = {}, {}
            for number, line in enumerate(lines, first):
                try:
                    text = line.decode("utf-8-sig").strip()
                    if text:
                        good[number] = _object(text)
                except (ValueError, RecursionError) as error:
                    broken[number] = f"{line[:80]!r} is not a JSON object in UTF-8: {error}"
            first += len(lines)
            yield good, broken


def _lines(stream: BinaryIO | IO[bytes], place: str) -> Iterator[list[bytes]]:
    """Cut the stream into blocks of whole lines."""
    text = b""
    while more := stream.read(max(CHUNK, len(text))):
        *lines, text = (text + more).split(b"\n")
        if max(map(len, [*lines, text])) > LONGEST:
            raise DataError(f"{place}: a line of more than {LONGEST >> 20} MB; there must be one JSON object a line")
        if lines:
            yield lines
    if text:
        yield [text]


def _object(text: str) -> Object:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError("it must be an object, {...}")
    return value
