"""What an answer says: why an item stands in the list, why there is none, and what a request names in vain."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import numpy as np

from palate.kernels.strongest import strongest
from palate.ranking.context import Context
from palate.ranking.request import SOURCES, ListItem, ListRequest, Source
from palate.ranking.slate import CODE, Slate
from palate.ranking.stages import Stage

NAMED = 2  # past items that a reason names
SHARE = 0.05  # of a score that a past item contributes at least to be named


def because(slate: Slate, context: Context) -> list[tuple[str, ...]]:
    """Ids of the past items that contribute most to each item's score, () where no history speaks."""
    index, past = context.index, context.past.rows
    own = np.flatnonzero((slate.source == CODE["personal"]) | (slate.source == CODE["session"]))
    named: list[tuple[str, ...]] = [()] * len(slate)
    if len(own):
        contributions = context.retriever.contributions(past, index.row[slate.position[own]])
        found = strongest(
            past.column, np.ascontiguousarray(contributions), NAMED, SHARE
        )  # one kernel for all layouts
        ids = iter(index.ids(index.position_of_row[found.ravel()]))
        for place, rows in zip(own.tolist(), found.tolist(), strict=True):
            named[place] = tuple([item_id for row, item_id in zip(rows, ids, strict=False) if row >= 0])
    return named


def reason(source: Source, named: tuple[str, ...], request: ListRequest) -> str:
    """Say why an item is in the list."""
    if source in ("personal", "session"):
        return "because of your history" if not named else f"because of {' and '.join(named)}"
    where = " within the filter" if request.filter else ""
    anchor = "what is on the page" if request.anchor_items else "your newest item"
    return {
        "pinned": "pinned here",
        "similar": "like what is on the page",
        "popular": f"popular{where}" if request.only is None else "by popularity",
        "newest": f"new{where}",
        "trending": f"trending{where}",
        "bought_together": f"chosen by users together with {anchor}",
        "buy_again": "due again by the intervals of your purchases",
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
    if not {"popular", "newest"} & {*request.sources}:
        return f"no eligible item comes from {', '.join(request.sources)}"
    return "every item there is was seen, excluded or is not available"


def listed(slate: Slate, request: ListRequest, context: Context) -> Iterator[ListItem]:
    """Yield the items of a list with their reasons."""
    ids, scores, codes = context.index.ids(slate.position), slate.score.tolist(), slate.source.tolist()
    for item_id, score, code, named in zip(ids, scores, codes, because(slate, context), strict=True):
        source = SOURCES[code]
        yield ListItem(item_id, score, source, reason(source, named, request), named)


def warnings(request: ListRequest, context: Context) -> Iterator[str]:
    """Say what the rules and stages of a request read that is not there."""
    attributes = context.masks.attributes
    named = [("filter", request.filter or ""), *(("boost", rule.condition) for rule in request.boost)]
    for name, condition in [*named, *(("share", rule.condition) for rule in request.share)]:
        yield from (f"{name}: {note}" for note in (attributes.notes(condition) if condition else ()))
    for cap in request.cap:
        note = attributes.unknown(cap.attribute)
        yield from () if note is None else (f"cap: {note}",)
    for stage in cast("tuple[Stage, ...]", request.stages):
        yield from (f"{type(stage).__name__.lower()}: {note}" for note in stage.notes(context))
