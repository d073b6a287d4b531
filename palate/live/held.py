"""Which of the parts that few items have an item has, so that a change finds those it takes away."""

from __future__ import annotations

from collections.abc import Mapping
from zlib import crc32

import numpy as np
import polars as pl

from palate.live.blocks import Blocks
from palate.live.parts import nothing

NOTHING = Blocks.of(nothing("text:"))  # of any part: what comes first says its type


def code(part: str) -> int:
    """Return a number that stands for a part; two may share one."""
    return crc32(part.encode())


def held_parts(sparse: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Return which of some parts items have: item_no, ascending, and value, the codes of the parts."""
    if not sparse:
        return pl.DataFrame(schema={"item_no": pl.Int64, "value": pl.List(pl.UInt32)})
    numbers = pl.concat(values["item_no"] for values in sparse.values())
    codes = np.repeat(np.array(list(map(code, sparse)), np.uint32), [len(values) for values in sparse.values()])
    return pl.DataFrame({"item_no": numbers, "value": codes}).group_by("item_no").agg("value").sort("item_no")
