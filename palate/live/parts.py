"""Attributes in JSON as parts: columns of values of one kind each, by the name `kind:name`."""

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
FEW = 64  # lists that are read one by one


def kind_of_part(part: str) -> str:
    """Kind of the values of a part."""
    return part.partition(":")[0]


def nothing(part: str) -> pl.DataFrame:
    """Return a part without values."""
    return pl.DataFrame(schema={"item_no": pl.Int64, "value": KINDS[kind_of_part(part)]})


def parts_of(rows: pl.DataFrame, known: Collection[str] | None) -> dict[str, pl.DataFrame]:
    """Read the attributes of rows as parts: item_no, ascending, and value; known  the only parts that are read."""
    found: dict[tuple[str, str], tuple[list[int], list[object]]] = {}
    for number, text in zip(rows["item_no"].to_list(), rows["attributes"], strict=True):
        for name, value in decoded(text).items():
            if value is None:
                continue
            kind = kind_of(value)
            if known is None or f"{kind}:{name}" in known:
                pairs = found.get((kind, name))
                if pairs is None:
                    pairs = found[kind, name] = [], []
                numbers, values = pairs
                numbers.append(number)
                values.append(_plain(kind, value))
    return {
        f"{kind}:{name}": pl.DataFrame([pl.Series("item_no", numbers, pl.Int64), _series(kind, values)])
        for (kind, name), (numbers, values) in found.items()
    }


def _series(kind: str, values: list[Any]) -> pl.Series:
    if kind != "list":
        return pl.Series("value", values, KINDS[kind])
    if len(values) < FEW:
        return pl.Series("value", list(map(json.loads, values)), KINDS[kind])
    return pl.Series("value", values, pl.String).str.json_decode(KINDS[kind])  # much faster for many


def _plain(kind: str, value: Any) -> object:
    """Return a value of a kind as it is kept."""
    if kind == "real":
        return float(value)
    if kind == "list":
        return _json([each if isinstance(each, str) else _json(each) for each in value if each is not None])
    return _json(value) if kind == "object" else value


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
