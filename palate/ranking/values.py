"""What an answer is worth to the second stage: a hit, its price, the weight of its event, or a sum of these."""

from __future__ import annotations

import re

import numpy as np
import polars as pl

from palate.arrays import Doubles, Floats, Ints, Longs
from palate.data.catalogue import Catalogue
from palate.data.examination import looks
from palate.data.interactions import Interactions
from palate.errors import SettingError

HITS, WEIGHT = "hits", "weight"
GRADES = 30  # of labels, at most
TERM = re.compile(r"(?:(?P<factor>\d+(?:\.\d+)?)\s*\*\s*)?(?P<name>[^\s*+]+)")


def terms_of(value: str) -> dict[str, float]:
    """Return the factors of a sum as `"hits + 0.5 * price"` by name. Raises `SettingError`."""
    found = dict[str, float]()
    for part in value.split("+"):
        term = TERM.fullmatch(part.strip())
        if term is None:
            raise SettingError(f'value={value!r}: must be a sum of names and factors, as "hits + 0.5 * price"')
        found[term["name"]] = found.get(term["name"], 0.0) + float(term["factor"] or 1)
    if not sum(found.values()):
        raise SettingError(f"value={value!r}: one factor at least must be above 0")
    return found


def worth(value: str, log: Interactions, event: Longs, catalogue: Catalogue | None) -> Doubles:
    """Return what each of some events of a log is worth, (M,), 1 in the mean.

    hits: the same for each; weight: the weight of the event; any other name is a column of numbers of the catalogue.
    Each term counts relative to its own mean over the events; an item without a number has the mean. What was chosen
    at a place of a list that fewer users look at counts more (`palate.data.examination`). Raises `SettingError` where
    a name is no column of numbers, or a number is below 0.
    """
    total = np.zeros(len(event))
    for name, factor in terms_of(value).items():
        if name == HITS:
            total += factor
        elif name == WEIGHT:
            total += factor * _relative(log.weight[event].astype(np.float64))
        else:
            total += factor * _relative(_numbers(value, name, log, catalogue)[log.item[event]])
    return _relative(total / looks(log, event))


def graded(label: Doubles, sizes: Longs) -> tuple[Ints, list[float], Floats]:
    """Return labels (N,) of queries of so many rows each, (Q,), as LightGBM takes them.

    These are a grade for each row, 0 where the label is 0; the gain of each grade; and the weight of each row: the
    mean label of its query's answers, since NDCG alone asks as much of cheap answers as of dear ones.
    """
    answers = label[label > 0]
    edges = np.unique(np.quantile(answers, np.arange(1, GRADES) / GRADES)) if len(answers) else np.zeros(0)
    bins = np.where(label > 0, 1 + np.searchsorted(edges, label, "left"), 0)
    used, grade = np.unique(bins, return_inverse=True)
    gains = [float(label[bins == each].mean()) for each in used]
    first = np.cumsum(sizes) - sizes
    query = np.add.reduceat(label, first) / np.maximum(1, np.add.reduceat((label > 0).astype(np.float64), first))
    return grade.astype(np.int32), gains, np.repeat(query, sizes).astype(np.float32)


def _relative(numbers: Doubles) -> Doubles:
    """Divide by the mean; NaN becomes 1, and all do where there is nothing to compare."""
    known = numbers[~np.isnan(numbers)]
    mean = known.mean() if len(known) else 0.0
    return np.where(np.isnan(numbers), 1.0, numbers / mean) if mean > 0 else np.ones(len(numbers))


def _numbers(value: str, name: str, log: Interactions, catalogue: Catalogue | None) -> Doubles:
    column = None if catalogue is None else catalogue.column(name)
    if catalogue is None or column is None or not catalogue.frame[column].dtype.is_numeric():
        raise SettingError(f"value={value!r}: {name} must be hits, weight, or a column of numbers of the catalogue")
    found = catalogue.values(column, log.items).cast(pl.Float64).fill_null(np.nan).to_numpy()
    below = np.flatnonzero(found < 0)
    if len(below):
        item = log.items.ids[int(below[0])]
        raise SettingError(f"value={value!r}: {name} of item {item!r} is {found[below[0]]}; it must be 0 or more")
    return np.asarray(found, np.float64)
