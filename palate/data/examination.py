"""Position bias: how likely users look at each place of a list, counted from what lists showed and what was chosen.

An item further down is chosen less often although it is liked as well, since fewer users see it. A choice counts by
the inverse of that probability (Joachims et al. 2017, "Unbiased Learning-to-Rank with Biased Feedback").
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl

from palate.arrays import Doubles, Ints, Longs
from palate.data.contexts import MOST_PLACES, POSITION
from palate.data.interactions import Interactions
from palate.errors import DataError

LEAST = 0.05  # probability that a choice is divided by: a few deep ones shall not decide everything
ROUNDS = 200
PRIOR = 5.0  # expected choices that a place is taken to have, as often made as at the place above it


def examined(log: Interactions, shown: pl.DataFrame) -> Interactions:
    """Return a log that knows how likely users looked at each place of a list: `Interactions.examination`.

    log    events whose contexts say the place of the item in the list that showed it, `position`, from 1
    shown  what lists showed: columns item_id and position, a row for each item shown; or a column `shown`: how often

    Raises `DataError` for other columns, or places that are no whole numbers from 1 to 1,000.
    """
    missing = [name for name in ("item_id", POSITION) if name not in shown.columns]
    if missing:
        raise DataError(f"impressions: no column {missing[0]!r}; they need item_id and position")
    place = shown[POSITION].cast(pl.Int64, strict=False)
    count = (
        shown["shown"].cast(pl.Int64, strict=False)
        if "shown" in shown.columns
        else pl.repeat(1, len(shown), dtype=pl.Int64, eager=True)
    )
    for name, column, low, high in ((POSITION, place, 1, MOST_PLACES), ("shown", count, 0, 2**53)):
        if column.has_nulls() or not column.is_between(low, high).all():
            raise DataError(f"impressions: {name} must be whole numbers from {low} to {high:,}")
    row = log.items.codes(shown["item_id"], "impressions")
    return with_examination(log, row, place.to_numpy(), count.to_numpy())


def with_examination(log: Interactions, item: Ints, place: Longs, shown: Longs) -> Interactions:
    """Return a log with what M counts say: item rows (M,), -1 if unknown, places from 1, and how often shown."""
    position = np.where(log.liked & (log.positions <= MOST_PLACES), log.positions, 0)
    known = item >= 0
    if not position.any() or not known.any():
        return log
    chosen = position > 0
    items = np.concatenate([item[known], log.item[chosen]]).astype(np.int64)
    places = np.concatenate([place[known], position[chosen]]) - 1
    counts = np.concatenate([shown[known], np.zeros(int(chosen.sum()), np.int64)])
    pair, at = np.unique(items * MOST_PLACES + places, return_inverse=True)
    choices = np.bincount(at[-int(chosen.sum()) :], minlength=len(pair)).astype(np.float64)
    seen = np.maximum(np.bincount(at, counts, minlength=len(pair)), choices)  # what was chosen was shown
    return replace(log, examination=examination(pair // MOST_PLACES, pair % MOST_PLACES, seen, choices))


def examination(item: Longs, place: Longs, shown: Doubles, chosen: Doubles) -> Doubles:
    """Probability that a user looks at each place, 1 at the first, (K,), of M counts of an item at a place from 0.

    An item at a place is chosen with the probability of a look times that of the item (the position-based model,
    Craswell et al. 2008); the two are fitted in turn, by the likelihood of Poisson counts, and only items that were
    shown at several places tell them apart. Where none was, no place is above another.
    """
    K, I = int(place.max(initial=0)) + 1, int(item.max(initial=0)) + 1
    look = np.ones(K)
    at_place, of_item = np.bincount(place, chosen, K), np.bincount(item, chosen, I)
    for _ in range(ROUNDS):
        liked = of_item / np.maximum(np.bincount(item, shown * look[place], I), 1e-12)
        expected = np.bincount(place, shown * liked[item], K)
        fresh, above = np.empty(K), 1.0
        for k in range(K):
            fresh[k] = above = (at_place[k] + PRIOR * above) / (expected[k] + PRIOR)
        fresh /= fresh[0]
        done = np.abs(fresh - look).max() < 1e-6
        look = fresh
        if done:
            break
    return look


def looks(log: Interactions, event: Longs) -> Doubles:
    """Probability that a user looked at the place of each of some events, (M,), 1 where the log does not say."""
    look = log.examination
    if look is None or not len(look):
        return np.ones(len(event))
    position = log.positions[event]
    inside = np.clip(position - 1, 0, len(look) - 1)
    return np.where(position > 0, np.maximum(look[inside], LEAST), 1.0)
