"""What is written in items: the words of their ids, texts, lists and objects are looked for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from palate.arrays import Bools
from palate.live.numbers import spread
from palate.live.parts import kind_of_part, nothing
from palate.live.patience import still_wanted
from palate.live.table import READ, Table

WRITTEN = ("item_id", "text", "list", "object")  # kinds whose values have a length


def containing(table: Table, words: Sequence[str]) -> Bools:
    """Whether all of some words stand in the ids, texts, lists and objects of items, (P,).

    words  in lower case and without white space, so that none stands across two values
    """
    lines, few = list(map(_as_line, filter(is_written, table.rows.columns))), _few_written(table)
    found = np.zeros(len(table), np.bool_)
    for low in range(0, len(found), READ):
        still_wanted()
        rows = table.rows.frame[low : low + READ]
        read = rows.select(*lines, few=spread(few, rows["item_no"].to_numpy()))
        whole = pl.concat_str(pl.all(), separator="\n", ignore_nulls=True).str.to_lowercase()
        text, there = read.select(text=whole)["text"], np.arange(low, low + len(rows))
        for word in words:
            holds = text.str.contains(word, literal=True)
            text, there = text.filter(holds), there[holds.to_numpy()]
        found[there] = True
    return found


def is_written(part: str) -> bool:
    """Whether the values of a part have a length."""
    return kind_of_part(part) in WRITTEN


def _few_written(table: Table) -> pl.DataFrame:
    """Return item_no, ascending, and value: in one text all that items have written in parts that few have."""
    parts: dict[str, list[str]] = {}
    for part in filter(is_written, table.sparse):
        parts.setdefault(kind_of_part(part), []).append(part)
    read = [table.gathered(few).select("item_no", _as_line("value", kind)) for kind, few in parts.items()]
    lines = pl.concat(read) if read else nothing("text:")
    return lines.group_by("item_no").agg(pl.col("value").str.join("\n")).sort("item_no")


def _as_line(column: str, kind: str | None = None) -> pl.Expr:
    """Return written values of a kind, by default that of a part, as text."""
    value = pl.col(column)
    return value.list.join(" ") if (kind or kind_of_part(column)) == "list" else value
