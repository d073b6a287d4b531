"""Search for words in titles; a word that no title has stands for those that are one or two letters away."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import polars as pl

from palate.arrays import Bools
from palate.live.catalogue import LiveCatalogue
from palate.serve.dashboard.titles import table_of

MOST_WORDS = 8  # of a text that is searched for
MOST_TITLES = 200_000  # whose words a misspelt one is compared with
CLOSEST = 60  # words that are compared letter by letter
TYPED = 4  # letters from which on a word may be the beginning of another
MEANT = 12  # words that a misspelt one stands for, at most


def matching(catalogue: LiveCatalogue, text: str) -> Bools:
    """Whether the title or the id of items has every word of a text, (P,)."""
    words = table_of(catalogue)["words"]
    every = np.ones(len(words), np.bool_)
    for word in text.lower().split()[:MOST_WORDS]:
        found = words.str.contains(word, literal=True).to_numpy()
        if not found.any():
            meant = meant_by(word, vocabulary(catalogue))
            found = words.str.contains_any(meant).to_numpy() if meant else found
        every &= found
    return every


@lru_cache(1)  # a catalogue stays the same until an item changes
def vocabulary(catalogue: LiveCatalogue) -> pl.Series:
    """Return the distinct words of titles and ids."""
    split = table_of(catalogue)["words"].head(MOST_TITLES).str.extract_all(r"[\p{L}\p{N}]+")
    return split.explode().drop_nulls().unique(maintain_order=True)


def meant_by(word: str, known: pl.Series) -> list[str]:
    """Return the words that a misspelt one may stand for, the closest ones alone.

    Up to 2 letters nothing is close, up to 5 one edit is, from 6 on two are: a letter more, less, another, or two
    swapped (Damerau 1964, restricted). From 4 letters on it may be the beginning of a longer word.
    """
    most = 0 if len(word) <= 2 else 1 if len(word) <= 5 else 2
    if not most:
        return []
    pairs = {word[n : n + 2] for n in range(len(word) - 1)}
    common = pl.sum_horizontal([known.str.contains(pair, literal=True).cast(pl.Int32) for pair in sorted(pairs)])
    shared = pl.select(common).to_series().to_numpy()
    size = known.str.len_chars().to_numpy().astype(np.int64)
    near = np.flatnonzero((shared > 0) & (size >= len(word) - most))
    best = near[np.lexsort((np.abs(size[near] - len(word)), -shared[near]))][:CLOSEST]
    typed = len(word) if len(word) >= TYPED else None
    distance = {each: min(edits(word, each), edits(word, each[:typed])) for each in known.gather(best).to_list()}
    least = min(distance.values(), default=most + 1)
    return [each for each, far in distance.items() if far == least <= most][:MEANT]


def edits(one: str, other: str) -> int:
    """Letters to insert, delete, replace or swap to make one text of the other."""
    before: list[int] = []
    row: list[int] = [*range(len(other) + 1)]
    for i, letter in enumerate(one, 1):
        two_before, before, row = before, row, [i] + [0] * len(other)
        for j, others in enumerate(other, 1):
            row[j] = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != others))
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == others:
                row[j] = min(row[j], two_before[j - 2] + 1)
    return row[-1]
