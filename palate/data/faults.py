"""Rows that break a rule: the first one raised with its place, or all of them left out and counted."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping

import numpy as np
import polars as pl

from palate.arrays import Bools
from palate.data.batch import Batch
from palate.errors import DataError, DataWarning, check

OTHER = "a value must be text, a number, or a list or object of those, in Unicode"


class Faults:
    """Sifts batches. `skipped` counts the rows left out by reason: the role whose rule they break, or "row".

    once: a role whose values must differ, of all rows that are sound
    """

    def __init__(self, on_error: str, rules: Mapping[str, str], needed: Iterable[str], once: str = "") -> None:
        check(on_error in ("raise", "skip"), "on_error", on_error, 'must be "raise" or "skip"')
        self._raises = on_error == "raise"
        self._rules = rules
        self._needed = set(needed)
        self._once = once
        self._seen: dict[str, tuple[int, str]] = {}
        self._first = ""
        self.rows = 0
        self.skipped: Counter[str] = Counter()

    def sift(self, batch: Batch, values: pl.DataFrame) -> pl.DataFrame:
        """Return the sound rows of `values`, which are the batch's own converted, null where a rule is broken.

        Where a value is not needed it may be missing: then a null is a fault only where the batch has something.
        """
        self.rows += len(batch.row) + len(batch.broken)
        found = [*batch.broken]
        good = np.ones(len(values), np.bool_)
        found += self._headers(batch, good)
        self.skipped["row"] += len(found)
        for column in values:
            if column.has_nulls():
                found += self._missing(batch, column, good)
        if self._once:
            found += self._again(batch, values[self._once], good)
        if not found:
            return values
        row, fault = min(found)
        self._note(f"row {row} of {batch.place}: {fault}")
        return values.filter(good)

    def _headers(self, batch: Batch, good: Bools) -> list[tuple[int, str]]:
        """Rows that are the header of a file once more: files were joined."""
        bad = batch.headers()
        good &= ~bad
        return [(int(batch.row[n]), "the header once more; a file must have one") for n in np.flatnonzero(bad)]

    def _missing(self, batch: Batch, column: pl.Series, good: Bools) -> list[tuple[int, str]]:
        """First of the rows, sound till now, whose value breaks its rule; all of them are counted."""
        name = column.name
        bad = column.is_null().to_numpy() & good
        if name not in self._needed:
            bad &= batch.frame[name].is_not_null().to_numpy()
        if not bad.any():
            return []
        self.skipped[name] += int(bad.sum())
        good &= ~bad
        n = int(bad.argmax())
        shown = f"{batch.columns[name]} is {show(_value(batch.frame[name], n))}"
        return [(int(batch.row[n]), f"{shown}; {self._rules.get(name, OTHER)}")]

    def _again(self, batch: Batch, values: pl.Series, good: Bools) -> list[tuple[int, str]]:
        """Sound rows of a value that an earlier sound row has."""
        found = []
        for n, value in zip(np.flatnonzero(good).tolist(), values.filter(good), strict=True):
            here = int(batch.row[n]), batch.place
            row, place = self._seen.setdefault(value, here)
            if (row, place) != here:
                good[n] = False
                on = f"row {row}" if place == batch.place else f"row {row} of {place}"
                found.append((here[0], f"{self._once} {show(value)} is on {on} already; each must have one row"))
        self.skipped[self._once] += len(found)
        return found

    def late(self, role: str, count: int, first: str) -> None:
        """Count rows that were found to break the rule of a role when all were there; `first` shows the first."""
        self.skipped[role] += count
        self._note(f"{first}; {self._rules[role]}")

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
            message = f"{place}: skipped {bad:,} of {self.rows:,} rows ({reasons}); the first is {self._first}"
            warnings.warn(message, DataWarning, stacklevel=3)
        return skipped


def warn_of_form(place: str, form: Iterable[str]) -> None:
    """Warn of what is unusual in how a source is written, which was found by looking."""
    found = ", ".join(form)
    if found:
        warnings.warn(f"{place}: read as {found}", DataWarning, stacklevel=3)


def _value(column: pl.Series, n: int) -> object:
    """Return a value of a column, as text where Python has none like it: a day of the year 0."""
    try:
        return column[n]
    except ValueError:
        return column[n : n + 1].cast(pl.String)[0]


def show(value: object) -> str:
    """Show a value in an error: numbers plain, text quoted, nothing as "empty"."""
    if value is None:
        return "empty"
    text = str(value.to_list() if isinstance(value, pl.Series) else value).removesuffix(".0")
    return text if re.fullmatch(r"[-+.\d]{1,40}|nan|inf|-inf", text, re.ASCII) else repr(text[:80])
