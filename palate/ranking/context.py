"""What a list is made from beside the request: the model, the items and the history of the user."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from typing import Any, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from palate.arrays import Bools, Floats, Longs
from palate.data.histories import Histories
from palate.data.ragged import Ragged, disliked, weighted
from palate.data.vocabulary import Vocabulary
from palate.errors import ConditionError
from palate.kernels.rerank import unit_rows
from palate.models.base import Model
from palate.models.popularity import Popularity, PopularityModel
from palate.ranking.item_index import ItemIndex
from palate.ranking.labels import Labels

UNNAMED = pl.Series("user", [None], pl.String)
_NONE = np.zeros(0, np.int64)


@cache
def no_model() -> Model:
    """Return a model of no items, made when it is needed: it has polars start threads, which no fork survives."""
    return PopularityModel(Popularity(), Vocabulary.of([]), np.zeros(0, np.float32))


class Attributes(Protocol):
    """What the rules of a request read of P items."""

    def mask(self, condition: str) -> Bools:
        """Whether a condition holds, (P,). Raises `ConditionError`."""

    def notes(self, condition: str) -> tuple[str, ...]:
        """Say what is odd about a condition: names that no item has, types that no value has."""

    def values(self, attribute: str) -> Labels:
        """Values of an attribute as codes; none where no item has it."""

    def unknown(self, attribute: str) -> str | None:
        """Say that no item has an attribute; None where one has it."""


@dataclass(frozen=True, eq=False)
class Masks:
    """Which items are available, (P,), and meet a condition: by position, and by row of the model, (I,)."""

    available: Bools
    attributes: Attributes
    index: ItemIndex

    @cached_property
    def rows(self) -> Bools:
        """Mask of the available items by row of the model, (I,), not to be changed."""
        return self._rows(self.available)

    def meeting(self, condition: str) -> tuple[Bools, Bools]:
        """Return new masks, by position and by row, of the available items that meet it. Raises `ConditionError`."""
        items = self.available & self.attributes.mask(condition)
        return items, self._rows(items)

    def _rows(self, items: Bools) -> Bools:
        position = self.index.position_of_row
        return items[position] & (position >= 0) if len(items) else position >= 0


@dataclass(frozen=True, eq=False)
class Order:
    """Positions, best first, (M,), and the score of every position, (P,)."""

    position: Longs
    score: Floats | Longs


@dataclass(frozen=True, eq=False)
class UserHistory:
    """What a user did, by position in the catalogue.

    position, weight, time (N,)  events of a weight other than 0, oldest first
    event (N,)                   positions of their types in `event_types`, -1 where one is not known
    seen (S,)                    items with an event
    disliked (E,)                items whose newest event with a weight other than 0 is a dislike
    stored                       whether there are events in the store
    event_types                  names, of which one may stand twice
    """

    position: Longs = field(default_factory=_NONE.copy)
    weight: Floats = field(default_factory=lambda: np.zeros(0, np.float32))
    time: Longs = field(default_factory=_NONE.copy)
    event: NDArray[np.int16] = field(default_factory=lambda: np.zeros(0, np.int16))
    seen: Longs = field(default_factory=_NONE.copy)
    disliked: Longs = field(default_factory=_NONE.copy)
    stored: bool = False
    event_types: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        position: Longs,
        weight: Floats,
        time: Longs,
        event: NDArray[np.int16] | None = None,
        event_types: tuple[str, ...] = (),
    ) -> UserHistory:
        """Make it of events (N,) that are not stored; those of weight 0 are seen and nothing else."""
        event = np.full(len(position), -1, np.int16) if event is None else event
        counts = weighted(weight)
        now, weight = position[counts], weight[counts]
        gone = last_disliked(now, weight)
        return cls(now, weight, time[counts], event[counts], position, gone, event_types=event_types)

    def followed_by(self, later: UserHistory) -> UserHistory:
        """Return it with the events of a later one."""
        event = np.where(later.event < 0, later.event, later.event + np.int16(len(self.event_types)))
        return UserHistory(
            np.concatenate([self.position, later.position]),
            np.concatenate([self.weight, later.weight]),
            np.concatenate([self.time, later.time]),
            np.concatenate([self.event, event]),
            np.concatenate([self.seen, later.seen]),
            np.concatenate([self.disliked[~np.isin(self.disliked, later.position)], later.disliked]),
            self.stored or later.stored,
            self.event_types + later.event_types,
        )

    def hiding(self, positions: Longs) -> UserHistory:
        """Return it with more items that count as seen."""
        return replace(self, seen=np.concatenate([self.seen, positions]))


@dataclass(frozen=True, eq=False)
class Context:
    """The model and the items at one moment, and one user's history; nothing in it is missing or changes.

    popular  items by the weight of all events; newest  items by age, scored by seconds since 1970 UTC
    trending  items that are rising, by `palate.models.trending`; together  by the users who acted on them with the
              anchor items; none offline, and none where no source reads them
    fresh    positions of the items that came after the training and that the model does not know, newest first
    cold     items that the model knows by their attributes alone, over its rows, (I,); empty if there are none
    about    version and recipe of the model, None without one
    removed  items that are not in the catalogue although the index has them, of those that a request may name
    now      when the list is made, microseconds since 1970 UTC; 0 where that is not known: nothing is due then
    given    the context of the request: {"device": "phone"}
    """

    model: Model
    index: ItemIndex
    masks: Masks
    popular: Order
    newest: Order
    fresh: Longs = field(default_factory=_NONE.copy)
    cold: Bools = field(default_factory=lambda: np.zeros(0, np.bool_))
    about: Mapping[str, Any] | None = None
    history: UserHistory = field(default_factory=UserHistory)
    removed: frozenset[str] = frozenset()
    trending: Order = field(default_factory=lambda: Order(_NONE, _NONE))
    together: Order = field(default_factory=lambda: Order(_NONE, _NONE))
    now: int = 0
    given: Mapping[str, str] = field(default_factory=dict)

    def of(self, history: UserHistory) -> Context:
        """Return the context of a user."""
        return replace(self, history=history)

    def known(self, ids: Iterable[str]) -> dict[str, int]:
        """Return positions of the ids that are in the catalogue, in their order, each once."""
        found = ((item_id, self.index.position(item_id)) for item_id in ids if item_id not in self.removed)
        return {item_id: position for item_id, position in found if position >= 0}

    def among(self, positions: Longs) -> Context:
        """Return the context of these distinct items (N,) alone; of equally popular ones the first leads."""
        items, rows = np.zeros(len(self.index), np.bool_), np.zeros(self.index.rows, np.bool_)
        row = self.index.row[positions]
        items[positions] = rows[row[row >= 0]] = True
        masks = Masks(items, self.masks.attributes, self.index)
        vars(masks)["rows"] = rows
        score = self.popular.score
        popular = Order(positions[np.argsort(-score[positions], kind="stable")], score)
        return replace(self, masks=masks, popular=popular)

    def at(self, now: int) -> Context:
        """Return the context of the same user at a time."""
        return self._with(now=now)

    def within(self, given: Mapping[str, str]) -> Context:
        """Return the context of the same user for a request with a context."""
        return self._with(given=given)

    def _with(self, **changes: Any) -> Context:
        own = replace(self, **changes)
        if "past" in vars(self):
            vars(own)["past"] = self.past
        return own

    @cached_property
    def retriever(self) -> Model:
        """The model that candidates come from."""
        return self.model.retriever

    @cached_property
    def stages(self) -> tuple[object, ...]:
        """Stages of the model."""
        return self.model.stages

    def unit_vectors(self, positions: Longs) -> Floats | None:
        """Vectors of items (N,) at length 1, (N, D), 0 for an item that the model does not know; None without any."""
        vectors = self.model.item_embeddings
        if vectors is None:
            return None
        return unit_rows(vectors, self.index.row[positions])

    @cached_property
    def past(self) -> Histories:
        """The history over the items of the model, one row."""
        history = self.history
        row = self.index.row[history.position]
        known = row >= 0
        ends = np.array([0, np.count_nonzero(known)])
        rows = Ragged(ends, row[known], history.weight[known], history.time[known], history.event[known])
        return Histories(UNNAMED, self.model.items, rows, history.event_types)

    @property
    def asked_past(self) -> Histories:
        """The history over the items of the model, with when and in which context the list is made, if known."""
        asked = np.array([self.now]) if self.now and self.model.reads_time else None
        contexts = (self.given,) if self.given else None
        return self.past if asked is None and contexts is None else replace(self.past, asked=asked, contexts=contexts)

    def prepared(self, history: UserHistory, past: Histories) -> Context:
        """Return the context of a user whose `past` is known."""
        own = replace(self, history=history)
        vars(own)["past"] = past
        return own


def last_disliked(item: Longs, weight: Floats) -> Longs:
    """Items whose last weight (N,) is that of a dislike; no weight is 0."""
    wrong = disliked(weight)
    if not wrong.any():
        return item[:0]
    items, first = np.unique(item[::-1], return_index=True)
    found: Longs = items[wrong[::-1][first]]
    return found


def history_of(past: Histories) -> UserHistory:
    """Return the history of the only row, where rows of the model and positions are the same."""
    rows = past.rows
    return UserHistory.of(rows.column.astype(np.int64), rows.weight, rows.moments, rows.event, past.event_types)


def offline(model: Model, index: ItemIndex, allowed: Bools, data: Kept | None = None) -> Context:
    """Return what lists are made from without a service: the items of a model and its index, allowed (I,).

    data  what is kept of the items beside the model
    """
    popularity = np.zeros(len(index), np.float32) if data is None else data.popularity
    cold = np.zeros(0, np.bool_) if model.cold_items is None else model.cold_items
    masks = Masks(allowed, _KeptAttributes(len(index), data), index)
    return Context(model, index, masks, Order(_NONE, popularity), Order(_NONE, popularity), cold=cold)


class Kept(Protocol):
    """What a model keeps of its items for the stages behind it."""

    @property
    def popularity(self) -> Floats:
        """Weight of the events of each item, (I,)."""

    def labels(self, attribute: str) -> Labels | None:
        """Return the values of an attribute, None where they are not kept."""


class _KeptAttributes:
    """The attributes that a model keeps; there is nothing else to read."""

    def __init__(self, count: int, data: Kept | None) -> None:
        self._count, self._data = count, data

    def mask(self, condition: str) -> Bools:
        raise ConditionError(condition, 0, "there are no attributes here")

    def notes(self, condition: str) -> tuple[str, ...]:
        return ()

    def values(self, attribute: str) -> Labels:
        return (self._data and self._data.labels(attribute)) or Labels.none(self._count)

    def unknown(self, attribute: str) -> str | None:
        there = self._data is not None and self._data.labels(attribute) is not None
        return None if there else f"no item has an attribute {attribute!r}"
