"""What a user's stored events say: what was seen and is disliked, read whole, and the newest ones, which teach."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from palate.arrays import Floats, Longs
from palate.data.histories import Histories, coded
from palate.data.ragged import NEVER as NO_TIME
from palate.data.ragged import liked, weighted
from palate.live.popularity import best_first
from palate.live.weights import Weights
from palate.ranking.context import Context, Order, UserHistory, last_disliked
from palate.ranking.item_index import ItemIndex
from palate.ranking.request import SessionEvent
from palate.store.events import Store
from palate.store.pulse import NEVER, Pulse
from palate.store.recording import now

EVENTS = 2000  # newest events of a user with a weight other than 0 that a model answers from
PREPARED = 250_000  # events of prepared histories, all together: about 25 MB
LATER = 4096  # events that are looked through for one of a user
SMALLEST = 50  # events that a history counts at least
ANCHORS = 5  # items of a request that what is bought together is read for
WHOLE = 4000  # most events of a user that are read in one query; of a longer history, items are read apart


@dataclass(frozen=True, eq=False)
class StoredHistory:
    """A user's events, by the store's numbers of items.

    item, weight, time (N,)  the newest `EVENTS` with a weight other than 0, oldest first: by time, then by arrival
    event (N,)               positions of their types in `event_types`
    seen (D,)                every item with an event; one may stand there several times
    disliked (E,)            every item whose newest event with a weight other than 0 is a dislike
    event_types              the names of types by the store's numbers
    """

    item: Longs
    weight: Floats
    time: Longs
    event: NDArray[np.int16]
    seen: Longs
    disliked: Longs
    event_types: tuple[str, ...]

    def on(self, index: ItemIndex) -> UserHistory:
        """Return it by positions; items that the index does not have are left out."""
        position, seen, disliked = index.at(self.item), index.at(self.seen), index.at(self.disliked)
        known = position >= 0
        events = position[known], self.weight[known], self.time[known], self.event[known]
        hidden = seen[seen >= 0], disliked[disliked >= 0]
        return UserHistory(*events, *hidden, stored=len(self.seen) > 0, event_types=self.event_types)


class _Prepared(NamedTuple):
    newest: int
    history: UserHistory
    past: Histories

    @property
    def size(self) -> int:
        """Events that it counts as."""
        return SMALLEST + len(self.history.position) + len(self.history.seen)


class PreparedHistories:
    """The users with the newest requests: their histories, ready for the model.

    Each counts until the store has another event of the user, or events were taken out or changed, or the model is
    another one; nothing of an old model or catalogue is held. Together they hold at most this many events.
    """

    def __init__(self, most: int = PREPARED) -> None:
        self._most, self._held, self._newest = most, 0, 0
        self._kept: OrderedDict[str, _Prepared] = OrderedDict()
        self._ready: dict[str, Context] = {}  # contexts of users over the base
        self._changes = (0, 0)
        self._base: Context | None = None
        self._lock = Lock()

    def since(self, user_id: str) -> int:
        """`seq` after which an event of the user would make what is kept stale, `NEVER` where nothing is kept.

        What is so old that many events would have to be looked through is kept no longer.
        """
        with self._lock:
            kept = self._kept.get(user_id)
            if kept is not None and kept.newest < self._newest - LATER:
                self._drop(user_id)
                kept = None
            return NEVER if kept is None else kept.newest

    def find(self, user_id: str, pulse: Pulse, base: Context) -> Context | None:
        """Return the context of a user if it still counts; `pulse` was asked about the user and `since`."""
        with self._lock:
            self._begin(pulse, base)
            kept = self._kept.get(user_id)
            if kept is None or pulse.touched or pulse.newest < kept.newest:
                return None
            self._kept[user_id] = kept._replace(newest=pulse.newest)
            self._kept.move_to_end(user_id)
            ready = self._ready.get(user_id)
            if ready is None:
                ready = self._ready[user_id] = base.prepared(kept.history, kept.past)
        return ready

    def remembered(self, user_id: str, base: Context) -> Context | None:
        """Return the context of a user as it was last, while the store cannot say whether it still counts."""
        with self._lock:
            kept = self._kept.get(user_id) if self._fits(base) else None
        return None if kept is None else base.prepared(kept.history, kept.past)

    def keep(self, user_id: str, pulse: Pulse, context: Context) -> None:
        """Keep the history of a user, read after `pulse`, unless something changed meanwhile."""
        prepared = _Prepared(pulse.newest, context.history, context.past)
        with self._lock:
            if self._changes != (pulse.withdrawn, pulse.rewritten) or not self._fits(context):
                return
            self._drop(user_id)
            self._kept[user_id] = prepared
            base = self._base
            if base is not None and context.masks is base.masks and context.popular is base.popular:
                self._ready[user_id] = context  # made from the same snapshot
            self._held += prepared.size
            while self._held > self._most:
                self._drop(next(iter(self._kept)))

    def _begin(self, pulse: Pulse, base: Context) -> None:
        """Forget all where what is kept was read before a change, or prepared for another model."""
        changes = pulse.withdrawn, pulse.rewritten
        if changes != self._changes or not self._fits(base):  # a forgotten user's events leave the memory, too
            self._kept.clear()
            self._ready.clear()
            self._changes, self._held = changes, 0
        elif base is not self._base:
            self._ready.clear()
        self._base, self._newest = base, max(self._newest, pulse.newest)

    def _fits(self, base: Context) -> bool:
        """Whether positions and rows are those of what is kept; an index may have grown."""
        own = self._base
        return own is not None and own.model is base.model and own.index.shares(base.index)

    def _drop(self, user_id: str) -> None:
        self._ready.pop(user_id, None)
        kept = self._kept.pop(user_id, None)
        self._held -= 0 if kept is None else kept.size


def read_history(store: Store, weights: Weights, user_id: str, until: int | None = None) -> StoredHistory:
    """Read what a user's events up to the time `until` say; an unknown user has none."""
    past = store.histories.newest(user_id, WHOLE + 1, until)
    every = weights.of_past(past)
    counts = weighted(every)
    item, weight, time, kind = past.item[counts], every[counts], past.time[counts], past.kind[counts]
    if len(past) <= WHOLE:
        seen, disliked = past.item, last_disliked(item, weight)
    else:
        silent, negative = weights.silent_and_negative()
        if len(item) < EVENTS:
            past = store.histories.weighted(user_id, EVENTS, silent, until)
            item, weight, time, kind = past.item, weights.of_past(past), past.time, past.kind
        seen, below = store.histories.items(user_id, silent, negative, until)
        disliked = seen[below]
    newest = item[-EVENTS:], weight[-EVENTS:], time[-EVENTS:], kind[-EVENTS:].astype(np.int16)
    return StoredHistory(*newest, seen, disliked, weights.names)


def session_history(session: Sequence[SessionEvent], weights: Weights, index: ItemIndex) -> UserHistory:
    """Return the history that the events of a session on known items are."""
    position = index.positions([event.item_id for event in session])
    weight = np.array([weights.of_session(event) for event in session], np.float32)
    moment = now()  # a later time counts as now, as in the store
    time = np.array([NO_TIME if event.time is None else min(event.time, moment) for event in session], np.int64)
    types, event = coded([event.event_type for event in session])
    known = position >= 0
    return UserHistory.of(position[known], weight[known], time[known], event[known], types)


def bought_together(items: Sequence[str], context: Context, store: Store, weights: Weights) -> Order:
    """Items by the users who acted on them together with some items, by default with the newest of the history."""
    index, history = context.index, context.history
    named = index.positions(items[:ANCHORS])
    anchors = named[named >= 0] if items else history.position[liked(history.weight)][-1:]
    score = np.zeros(len(index), np.float32)
    silent, negative = weights.silent_and_negative()
    for number in index.number[anchors].tolist():
        item, users = store.together.users(number, [*silent, *negative])
        position = index.at(item)
        score[position[position >= 0]] += users[position >= 0]
    return Order(best_first(score), score)
