"""Sources of candidates: each gives its best eligible items, and is asked again until the list is full or it ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TypeAlias
from zlib import crc32

import numpy as np

from palate.arrays import Bools, Doubles, Floats, Ints, Longs
from palate.errors import SettingError
from palate.kernels.boosts import lifted
from palate.kernels.topk import select_top
from palate.ranking.context import Context, Order
from palate.ranking.repeats import due
from palate.ranking.request import ListRequest, Source
from palate.ranking.slate import EMPTY, Eligible, Slate, finite

CHUNK = 4096  # positions of an order that are looked through at once

# The best eligible items, at most this number; fewer only where the source ends.
Candidates: TypeAlias = Callable[[int, Eligible], Slate]


def block(k: int) -> int:
    """Candidates that a source gives at once where rules turn some away."""
    return max(4 * k, k + 40)


def sources(request: ListRequest, context: Context, factor: Floats | None) -> Iterator[Candidates]:
    """Yield the sources of a request in its order; factor (P,)  boosts of scores."""
    own = own_source(context)
    orders = {"popular": context.popular, "trending": context.trending, "bought_together": context.together}
    for name in request.sources:
        if name == own and knows_taste(context):
            yield lambda most, eligible: by_model(context, factor, own, most, eligible.rows)
        elif name == "similar" and (rows := _anchors(request, context)):
            yield partial(by_similarity, context, factor, rows)
        elif name == "buy_again":
            yield partial(by_habit, factor, *due(context.history, context.now))
        elif name == "newest":
            yield partial(by_order, name, context.newest, None)
        elif name in orders:
            yield partial(by_order, name, orders[name], factor)


def cold(context: Context, factor: Floats | None) -> Candidates:
    """Make the source of items that the model knows by their attributes alone."""
    own = own_source(context)
    return lambda most, eligible: by_model(context, factor, own, most, eligible.rows & context.cold)


def own_source(context: Context) -> Source:
    """Name the source of items for the user's history."""
    return "personal" if context.history.stored else "session"


def knows_taste(context: Context) -> bool:
    """Whether the model can rank by the history."""
    return bool(context.past.rows.positives[0])


def by_model(context: Context, factor: Floats | None, source: Source, most: int, rows: Bools) -> Slate:
    """Best items for the history by the model, among the rows (I,)."""
    past = context.asked_past if context.now or context.given else context.past
    most = min(most, context.index.rows)
    if factor is None:
        return _slate(context, source, *context.retriever.top(past, most, rows, True))
    return _best(context, factor, source, context.retriever.scores(past)[0], most, rows)


def by_similarity(
    context: Context, factor: Floats | None, rows: Sequence[int], most: int, eligible: Eligible
) -> Slate:
    """Best items by their mean similarity to those at the rows of the model."""
    model = context.retriever
    try:
        total = sum((model.item_similarity(row) for row in rows), np.zeros(len(model.items), np.float32))
    except SettingError:  # a model that has none
        return EMPTY
    scores = total / np.float32(len(rows))
    return _best(context, factor, "similar", scores, min(most, len(model.items)), eligible.rows)


def by_order(source: Source, order: Order, factor: Floats | None, most: int, eligible: Eligible) -> Slate:
    """First eligible items of an order."""
    position, score = order.position, order.score
    if factor is None:
        found = first(position, eligible.items, most)
        return Slate.of(found, score[found], source)
    boosted = lifted(score[position].astype(np.float32), factor[position])
    found = first(position[np.argsort(-boosted, kind="stable")], eligible.items, most)
    return Slate.of(found, lifted(score[found].astype(np.float32), factor[found]), source)


def by_habit(factor: Floats | None, position: Longs, score: Doubles, most: int, eligible: Eligible) -> Slate:
    """First of the items that are due, (N,); that they were seen does not count."""
    there = position < 0 if eligible.again is None else eligible.again[position]
    found, own = position[there], score[there]
    if factor is not None:
        boosted = lifted(own.astype(np.float32), factor[found])
        order = np.argsort(-boosted, kind="stable")
        found, own = found[order], boosted[order].astype(np.float64)
    return Slate.of(found[:most], own[:most], "buy_again")


def fresh(request: ListRequest, context: Context, eligible: Eligible) -> Slate:
    """Items that the model does not know, another order for every user, so that some users see each of them.

    Of F such items each stands at a place for one user in F.
    """
    positions = context.fresh[eligible.items[context.fresh]]
    if len(positions):
        positions = np.roll(positions, -(crc32((request.user_id or "").encode()) % len(positions)))
    return Slate.of(positions, context.index.created[positions] / 1e6, "newest")


def first(order: Longs, eligible: Bools, most: int) -> Longs:
    """First `most` of the positions in this order that are eligible (P,)."""
    found: list[Longs] = []
    for low in range(0, len(order), CHUNK):
        part = order[low : low + CHUNK]
        found.append(part[eligible[part]])
        if sum(map(len, found)) >= most:
            break
    return np.concatenate(found)[:most] if found else np.zeros(0, np.int64)


def _anchors(request: ListRequest, context: Context) -> list[int]:
    """Rows of the model of the anchor items that it knows."""
    if not request.anchor_items:
        return []
    position = context.index.positions(request.anchor_items)
    return [row for row in context.index.row[position[position >= 0]].tolist() if row >= 0]


def _best(context: Context, factor: Floats | None, source: Source, scores: Floats, most: int, rows: Bools) -> Slate:
    if factor is not None:
        scores = lifted(scores, factor[np.maximum(context.index.position_of_row, 0)])
    return _slate(context, source, *select_top(scores[None], rows, most))


def _slate(context: Context, source: Source, row: Ints, score: Floats) -> Slate:
    count = np.count_nonzero(row[0] >= 0)  # what is not filled stands at the end
    return Slate.of(context.index.position_of_row[row[0, :count]], finite(score[0, :count]), source)
