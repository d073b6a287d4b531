"""JSON lines as batches: one object a line, its values kept as typed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import BinaryIO

import numpy as np
import polars as pl

from palate.data.batch import CHUNK, Batch, Choose
from palate.errors import DataError

HALF_PAIR = re.compile("[\ud800-\udfff]")


def read_json_lines(stream: BinaryIO, place: str, choose: Choose) -> Iterator[Batch]:
    """Rows of JSON lines. The columns are the keys seen in the first block; a key a row lacks is null."""
    columns: dict[str, str] | None = None
    first = 1
    while lines := stream.readlines(CHUNK):
        good: list[tuple[int, dict[str, object]]] = []
        broken = []
        for number, line in enumerate(lines, first):
            try:
                good += [(number, value) for value in _objects(line)]
            except (ValueError, RecursionError) as error:
                broken.append((number, f"{line[:80]!r} is not a JSON object in UTF-8: {error}"))
        if columns is None:
            columns = choose(list(dict.fromkeys(key for _, value in good for key in value)), place)
        series = [_column(role, [value.get(name) for _, value in good]) for role, name in columns.items()]
        row = np.array([number for number, _ in good], np.int64)
        yield Batch(place, columns, pl.DataFrame(series), row, broken, typed=True)
        first += len(lines)
    if columns is None:
        raise DataError(f"{place}: empty; it must hold one JSON object a line")


def _objects(line: bytes) -> list[dict[str, object]]:
    """Return the object of a line, or none for a blank line."""
    text = line.decode("utf-8-sig").strip()
    if not text:
        return []
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError("it must be an object, {...}")
    return [value]


def _column(name: str, values: Sequence[object]) -> pl.Series:
    """Make a series of JSON values: lists, truths, numbers, or else strings; what does not fit is null."""
    kinds = {type(value) for value in values if value is not None}
    if kinds == {list}:
        lists = [[_text(part) for part in value] if isinstance(value, list) else None for value in values]
        return pl.Series(name, lists, pl.List(pl.String))
    if kinds == {bool}:
        return pl.Series(name, values, pl.Boolean)
    plain = [value if type(value) in (str, int, float) else None for value in values]
    kinds &= {str, int, float}
    if kinds and str not in kinds:
        try:
            return pl.Series(name, plain, pl.Float64 if float in kinds else pl.Int64)
        except (OverflowError, TypeError):  # an integer beyond 64 bits
            pass
    return pl.Series(name, [_text(value) for value in plain], pl.String)


def _text(value: object) -> str | None:
    """Return a string or number as text; null for anything else, and for half a surrogate pair: no Unicode."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    text = str(value)
    return None if HALF_PAIR.search(text) else text or None
