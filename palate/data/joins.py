"""Two sources that are joined by their ids: ids without a partner are reported."""

from __future__ import annotations

import warnings

import polars as pl

from palate.arrays import Ints
from palate.data.columns import listed
from palate.data.vocabulary import Vocabulary
from palate.errors import JoinWarning

SHOWN = 3  # ids of each side


def check_join(row: Ints, ids: pl.Series, known: Vocabulary, left: str, right: str, noun: str = "items") -> None:
    """Warn (`JoinWarning`) where there are ids and none is known; the rest as in `unmatched`."""
    if len(row) and (row < 0).all():
        warnings.warn(unmatched(row, ids, known, left, right, noun), JoinWarning, stacklevel=4)


def unmatched(row: Ints, ids: pl.Series, known: Vocabulary, left: str, right: str, noun: str = "items") -> str:
    """Say how many of the ids (N,) are unknown, with examples; "" if none is.

    row (N,): their row numbers in `known`, -1 for an unknown one; left, right: what holds the ids, and `known`.
    """
    lost = row < 0
    if not lost.any():
        return ""
    examples = listed(ids.filter(pl.Series(lost)).head(SHOWN).to_list())
    if not lost.all():
        return f"{left}: {lost.sum():,} of {len(row):,} {noun} are unknown to {right}: {examples}"
    there = listed(known.ids.head(SHOWN).to_list()) or "none"
    return f"{left}: none of {len(row):,} {noun} is known to {right}: {examples}; {right} has {there}"
