"""Frames of polars, pandas and pyarrow, what else speaks the Arrow stream interface, and sparse matrices, as batches.

Only the columns asked for are converted, each by itself. Values that polars has no type for are texts.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Protocol, TypeAlias, TypeGuard

import numpy as np
import polars as pl
from polars.selectors import by_name

from palate.data.batch import FILLED, Batch, Choose
from palate.data.kinds import series_of
from palate.errors import DataError, MissingExtra, PalateError

PART = 1 << 17  # rows handled at once
OWN = (bool, int, float, str, bytes, date, datetime, time, timedelta, Decimal, type(None))
EXTENSION = getattr(pl, "BaseExtension", ())  # which older versions of polars do not have
Foreign: TypeAlias = Any  # a frame, a column or a type of another library


class Frame(Protocol):
    """A table of any library: polars, pandas, pyarrow, ..."""

    @property
    def columns(self) -> Any:
        """Its columns, or their names."""


def is_sparse(source: object) -> bool:
    """Whether an object is a sparse matrix of scipy, which is loaded where there is one."""
    scipy = sys.modules.get("scipy.sparse")
    return scipy is not None and bool(scipy.issparse(source))


def is_frame(source: object) -> TypeGuard[Frame]:
    """Whether an object is a table or a sparse matrix, not a single column or a list."""
    return is_sparse(source) or any(hasattr(type(source), name) for name in ("columns", "schema"))


def read_frame(source: object, place: str, choose: Choose) -> Iterator[Batch]:
    """Rows of a frame. Raises `DataError` with the column that cannot be read, `MissingExtra` without pyarrow."""
    if isinstance(source, pl.LazyFrame):
        yield from read_lazy(source, place, choose)
        return
    names, column = _columns(source)
    columns = choose(names, place)
    found = []
    for role, name in columns.items():
        with reading(f"{place}: column {name!r}"):
            found.append(column(names.index(name)).alias(role))
    frame = pl.DataFrame(found)
    for first in range(0, len(frame), PART):
        yield _batch(frame[first : first + PART].with_columns(FILLED), place, columns, first)


def read_lazy(frame: pl.LazyFrame, place: str, choose: Choose) -> Iterator[Batch]:
    """Rows of a query of polars, in parts as they come."""
    columns = choose(frame.collect_schema().names(), place)
    first = 0
    wanted = frame.select(by_name(name).as_expr().alias(role) for role, name in columns.items())
    for part in wanted.with_columns(FILLED).collect_batches():
        yield _batch(pl.DataFrame([_known(column) for column in part]), place, columns, first)
        first += len(part)


def _batch(part: pl.DataFrame, place: str, columns: dict[str, str], first: int) -> Batch:
    return Batch(place, columns, part, np.arange(first + 1, first + 1 + len(part)), [], typed=True)


@contextmanager
def reading(place: str) -> Iterator[None]:
    """Turn what any library raises on values that it cannot convert into a `DataError` with the place."""
    try:
        yield
    except ModuleNotFoundError:
        raise MissingExtra("pyarrow", "arrow") from None
    except PalateError:
        raise
    except (Exception, pl.exceptions.PanicException) as error:
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise DataError(f"{place}: cannot be read: {reason}") from error


def _columns(source: object) -> tuple[list[str], Callable[[int], pl.Series]]:
    """Names of the columns of a frame, and how to get one by its place."""
    frame: Foreign = entries(source) if is_sparse(source) else source
    kinds = {f"{kind.__module__.split('.')[0]}.{kind.__name__}" for kind in type(source).__mro__}
    if "pandas.DataFrame" in kinds:
        return [str(name) for name in frame.columns], lambda n: _of_pandas(frame.iloc[:, n])
    if kinds & {"pyarrow.Table", "pyarrow.RecordBatch"}:
        return list(frame.schema.names), lambda n: _of_arrow(frame.column(n))
    name = f"{type(source).__module__.split('.')[0]}.{type(source).__name__}"
    if "pyarrow.RecordBatchReader" in kinds:
        with reading(f"a {name}"):
            return _columns(frame.read_all())
    if not hasattr(frame, "__arrow_c_stream__"):
        raise DataError(
            f"a {name}: cannot be read; give a path, or a frame of polars, pandas or pyarrow, or a matrix of scipy"
        )
    with reading(f"a {name}"):
        table = frame if isinstance(frame, pl.DataFrame) else pl.DataFrame(frame)
    return table.columns, lambda n: _known(table.to_series(n))


def entries(matrix: Foreign) -> pl.DataFrame:
    """Return the numbers of a sparse matrix that are not 0, with their rows as users and their columns as items.

    Raises `DataError` for a matrix that has no two sides.
    """
    if matrix.ndim != 2:
        raise DataError(
            f"a matrix of the shape {matrix.shape}: it must have a row for each user, a column for each item"
        )
    from scipy.sparse import coo_array, csr_array  # takes a tenth of a second, which only matrices shall cost

    found = coo_array(csr_array(matrix))  # row by row, whatever its form
    there = found.data != 0
    weight = found.data[there].astype(np.float64 if found.dtype == np.bool_ else found.dtype)
    return pl.DataFrame({"user_id": found.row[there], "item_id": found.col[there], "weight": weight})


def _of_pandas(column: Foreign) -> pl.Series:
    try:
        found = pl.Series(pl.from_pandas(column))
    except ModuleNotFoundError:
        raise
    except Exception:  # pyarrow's own, of many kinds: types that it cannot take, values of several kinds
        found = None
    if found is not None and not _is_odd(found.dtype):
        return found
    missing = column.isna()
    return _of_values(None if gone else value for value, gone in zip(column, missing, strict=True))


def _of_arrow(column: Foreign) -> pl.Series:
    try:
        return _known(pl.Series(pl.from_arrow(column)))
    except (Exception, pl.exceptions.PanicException):  # a type that polars does not have
        return _of_values(column.to_pylist())


def _is_odd(dtype: Foreign) -> bool:
    """Whether a column's values are better taken one by one: dictionaries, or none of polars' own kinds."""
    inner = getattr(dtype, "inner", None)
    return dtype in (pl.Object, pl.Struct) or isinstance(dtype, EXTENSION) or (inner is not None and _is_odd(inner))


def _known(column: pl.Series) -> pl.Series:
    """Return the column, or one of its values where its type is none of polars' own."""
    return _of_values(column.to_list()).alias(column.name) if _is_odd(column.dtype) else column


def _of_values(values: Iterable[object]) -> pl.Series:
    return series_of("", [_own(value) for value in values])


def _own(value: object) -> object:
    """Return a value of a library as one of Python's own kinds; a text if there is none for it."""
    if isinstance(value, (np.floating, np.integer, np.bool_)):
        return float(value) if isinstance(value, np.floating) else value.item()
    if type(value) in OWN:
        return value
    if isinstance(value, dict):
        return {str(name): _own(each) for name, each in value.items()}
    if isinstance(value, (list, tuple, set, frozenset, np.ndarray)):
        return [_own(each) for each in value]
    return str(value)
