"""From items to rows of numbers: each field of a catalogue becomes a block of unit vectors."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from scipy.sparse import csr_array, hstack

from palate.arrays import Floats, Ints, Longs
from palate.data.catalogue import Catalogue
from palate.data.columns import listed
from palate.data.ragged import Ragged
from palate.encoders.axes import Projection, unit
from palate.encoders.encoder import ReportProgress, encode
from palate.encoders.fields import TERMS, VECTORS, Field, chosen, unread
from palate.encoders.pretrained import pretrained
from palate.encoders.terms import Lexicon
from palate.errors import DataError, DataWarning, ModelError


@dataclass(frozen=True, eq=False)
class Encoded:
    """N items: vectors (N, E), a 1 and then a block for each field, zeros where nothing is known.

    terms: N rows of (term, weight) over the terms of all fields that are read as terms, one field after the other
    """

    vectors: Floats
    terms: Ragged

    def on(self, rows: Ints) -> Encoded:
        """Return these rows, in this order; -1 is an item of which nothing is known."""
        nothing = np.eye(1, self.vectors.shape[1], dtype=np.float32)
        vectors = np.where(rows[:, None] < 0, nothing, self.vectors[np.maximum(rows, 0)] if len(self.vectors) else 0)
        return Encoded(np.asarray(vectors, np.float32), self.terms.rows(rows.astype(np.int64)))

    def over(self, other: Encoded, rows: Ints, count: int) -> Encoded:
        """Return `count` items: row rows[n] of the other where that is not -1, else of this."""
        both = Encoded(np.concatenate([self.vectors, other.vectors]), self.terms.joined(other.terms))
        return both.on(np.where(rows < 0, np.arange(count), rows + len(self.vectors)).astype(np.int32))


@dataclass(frozen=True, eq=False)
class Encoding:
    """How items of any catalogue are read: F fields by column and encoder, and what was learned of each.

    readers (F,): a `Lexicon` of a field that is read as terms, a `Projection` of any other
    """

    columns: tuple[str, ...]
    encoders: tuple[str, ...]
    readers: tuple[Lexicon | Projection, ...]

    def __post_init__(self) -> None:
        counts = {len(self.columns), len(self.encoders), len(self.readers)}
        if len(counts) > 1 or not all(isinstance(each, Lexicon | Projection) for each in self.readers):
            raise ModelError("Encoding: columns, encoders and readers must be as many")

    @property
    def terms(self) -> int:
        """Terms of all fields that are read as terms."""
        return sum(len(reader.names) for reader in self.readers if isinstance(reader, Lexicon))

    @classmethod
    def of(
        cls, fields: Sequence[str], catalogue: Catalogue, dim: int, seed: int, progress: ReportProgress | None = None
    ) -> tuple[Encoding, Encoded]:
        """Learn blocks of `dim` numbers at most from a catalogue; returns its items encoded too.

        Raises `SettingError` for an unknown field, `DataError` for vectors that are none.
        """
        asked = chosen(fields, catalogue)
        left = [] if fields else unread(catalogue)
        if left:
            warnings.warn(f"columns {listed(left)} hold bytes, which no encoder reads", DataWarning, stacklevel=4)
        readers: list[Lexicon | Projection] = []
        blocks = []
        weights = []
        for field in asked:
            if field.encoder == TERMS:
                values = _values(catalogue, field.column)
                lexicon = Lexicon.of(field.column, values, dim, seed)
                readers.append(lexicon)
                weights.append(lexicon.weights(values))
                blocks.append(lexicon.vectors(weights[-1]))
            else:
                raw = _raw(catalogue, field, None, progress)
                projection = Projection.of(raw, dim)
                readers.append(projection)
                blocks.append(projection.vectors(raw))
        columns, encoders = (tuple(getattr(field, name) for field in asked) for name in ("column", "encoder"))
        return cls(columns, encoders, tuple(readers)), _encoded(len(catalogue), blocks, weights)

    def encode(self, catalogue: Catalogue, progress: ReportProgress | None = None) -> Encoded:
        """Encode the items of a catalogue; a column that it does not have counts as empty."""
        blocks, weights = [], []
        for column, encoder, reader in zip(self.columns, self.encoders, self.readers, strict=True):
            if isinstance(reader, Lexicon):
                weights.append(reader.weights(_values(catalogue, column)))
                blocks.append(reader.vectors(weights[-1]))
            else:
                blocks.append(reader.vectors(_raw(catalogue, Field(column, encoder), len(reader.mean), progress)))
        return _encoded(len(catalogue), blocks, weights)

    @property
    def blocks(self) -> Longs:
        """Field f's numbers are columns [blocks[f], blocks[f + 1]) of a row, (F + 1,)."""
        return np.cumsum([1, *(reader.axes.shape[1] for reader in self.readers)], dtype=np.int64)

    def contributions(self, terms: Ragged, item: int, content_profile: Floats) -> list[tuple[str, float]]:
        """Terms of one item of `terms`, each with its part of the product of its row with `content_profile` (E,)."""
        own = slice(terms.start[item], terms.start[item + 1])
        column, weight = terms.column[own], terms.weight[own]
        found: list[tuple[str, float]] = []
        first = 0
        for (low, high), reader in zip(pairwise(self.blocks.tolist()), self.readers, strict=True):
            if isinstance(reader, Lexicon):
                mine = (column >= first) & (column < first + len(reader.names))
                found += reader.contributions(column[mine] - np.int32(first), weight[mine], content_profile[low:high])
                first += len(reader.names)
        return found


def _values(catalogue: Catalogue, column: str) -> Sequence[Any]:
    return catalogue.frame[column].to_list() if column in catalogue.fields else [None] * len(catalogue)


def _encoded(items: int, blocks: Sequence[Floats], weights: Sequence[csr_array]) -> Encoded:
    vectors = np.hstack([np.ones((items, 1), np.float32), *blocks])
    joined = csr_array(hstack([csr_array((items, 0), dtype=np.float32), *weights], format="csr"))
    start, column = joined.indptr.astype(np.int64), joined.indices.astype(np.int32)
    return Encoded(vectors, Ragged(start, column, joined.data.astype(np.float32)))


def _raw(catalogue: Catalogue, field: Field, size: int | None, progress: ReportProgress | None) -> Floats:
    """Vectors of a field as its encoder gives them, (N, R), zeros where there are none; R is `size` where known."""
    if not field.column:
        return _filed(catalogue, Path(field.encoder))
    if size is not None and field.column not in catalogue.fields:
        return np.zeros((len(catalogue), size), np.float32)
    if field.encoder == VECTORS:
        return _held(catalogue, field.column, size)
    vectors, faults = encode(pretrained(field.encoder, field.column), _texts(catalogue, field.column), progress)
    if faults:
        n, why = min(faults.items())
        what = f"{len(faults):,} of {len(catalogue):,} items left empty"
        warnings.warn(
            f"{field.column}: {what}; the first, {catalogue.items.ids[n]!r}: {why}", DataWarning, stacklevel=4
        )
    return vectors


def _texts(catalogue: Catalogue, column: str) -> list[str | None]:
    values = _values(catalogue, column)
    return [", ".join(map(str, value)) if isinstance(value, list) else value and str(value) for value in values]


def _held(catalogue: Catalogue, column: str, size: int | None) -> Floats:
    """Vectors that stand in the catalogue, all of one length."""
    values = catalogue.frame[column]
    inner = getattr(values.dtype, "inner", None)
    if values.null_count() < len(values) and (inner is None or not inner.is_numeric()):
        raise DataError(f"{column}: of type {values.dtype}; vectors are lists of numbers")
    numbers = pl.element().cast(pl.Float32, strict=False).fill_null(math.nan)
    rows = values.cast(pl.List(pl.Float64)).list.eval(numbers).to_list()
    sizes = {len(row) for row in rows if row is not None} | ({size} if size else set())
    if len(sizes) != 1:
        raise DataError(f"{column}: vectors of lengths {sorted(sizes)[:3]}; all must have one length")
    empty = [0.0] * sizes.pop()
    return unit(np.array([empty if row is None else row for row in rows], np.float32))


def _filed(catalogue: Catalogue, path: Path) -> Floats:
    """Vectors of a .npy file: row n is of the id in line n of the .txt beside it; without one, of the item n."""
    try:
        vectors = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as an array: {error}") from None
    names = path.with_suffix(".txt")
    ids = names.read_text(encoding="utf-8").splitlines() if names.is_file() else list(map(str, range(len(vectors))))
    if vectors.ndim != 2 or len(ids) != len(vectors):
        raise DataError(f"{path}: shape {vectors.shape} for {len(ids):,} ids; it must be a row of numbers for each")
    row_of = {name: n for n, name in enumerate(ids)}
    rows = np.array([row_of.get(str(item), -1) for item in catalogue.items.ids.to_list()], np.int64)
    found = np.zeros((len(catalogue), vectors.shape[1]), np.float32)
    found[rows >= 0] = vectors[rows[rows >= 0]]
    return unit(found)
