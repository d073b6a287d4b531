"""Tables of other libraries."""

from __future__ import annotations

from typing import Any, TypeAlias

import polars as pl

from palate.errors import Package, require

PandasFrame: TypeAlias = Any


def as_pandas(frame: pl.DataFrame) -> PandasFrame:
    """Return a frame of pandas. Raises `MissingExtra` without pandas, or pyarrow, which the conversion needs."""
    require(Package(name, name, "pandas") for name in ("pandas", "pyarrow"))
    return frame.to_pandas()
