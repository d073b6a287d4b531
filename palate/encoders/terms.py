"""Vectors of texts and attributes without pretrained weights: TF-IDF and its leading axes (Deerwester et al. 1990).

Every value is cut into terms with names a user can read: words and pairs of words of a text, each value of a list,
ranges of a number. The same rules cut any item of any catalogue, so that a fitted lexicon reads items it never met.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any

import numpy as np
import polars as pl
from scipy.sparse import csr_array

from palate.arrays import Array, Floats, Ints, check_arrays
from palate.data.vocabulary import Vocabulary
from palate.encoders.axes import leading_axes, unit, unit_rows

LARGEST = 1e300  # number that is read
DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
MOST = 1 << 14  # terms kept, those of the most items
LEAST = 2  # items that a term must tell of: one alone links nothing
UNSPACED = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"  # scripts that put no space between words
WORD = re.compile(rf"[{UNSPACED}]+|[^\W_{UNSPACED}]+(?:['’][^\W_{UNSPACED}]+)*")
JOINED = re.compile(f"[{UNSPACED}]")
PARTED = re.compile(r"[,;|]")  # what stands between the values of a list, where a reader took it for one value
MARK = re.compile(r"[^\w\s'’\-]+")


@dataclass(frozen=True, eq=False)
class Lexicon:
    """T terms of a field and their axes.

    names (T,); rarity (T,): idf, the log of how many items there were for each that has the term; axes (T, D): an
    item's vector is the sum of its terms' rows, each times its weight, brought to length 1
    """

    field: str
    names: Vocabulary
    rarity: Annotated[Floats, Array("terms")]
    axes: Annotated[Floats, Array("terms", "dim")]

    def __post_init__(self) -> None:
        check_arrays(self, {"terms": len(self.names)})

    @classmethod
    def of(cls, field: str, values: Sequence[Any], dim: int, seed: int = 0) -> Lexicon:
        """Learn from the values of N items, None where nothing is known; D is `dim`, or the rank if that is less."""
        # Not a set, whose order is another in each process: ties are kept in the order of the values.
        counts = Counter(term for value in values for term in dict.fromkeys(terms(field, value)))
        kept = [(term, count) for term, count in counts.most_common(MOST) if count >= LEAST]
        names = Vocabulary(pl.Series("term", [term for term, _ in kept], pl.String))
        rarity = np.array([math.log((1 + len(values)) / count) for _, count in kept], np.float32)
        bare = cls(field, names, rarity, np.zeros((len(kept), 0), np.float32))
        return cls(field, names, rarity, leading_axes(bare.weights(values), dim, seed))

    def weights(self, values: Sequence[Any]) -> csr_array:
        """Weights (1 + log count) idf of the terms of values, (N, T), rows of length 1; none of unknown ones."""
        found = [Counter(terms(self.field, value)) for value in values]
        code = self.names.codes(pl.Series([term for counts in found for term in counts], dtype=pl.String))
        known = code >= 0
        before = np.concatenate([np.zeros(1, np.int64), np.cumsum(known, dtype=np.int64)])
        start = before[np.cumsum([0, *map(len, found)], dtype=np.int64)]
        count = np.array([n for counts in found for n in counts.values()], np.float32)[known]
        weight = (1 + np.log(count)) * self.rarity[code[known]]
        return unit_rows(csr_array((weight, code[known], start), shape=(len(values), len(self.names))))

    def vectors(self, weights: csr_array) -> Floats:
        """Vectors (N, D) of weights (N, T)."""
        return unit(np.asarray(weights @ self.axes))

    def contributions(self, term: Ints, weight: Floats, content_profile: Floats) -> list[tuple[str, float]]:
        """One item's terms (n,), each with its part of the product of its vector with `content_profile` (D,)."""
        shares = weight[:, None] * self.axes[term]  # (n, D)
        length = float(np.linalg.norm(shares.sum(axis=0)))
        parts = shares @ content_profile / max(length, 1e-12)
        return list(zip(self.names.names(term).to_list(), parts.tolist(), strict=True))


def terms(field: str, value: Any) -> Iterator[str]:
    """Yield the terms of one value of a field."""
    if isinstance(value, str):
        yield from words(value)
    elif isinstance(value, bool):
        yield f"{field} {'yes' if value else 'no'}"
    elif isinstance(value, timedelta):
        yield from ranges(field, value.total_seconds())
    elif isinstance(value, int | float | Decimal):
        yield from ranges(field, float(value) if isinstance(value, Decimal) else value)
    elif isinstance(value, date | time):
        yield from moments(field, value)
    elif isinstance(value, Mapping):
        yield from (term for name, each in value.items() for term in terms(f"{field} {name}", each))
    elif isinstance(value, list):
        yield from (term for each in value for term in _listed(field, each))


def _listed(field: str, value: Any) -> Iterator[str]:
    """Yield the terms of a value of a list: texts and numbers are names."""
    if value and isinstance(value, str | int | float):
        parts = (part.split() for part in PARTED.split(str(value).lower()))
        yield from (" ".join(part) for part in parts if part)
    else:
        yield from terms(field, value)


def moments(field: str, value: date | time) -> Iterator[str]:
    """Yield what is said of a day and a time of day: its parts."""
    if isinstance(value, date):
        yield from ranges(f"{field} year", value.year)
        yield f"{field} month {value.month}"
        yield f"{field} {DAYS[value.weekday()]}"
    if isinstance(value, datetime | time):
        yield f"{field} hour {value.hour}"


def words(text: str) -> Iterator[str]:
    """Yield the words of a text in lower case, and pairs of neighbours that no mark parts.

    Where a script has no spaces, as Chinese, pairs of signs stand for words.
    """
    for piece in MARK.split(text.lower()):
        last = ""
        for word in WORD.findall(piece):
            if JOINED.match(word):
                yield from (word[n : n + 2] for n in range(max(1, len(word) - 1)))
                last = ""
                continue
            yield word
            if last:
                yield f"{last} {word}"
            last = word


def ranges(field: str, value: float) -> Iterator[str]:
    """Yield what is said of a number: a range a quarter wide; of a whole one also itself and its ten."""
    if not abs(value) <= LARGEST:
        return
    if value == int(value):
        yield f"{field} {int(value)}"
        if abs(value) >= 10:
            yield f"{field} {int(value // 10) * 10}s"
    if value > 0:
        step = math.floor(10 * math.log10(value))
        yield f"{field} {10 ** (step / 10):.3g} to {10 ** ((step + 1) / 10):.3g}"
