"""Rows that break a rule: the first one raised with its place, or all of them left out and counted."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping

import numpy as np
import polars as pl

from palate.data.batch import Batch
from palate.errors import DataError, DataWarning, check


class Faults:
    """Sifts batches. `skipped` counts the rows left out by reason: the role whose rule they break, or "row"."""

    def __init__(self, on_error: str, rules: Mapping[str, str], needed: Iterable[str]) -> None:
        check(on_error in ("raise", "skip"), "on_error", on_error, 'must be "raise" or "skip"')
        self._raises = on_error == "raise"
        self._rules = rules
        self._needed = set(needed)
        self._first = ""
        self.rows = 0
        self.skipped: Counter[str] = Counter()

    def sift(self, batch: Batch, values: pl.DataFrame) -> pl.DataFrame:
        """Return the sound rows of `values`, which are the batch's own converted, null where a rule is broken.

        Where a value is not needed it may be missing: then a null is a fault only where the batch has something.
        """
        self.rows += len(batch.row) + len(batch.broken)
        if not batch.broken and not any(column.has_nulls() for column in values):
            return values
        self.skipped["row"] += len(batch.broken)
        found = batch.broken[:1]
        good = np.ones(len(values), np.bool_)
        for column in values:
            if not column.has_nulls():
                continue
            bad = column.is_null().to_numpy() & good
            if column.name not in self._needed:
                bad &= batch.frame[column.name].is_not_null().to_numpy()
            if bad.any():
                self.skipped[column.name] += int(bad.sum())
                good &= ~bad
                n = int(bad.argmax())
                shown = f"{batch.columns[column.name]} is {show(batch.frame[column.name][n])}"
                found.append((int(batch.row[n]), f"{shown}; {self._rules[column.name]}"))
        if found:
            row, fault = min(found)
            self._note(f"row {row} of {batch.place}: {fault}")
        return values.filter(good)

    def _note(self, message: str) -> None:
        if self._raises:
            raise DataError(message)
        self._first = self._first or message

    def report(self, place: str) -> dict[str, int]:
        """Return the counts by reason, and warn of them; raises `DataError` if there was no good row."""
        skipped = {reason: count for reason, count in self.skipped.items() if count}
        bad = sum(skipped.values())
        if not self.rows:
            raise DataError(f"{place}: no rows; there must be at least one")
        if bad == self.rows:
            raise DataError(f"{place}: every row is bad; the first is {self._first}")
        if skipped:
            reasons = ", ".join(f"{reason} {count:,}" for reason, count in skipped.items())
            told = f"{place}: skipped {bad:,} of {self.rows:,} rows ({reasons}); the first is {self._first}"
            warnings.warn(told, DataWarning, stacklevel=3)
        return skipped


def show(value: object) -> str:
    """Show a value in an error: numbers plain, text quoted, nothing as "empty"."""
    if value is None:
        return "empty"
    text = str(value.to_list() if isinstance(value, pl.Series) else value).removesuffix(".0")
    return text if re.fullmatch(r"[-+.\d]{1,40}|nan|inf|-inf", text, re.ASCII) else repr(text[:80])
