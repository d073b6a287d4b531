"""Attributes of items: JSON in, typed columns out.

An attribute is kept as one part for each kind of value it has somewhere, a column `kind:name`. So a merge of changed
rows gives the same as reading all again, also when the last value of a kind goes.
"""

from __future__ import annotations

import json
from typing import Any

import polars as pl
import polars.selectors as cs

KINDS: dict[str, pl.DataType] = {
    "whole": pl.Int64(),
    "real": pl.Float64(),
    "truth": pl.Boolean(),
    "text": pl.String(),
    "list": pl.List(pl.String()),
    "object": pl.String(),  # as JSON; also numbers beyond all floats
}
LARGEST = 1 << 1023  # that a float surely holds
CHUNK = 1 << 16  # rows decoded at once


def decode(rows: pl.DataFrame) -> pl.DataFrame:
    """Replace the column `attributes` (JSON objects) of the rows by parts, null where an item has no such value."""
    whole = pl.concat([_decoded(chunk) for chunk in rows.iter_slices(CHUNK)] or [_decoded(rows)], how="diagonal")
    return whole.rechunk()


def _decoded(rows: pl.DataFrame) -> pl.DataFrame:
    found: dict[tuple[str, str], list[Any]] = {}
    for row, text in enumerate(rows["attributes"]):
        for name, value in json.loads(text).items():
            if value is not None:
                kind, plain = _plain(value)
                column = found.get((kind, name))
                if column is None:
                    column = found[kind, name] = [None] * len(rows)
                column[row] = plain
    parts = [_part(kind, column).alias(f"{kind}:{name}") for (kind, name), column in found.items()]
    return rows.drop("attributes").hstack(parts)


def _part(kind: str, column: list[Any]) -> pl.Series:
    if kind == "list":
        return pl.Series(column, dtype=pl.String).str.json_decode(KINDS[kind])  # much faster than from lists
    return pl.Series(column, dtype=KINDS[kind])


def _plain(value: Any) -> tuple[str, Any]:
    """Kind of a value, and the value as it is kept."""
    if isinstance(value, bool):
        return "truth", value
    if isinstance(value, str):
        return "text", value
    if isinstance(value, int) and abs(value) < 1 << 63:
        return "whole", value
    if isinstance(value, int | float) and abs(value) < LARGEST:
        return "real", float(value)
    if isinstance(value, list):
        return "list", _json([each if isinstance(each, str) else _json(each) for each in value if each is not None])
    return "object", _json(value)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def trim(rows: pl.DataFrame) -> pl.DataFrame:
    """Drop the parts without a value."""
    return rows.drop(name for name in rows.columns if ":" in name and rows[name].null_count() == len(rows))


def join(rows: pl.DataFrame) -> pl.DataFrame:
    """Make one column of the parts of each attribute: of numbers if all are, of strings if their kinds are mixed."""
    kinds: dict[str, list[str]] = {}
    for part in rows.columns:
        kind, colon, name = part.partition(":")
        if colon:
            kinds.setdefault(name, []).append(kind)
    return rows.select(_joined(name, kinds[name]) for name in sorted(kinds))


def _joined(name: str, kinds: list[str]) -> pl.Expr:
    parts = {kind: cs.by_name(f"{kind}:{name}").as_expr() for kind in kinds}
    if len(parts) == 1:
        joined = parts[kinds[0]]
    elif parts.keys() == {"whole", "real"}:
        joined = pl.coalesce(parts["real"], parts["whole"].cast(pl.Float64))
    else:
        joined = pl.coalesce(_as_text(kind, part) for kind, part in parts.items())
    return joined.alias(name)


def _as_text(kind: str, part: pl.Expr) -> pl.Expr:
    if kind != "list":
        return part.cast(pl.String)
    coded = pl.struct(part.alias("_")).struct.json_encode().str.strip_prefix('{"_":').str.strip_suffix("}")
    return pl.when(part.is_not_null()).then(coded)
