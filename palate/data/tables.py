"""Tables of other libraries."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any, TypeAlias

import polars as pl

from palate.errors import MissingExtra

PandasFrame: TypeAlias = Any


def as_pandas(frame: pl.DataFrame) -> PandasFrame:
    """Return a frame of pandas. Raises `MissingExtra` without pandas, or pyarrow, which the conversion needs."""
    for package in ("pandas", "pyarrow"):
        if find_spec(package) is None:
            raise MissingExtra(package, "pandas")
    return frame.to_pandas()
