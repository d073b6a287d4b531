"""What the second stage knows of a candidate: one list of features, by the same code in training and serving.

Each feature is a function of one user's question: the history, and the candidates with their scores and places in
the first stages. What is counted over a log, as popularity, comes from the log that the first stages were fitted to:
nothing of a label is in it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated

import numpy as np
import polars as pl
from scipy.sparse import csr_array

from palate.arrays import Array, Floats, Ints, Longs, check_arrays
from palate.data.catalogue import Catalogue
from palate.data.interactions import Interactions
from palate.data.ragged import liked
from palate.data.vocabulary import Vocabulary
from palate.errors import SettingError
from palate.kernels.forest import in_history, shared_values
from palate.kernels.rerank import unit_rows
from palate.kernels.rows import crossings
from palate.models.base import Model
from palate.ranking.stage_data import KeptLabels, attribute_of

NEWEST = 5  # liked events that similarities are taken to
PAST = 50  # events of a history that attributes are compared with
FADE = 0.9  # weight of an event beside the next one there
RECENT, LATEST = 0.25, 0.05  # shares of a log's events, the newest, whose popularity is a feature
FREE = 0.5  # distinct values of a text column beside the items, above which it is free text, compared by its words
WORD, MOST_WORDS = r"\w{3,}", 50  # of a free text
NO_TEXT = ("image", "audio")  # columns of paths and addresses


@dataclass(frozen=True, eq=False)
class Facts:
    """What features read of the items beside the first stages.

    counts (5, I)  popularity, recent and latest popularity, trend, age; prices (I,): logarithms, NaN-free, -1 unknown
    start, column, followed  how often the column's item came right after the row's item, (I + 1,) and (N,)
    """

    counts: Annotated[Floats, Array("counts", "items")]
    prices: Annotated[Floats, Array("items")]
    start: Annotated[Longs, Array("items+1", starts="pairs")]
    column: Annotated[Ints, Array("pairs", below="items")]
    followed: Annotated[Floats, Array("pairs")]
    attributes: tuple[KeptLabels, ...]

    @classmethod
    def of(
        cls, log: Interactions, items: Vocabulary, catalogue: Catalogue | None, attributes: Sequence[str]
    ) -> Facts:
        """Count over a log, by the rows of `items`, and collect these attributes of the catalogue."""
        there = log.select(log.liked)
        row = items.recode(there.items)[there.item]
        counts = _counts(there, row, len(items))
        same = there.user[1:] == there.user[:-1]
        pairs = csr_array((np.ones(int(same.sum()), np.float32), (row[:-1][same], row[1:][same])), (len(items),) * 2)
        pairs.sum_duplicates()
        pairs.sort_indices()
        start, column = pairs.indptr.astype(np.int64), pairs.indices.astype(np.int32)
        kept = tuple(KeptLabels.of(name, words_of(attribute_of(name, items, catalogue))) for name in attributes)
        return cls(counts, _prices(items, catalogue), start, column, pairs.data.astype(np.float32), kept)

    def check(self, items: int) -> None:
        """Raise `ModelError` for arrays that do not fit each other or a model of so many items."""
        check_arrays(self, {"items": items, "counts": len(COUNTED)})
        for each in self.attributes:
            check_arrays(each, {"items": items, "names": len(each.names)})


@dataclass(frozen=True, eq=False)
class Question:
    """A user's candidates, C of them, and what the first stages, M of them, say.

    past, weight (H,)  events of the history, oldest first; item (C,); place, score (M, C)
    """

    facts: Facts
    models: tuple[Model, ...]
    past: Ints
    weight: Floats
    item: Ints
    place: Ints
    score: Floats

    @cached_property
    def liked(self) -> Ints:
        """Liked items of the history, oldest first."""
        return self.past[liked(self.weight)]

    @cached_property
    def newest(self) -> Ints:
        """The newest of them, the newest first."""
        return self.liked[::-1][:NEWEST]

    def constant(self, *values: float) -> Floats:
        """Return what is the same for every candidate, a row a value."""
        return np.repeat(np.array(values, np.float32)[:, None], len(self.item), axis=1)


@dataclass(frozen=True)
class Group:
    """Features that are computed together: their names, and their values (F, C)."""

    names: tuple[str, ...]
    values: Callable[[Question], Floats]


COUNTED = ("popularity", "recent popularity", "latest popularity", "trend", "age")


def of_stages(q: Question) -> Floats:
    """How high each first stage puts the candidate, beside its best one."""
    best = q.score.max(axis=1, keepdims=True)
    place = np.log2(1 + q.place.astype(np.float32))
    return np.concatenate([q.score, q.score - best, place])


def of_places(q: Question) -> Floats:
    """Return the best place, and the sum of the reciprocals of all (Cormack et al. 2009)."""
    return np.stack([q.place.min(axis=0), (1 / (10 + q.place)).sum(axis=0)]).astype(np.float32)


def of_items(q: Question) -> Floats:
    """Return what was counted of the item."""
    return q.facts.counts[:, q.item]


def of_users(q: Question) -> Floats:
    """Length of the history, share of repeats in it, popularity of its items, and of the newest ones."""
    popular = q.facts.counts[0]
    repeats = 1 - len(np.unique(q.liked)) / len(q.liked)
    return q.constant(np.log1p(len(q.liked)), repeats, popular[q.liked].mean(), popular[q.newest].mean())


def of_history(q: Question) -> Floats:
    """How often the item was seen, and how many events ago."""
    return in_history(q.past, q.item)


def of_successors(q: Question) -> Floats:
    """How often the item came right after the newest item, as a count and a share, and after the one before it."""
    found = np.zeros((3, len(q.item)), np.float32)
    counts = crossings(q.facts.start, q.facts.column, q.facts.followed, q.newest[:2], q.item)
    found[0], found[2 : 1 + len(counts)] = counts[0], counts[1:]
    low, high = q.facts.start[q.newest[0]], q.facts.start[q.newest[0] + 1]
    found[1] = found[0] / max(q.facts.followed[low:high].sum(), np.float32(1))
    return found


def of_similarity(q: Question) -> Floats:
    """Similarity to the newest item, the one before, the nearest of the newest and their mean, a stage at a time."""
    found = []
    for model in q.models:
        if compares(model):
            near = similarities(model, q.newest, q.item)
            second = near[1] if len(near) > 1 else np.zeros_like(near[0])
            found.append(np.stack([near[0], second, near.max(axis=0), near.mean(axis=0)]))
    return np.concatenate(found) if found else q.constant()


def of_attributes(q: Question) -> Floats:
    """How much of each attribute the item shares with the newest item, and with the history."""
    past = q.liked[-PAST:]
    found = [shared_values(each.start, each.code, past, q.item, FADE) for each in q.facts.attributes]
    return np.concatenate(found) if found else q.constant()


def of_prices(q: Question) -> Floats:
    """Return the price, and its ratio to what the user usually takes; logarithms, -1 and 0 where one is not known."""
    prices = q.facts.prices
    own, past = prices[q.item], prices[q.liked]
    usual = past[past >= 0]
    ratio = np.where(own >= 0, own - usual.mean(), 0) if len(usual) else np.zeros(len(own))
    return np.stack([own, ratio]).astype(np.float32)


def groups(models: Sequence[Model], attributes: Sequence[str]) -> tuple[Group, ...]:
    """Return the list of all features for these first stages and attributes."""
    stages = [f"{m} {type(model.recipe).__name__}" for m, model in enumerate(models, 1)]
    near = [stage for stage, model in zip(stages, models, strict=True) if compares(model)]

    def each(of: Sequence[str], *words: str) -> tuple[str, ...]:
        return tuple(f"{word} {name}" for name in of for word in words)

    return (
        Group(
            tuple(f"{word} {name}" for word in ("score of", "score below", "place in") for name in stages), of_stages
        ),
        Group(("best place", "reciprocal places"), of_places),
        Group(COUNTED, of_items),
        Group(("events", "repeats", "popularity of history", "popularity of newest"), of_users),
        Group(("times seen", "events since seen"), of_history),
        Group(("followed newest", "share after newest", "followed second"), of_successors),
        Group(each(near, "like newest by", "like second by", "nearest by", "like newest five by"), of_similarity),
        Group(each(attributes, "shares with newest", "shares with history"), of_attributes),
        Group(("price", "price beside usual"), of_prices),
    )


def compares(model: Model) -> bool:
    """Whether a model has a similarity of items."""
    if model.item_embeddings is not None:
        return True
    try:
        model.item_similarity(0)
    except SettingError:
        return False
    return True


def similarities(model: Model, past: Ints, item: Ints) -> Floats:
    """Similarity of past items (H,) to items (C,), (H, C), by vectors where there are some."""
    vectors = model.item_embeddings
    if vectors is not None:
        return np.asarray(unit_rows(vectors, past) @ unit_rows(vectors, item).T, np.float32)
    return np.stack([model.item_similarity(one)[item] for one in past.tolist()]).astype(np.float32)


def usual_attributes(catalogue: Catalogue | None) -> tuple[str, ...]:
    """Return the columns of a catalogue that are texts, or lists of them."""
    if catalogue is None:
        return ()
    kinds = {name: catalogue.frame[name].dtype for name in catalogue.fields if name not in NO_TEXT}
    return tuple(name for name, kind in kinds.items() if kind in (pl.String, pl.List(pl.String)))


def words_of(column: pl.Series) -> pl.Series:
    """Return a column of free text as lists of the words of each, any other as it is."""
    there = column.drop_nulls()
    if column.dtype != pl.String or there.n_unique() <= FREE * len(there):
        return column
    return column.str.to_lowercase().str.extract_all(WORD).list.unique(maintain_order=True).list.head(MOST_WORDS)


def _counts(log: Interactions, row: Ints, items: int) -> Floats:
    """Count liked events by item: all, the newest quarter and twentieth of the log, their ratio, and the age."""
    found = np.zeros((len(COUNTED), items), np.float32)
    whole = np.bincount(row, minlength=items)
    found[0] = np.log1p(whole)
    if log.timestamp is None:
        return found
    order = np.argsort(log.timestamp, kind="stable")
    sorted_row = row[order]
    recent, latest = (
        np.bincount(sorted_row[int(len(row) * (1 - part)) :], minlength=items) for part in (RECENT, LATEST)
    )
    found[1], found[2] = np.log1p(recent), np.log1p(latest)
    found[3] = np.log((latest / LATEST + 1) / (whole + 1))
    first = np.full(items, len(row))
    np.minimum.at(first, sorted_row, np.arange(len(row)))
    found[4] = first / max(1, len(row))
    return found


def _prices(items: Vocabulary, catalogue: Catalogue | None) -> Floats:
    name = None if catalogue is None else catalogue.column("price")
    if catalogue is None or name is None or not catalogue.frame[name].dtype.is_numeric():
        return np.full(len(items), -1, np.float32)
    prices = catalogue.values(name, items).cast(pl.Float64).clip(0).log1p()
    return prices.fill_null(-1).fill_nan(-1).to_numpy().astype(np.float32)
