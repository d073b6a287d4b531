"""Metrics of whole lists: functions of the items that users are shown, of their vectors and attributes.

A metric is any function of `Lists` that gives one number a list, (B,). `evaluate(..., metrics=[...])` reports it by
the name of the function, at each k, with its interval, as it does those of hits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import polars as pl

from palate.arrays import Bools, Doubles, Floats, Ints, Longs
from palate.data.catalogue import Catalogue
from palate.data.ragged import Ragged, liked
from palate.data.vocabulary import Vocabulary
from palate.errors import SettingError, check, setting_error
from palate.evaluation.metrics import METRICS

NUMBERS = 1 << 22  # of vectors that are held at once
OF_ALL_LISTS = ("coverage", "coverage of new", "Gini", "novelty")  # names that are taken


@dataclass(frozen=True, eq=False)
class Lists:
    """The lists of B users, and what is known of the I items of the model.

    item       rows of `items`, best first, -1 past the end of a list, (B, K)
    events     number of train events on each item, (I,)
    vectors    item vectors of the model, (I, D); None where it has none
    catalogue  attributes of the items; None where none was given
    past       histories of the users, over `items`; None where there are none
    hits       which places are relevant, (B, K); None where that is not known
    relevant   number of relevant items of each user, (B,); None where that is not known
    """

    item: Ints
    items: Vocabulary
    events: Longs
    vectors: Floats | None = None
    catalogue: Catalogue | None = None
    past: Ragged | None = None
    hits: Bools | None = None
    relevant: Longs | None = None

    def cut(self, k: int) -> Lists:
        """Return the first k places of each list."""
        return replace(self, item=self.item[:, :k], hits=None if self.hits is None else self.hits[:, :k])

    @property
    def lengths(self) -> Longs:
        """Number of items in each list, (B,)."""
        return np.asarray((self.item >= 0).sum(1), np.int64)

    @property
    def liked(self) -> tuple[Longs, Ints]:
        """User and item of each liked event of the histories, (N,) each."""
        past = self.past
        if past is None:
            return np.zeros(0, np.int64), np.zeros(0, np.int32)
        counts = liked(past.weight)
        return np.repeat(np.arange(len(past)), past.lengths)[counts], past.column[counts]

    def attribute(self, name: str) -> pl.Series:
        """Values of an attribute by item, (I,), null where there is none.

        Raises `SettingError` for an attribute that is not there, as where no catalogue was given.
        """
        catalogue = self.catalogue
        field = None if catalogue is None else catalogue.column(name)
        if catalogue is None or field is None:
            known = "no catalogue is given" if catalogue is None else f"is one of {', '.join(catalogue.fields)}"
            raise setting_error("attribute", name, known)
        return catalogue.values(field, self.items)


ListMetric: TypeAlias = Callable[[Lists], Doubles]


def intra_list_distance(lists: Lists) -> Doubles:
    """Mean of 1 - cosine over the pairs of items of a list, (B,); 0 for a list of fewer than two.

    Ziegler et al. 2005 (Improving recommendation lists through topic diversification), eq. 5, as a distance. Of unit
    vectors v, Σ_(i≠j) v_i·v_j = |Σ v_i|² - Σ |v_i|². Raises `SettingError` for a model without item vectors.
    """
    if lists.vectors is None:
        raise SettingError("intra_list_distance: this model has no item vectors")
    length = np.linalg.norm(lists.vectors, axis=1, keepdims=True)
    unit = np.vstack([lists.vectors / np.where(length > 0, length, 1), np.zeros((1, lists.vectors.shape[1]))])
    alike = np.zeros(len(lists.item))
    step = max(1, NUMBERS // max(1, lists.item.shape[1] * unit.shape[1]))
    for low in range(0, len(alike), step):
        shown = unit[lists.item[low : low + step]].astype(np.float64)  # (b, K, D); -1 is the last row, of zeros
        total = shown.sum(1)
        alike[low : low + step] = np.einsum("bd,bd->b", total, total) - np.einsum("bkd,bkd->b", shown, shown)
    pairs = lists.lengths * (lists.lengths - 1)
    return np.where(pairs > 0, 1 - alike / np.maximum(pairs, 1), 0.0)


def self_information(lists: Lists) -> Doubles:
    """Mean of -log2(share of the train events on the item) over a list, in bits, (B,); 0 for an empty one.

    Castells, Hurley and Vargas 2015 (Novelty and diversity in recommender systems), sec. 26.3.2. An item without
    events counts as one with a single event.
    """
    surprise = np.append(-np.log2(np.maximum(lists.events, 1) / max(int(lists.events.sum()), 1)), 0.0)
    return np.asarray(surprise[lists.item].sum(1) / np.maximum(lists.lengths, 1))


def popularity_lift(lists: Lists) -> Doubles:
    """Mean train events on the items of a list over those on the liked items of the history, less 1, (B,).

    0 where there is no history, or an empty list. Abdollahpouri et al. 2020 (The connection between popularity bias,
    calibration, and fairness in recommendation), eq. 2, for each user.
    """
    events, (user, item) = np.append(lists.events, 0).astype(np.float64), lists.liked
    count = np.bincount(user, minlength=len(lists.item))
    own = np.bincount(user, events[item], len(lists.item)) / np.maximum(count, 1)
    shown = events[lists.item].sum(1) / np.maximum(lists.lengths, 1)
    compared = (own > 0) & (lists.lengths > 0)
    return np.where(compared, shown / np.where(compared, own, 1) - 1, 0.0)


def share_of_cold_items(lists: Lists) -> Doubles:
    """Share of the places of a list whose items have no train event, (B,); 0 for an empty one.

    Schein et al. 2002 (Methods and metrics for cold-start recommendations) call such items cold.
    """
    cold = np.append(lists.events == 0, False)
    return np.asarray(cold[lists.item].sum(1) / np.maximum(lists.lengths, 1))


def serendipity(lists: Lists) -> Doubles:
    """Share of the k places that are relevant and not among the k items with most train events, (B,).

    Ge, Delgado-Battenfeld and Jannach 2010 (Beyond accuracy), eq. 4 to 6, the list of popular items being the
    primitive one, the same for all; equal items in their order. Raises `SettingError` for lists without `hits`.
    """
    if lists.hits is None:
        raise SettingError("serendipity: it is not known which items are relevant")
    k = lists.item.shape[1]
    expected = np.append(np.zeros(len(lists.items), np.bool_), True)
    expected[np.argsort(-lists.events, kind="stable")[:k]] = True
    return np.asarray((lists.hits & ~expected[lists.item]).mean(1))


def of_lists(metrics: Iterable[ListMetric], lists: Lists, cuts: Sequence[int]) -> dict[str, Doubles]:
    """Every metric at every k, `{"intra_list_distance@10": (B,), ...}`.

    Raises `SettingError` where a metric has a name that is taken, or gives something else than B finite numbers.
    """
    found: dict[str, Doubles] = {}
    for metric in metrics:
        name = getattr(metric, "__name__", type(metric).__name__)
        taken = name in (*METRICS, *OF_ALL_LISTS) or f"{name}@{cuts[0]}" in found
        check(not taken and "@" not in name, "metrics", name, "each needs a name of its own, without @")
        for k in cuts:
            values = np.asarray(metric(lists.cut(k)), np.float64)
            fine = values.shape == (len(lists.item),) and bool(np.isfinite(values).all())
            check(fine, "metrics", name, f"must give a finite number for each of the {len(lists.item):,} lists")
            found[f"{name}@{k}"] = values
    return found
