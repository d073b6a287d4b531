"""Why an item stands in the list: the past items that contribute most to its score, and a sentence."""

from __future__ import annotations

from itertools import islice

import numpy as np

from palate.kernels.strongest import strongest
from palate.ranking.context import Context
from palate.ranking.request import ListRequest, Source
from palate.ranking.slate import CODE, Slate

NAMED = 2  # past items that a reason names
SHARE = 0.05  # of a score that a past item contributes at least to be named


def because(slate: Slate, context: Context) -> list[tuple[str, ...]]:
    """Ids of the past items that contribute most to each item's score, () where no history speaks."""
    index, past = context.index, context.past.rows
    own = np.flatnonzero((slate.source == CODE["personal"]) | (slate.source == CODE["session"]))
    named: list[tuple[str, ...]] = [()] * len(slate)
    if len(own):
        contributions = context.retriever.contributions(past, index.row[slate.position[own]])
        found = strongest(past.column, contributions, NAMED, SHARE)
        known = found >= 0
        ids = iter(index.ids(index.position_of_row[found[known]]))
        for place, count in zip(own.tolist(), known.sum(1).tolist(), strict=True):
            named[place] = tuple(islice(ids, count))
    return named


def reason(source: Source, named: tuple[str, ...], request: ListRequest) -> str:
    """Say why an item is in the list."""
    if source in ("personal", "session"):
        return "because of your history" if not named else f"because of {' and '.join(named)}"
    where = " within the filter" if request.filter else ""
    return {
        "pinned": "pinned here",
        "similar": "like what is on the page",
        "popular": f"popular{where}" if request.only is None else "by popularity",
        "newest": f"new{where}",
    }[source]


def why_empty(request: ListRequest, context: Context, paged: bool) -> str:
    """Say why a list is empty; paged  whether pages came before it."""
    if not len(context.index):
        return "the store is empty"
    if request.only is not None and not context.masks.available.any():
        return "none of the items is in the catalogue"
    if request.filter and not context.masks.meeting(request.filter)[0].any():
        return "no available item meets the filter"
    if paged:
        return "there are no more items"
    return "every item there is was seen, excluded or is not available"
