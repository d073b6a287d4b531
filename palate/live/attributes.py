"""Attributes of items: JSON in, columns out that can be read as any type.

An attribute is kept as one part for each kind of value it has somewhere, a column `kind:name`. So a merge of changed
rows gives the same as reading all again, also when the last value of a kind goes; and a value of another kind than
the rest is neither lost nor in the way of the rest.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

import polars as pl

from palate.store.items import decoded, kind_of

KINDS: dict[str, pl.DataType] = {
    "whole": pl.Int64(),
    "real": pl.Float64(),
    "truth": pl.Boolean(),
    "text": pl.String(),
    "list": pl.List(pl.String()),
    "object": pl.String(),  # as JSON; also numbers beyond all floats
}
CHUNK = 1 << 16  # rows decoded at once


def decode(rows: pl.DataFrame, known: Collection[str] | None = None) -> pl.DataFrame:
    """Replace the column `attributes` (JSON objects) of the rows by parts, null where an item has no such value.

    known  the only parts that are read; None: all
    """
    chunks = [_decoded(chunk, known) for chunk in rows.iter_slices(CHUNK)] or [_decoded(rows, known)]
    return pl.concat(chunks, how="diagonal").rechunk()


def parts_of(rows: pl.DataFrame) -> list[str]:
    """Names of the columns that are parts of attributes."""
    return [name for name in rows.columns if ":" in name]


def _decoded(rows: pl.DataFrame, known: Collection[str] | None) -> pl.DataFrame:
    found: dict[tuple[str, str], list[Any]] = {}
    for row, text in enumerate(rows["attributes"]):
        for name, value in decoded(text).items():
            if value is None:
                continue
            kind = kind_of(value)
            if known is None or f"{kind}:{name}" in known:
                column = found.get((kind, name))
                if column is None:
                    column = found[kind, name] = [None] * len(rows)
                column[row] = _plain(kind, value)
    parts = [_part(kind, column).alias(f"{kind}:{name}") for (kind, name), column in found.items()]
    return rows.drop("attributes").hstack(parts)


def _part(kind: str, column: list[Any]) -> pl.Series:
    if kind == "list":
        return pl.Series(column, dtype=pl.String).str.json_decode(KINDS[kind])  # much faster than from lists
    return pl.Series(column, dtype=KINDS[kind])


def _plain(kind: str, value: Any) -> Any:
    """Return a value of a kind as it is kept."""
    if kind == "real":
        return float(value)
    if kind == "list":
        return _json([each if isinstance(each, str) else _json(each) for each in value if each is not None])
    return _json(value) if kind == "object" else value


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def trim(rows: pl.DataFrame) -> pl.DataFrame:
    """Drop the parts without a value."""
    return rows.drop(name for name in parts_of(rows) if rows[name].null_count() == len(rows))
