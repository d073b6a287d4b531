"""The live recommender of one process: a store, the model in use, and answers that see every committed event."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from threading import Thread

from palate.errors import PalateError, StoreAway
from palate.live.catalogue import LiveCatalogue
from palate.live.current import Current
from palate.live.history import PreparedHistories, StoredHistory, bought_together, read_history, session_history
from palate.live.kept import Kept
from palate.live.patience import still_wanted
from palate.live.popularity import Popularity
from palate.live.scenarios import LatestScenarios
from palate.live.snapshot import Snapshot
from palate.live.weights import EVENT_WEIGHTS, Weights
from palate.ranking.context import Context
from palate.ranking.pipeline import recommend
from palate.ranking.request import USUAL_SOURCES, ListRequest, RecommendationList, conditions_of
from palate.store.events import Store
from palate.store.pulse import Pulse
from palate.store.recording import now
from palate.store.versions import Versions

LOG = logging.getLogger("palate.live")
AWAY = "the database is out of reach: the list is made of what is in memory"


class Live:
    """Answers from what is committed in the store at that moment, whoever wrote it."""

    def __init__(
        self, store: Store, versions: Versions | None = None, weights: Mapping[str, float] = EVENT_WEIGHTS
    ) -> None:
        self.store, self.versions = store, versions
        self.weights = Weights(store, weights)
        kept = None if versions is None else Kept.read(versions.folder, store)
        self._popularity = Popularity(store, self.weights, kept)
        self._prepared = PreparedHistories()
        self.scenarios = LatestScenarios(store.scenarios)
        pulse = store.pulses.read()
        first = Snapshot.of(LiveCatalogue.load(store, kept), self._popularity.now(pulse))
        self._current = Current(store, versions, self._popularity, first)
        if versions is not None and pulse.active is not None:
            self._current.swap(pulse.active)
        self.recommend(ListRequest(user_id="nobody"))  # the first request shall not wait for what is loaded once
        if versions is not None:
            Thread(target=self._keep, args=(kept, versions.folder), daemon=True).start()

    def kept(self) -> Kept:
        """Return what it has read, for the next start."""
        catalogue, counted = self._current.snapshot.catalogue, self._popularity
        withdrawn, popular = counted.withdrawn, counted.popular  # which is never older than the number
        sums = popular.sums, popular.limit, popular.trend, popular.newest
        return Kept(catalogue.table, catalogue.change, *sums, withdrawn, str(self.weights))

    def _keep(self, before: Kept | None, folder: Path) -> None:
        """Keep what was read, where that is worth it."""
        kept = self.kept()
        try:
            if kept.tells_more_than(before):
                kept.write(folder, self.store)
        except PalateError as error:
            LOG.warning("nothing is kept for the next start: %s", error)

    # Asking

    def recommend(self, request: ListRequest) -> RecommendationList:
        """Make a list; while the store is out of reach, of what is in memory.

        Raises `ConditionError`, `SettingError`, `DataError`, `StoreError`.
        """
        try:
            return recommend(request, self.context(request))
        except StoreAway as error:
            LOG.error("a list is made of what is in memory: %s", error)
            made = recommend(request, self._remembered(request))
            return replace(made, warnings=(*made.warnings, AWAY))

    def page(self, rows: Sequence[ListRequest]) -> list[RecommendationList]:
        """Make the lists of a page in their order, none with an item that a list above it shows.

        Raises as `recommend`, and for a page out of bounds, before a list is made.
        """
        self.steps(conditions_of(rows))
        lists: list[RecommendationList] = []
        shown: tuple[str, ...] = ()
        for row in rows:
            still_wanted()
            made = self.recommend(replace(row, shown_above=shown))
            lists.append(made)
            shown += tuple(item.item_id for item in made.items)
        return lists

    def steps(self, conditions: Sequence[str]) -> int:
        """Count the steps that the conditions of a request take. Raises `ConditionError` for too many."""
        return self.snapshot().catalogue.steps(conditions)

    def context(self, request: ListRequest) -> Context:
        """Return what the list of a request is made from. Raises `StoreError`."""
        user_id = request.user_id
        pulse = self.store.pulses.read(user_id or "", self._prepared.since(user_id or ""))
        snapshot = self.snapshot(pulse)
        if request.conditions:
            snapshot.catalogue.steps(request.conditions)  # all are within the bounds before one is run
        base = snapshot.context
        context = base if user_id is None else self._of_user(user_id, request.until, pulse, base)
        context = self._with_session(request, context) if request.session else context
        if request.unseen_by is not None:
            hidden = self.history(request.unseen_by, request.until).on(base.index)
            context = context.of(context.history.hiding(hidden.seen))
        if request.only is not None:
            return replace(timed_for(request, context), removed=self._removed(request.only, base))
        return self._with_sources(request, context)

    def _removed(self, ids: Sequence[str], context: Context) -> frozenset[str]:
        """Which of the ids are those of removed items; the store knows which of the unavailable ones are."""
        available = context.masks.available
        asked = [item_id for item_id, position in context.known(ids).items() if not available[position]]
        return frozenset(self.store.items.removed(asked) if asked else ())

    def _remembered(self, request: ListRequest) -> Context:
        """Return the context of a request from memory alone."""
        base = self._current.snapshot.context
        known = None if request.user_id is None else self._prepared.remembered(request.user_id, base)
        context = known or base
        context = self._with_session(request, context) if request.session else context
        return timed_for(request, context)

    def _with_sources(self, request: ListRequest, context: Context) -> Context:
        """Return the context with what the sources of a request read beside the usual."""
        timed = timed_for(request, context)
        if "bought_together" not in request.sources:
            return timed
        return replace(timed, together=bought_together(request.anchor_items, context, self.store, self.weights))

    def _with_session(self, request: ListRequest, context: Context) -> Context:
        return context.of(context.history.followed_by(session_history(request.session, self.weights, context.index)))

    def _of_user(self, user_id: str, until: int | None, pulse: Pulse, base: Context) -> Context:
        if until is not None:
            return base.of(self.history(user_id, until).on(base.index))
        known = self._prepared.find(user_id, pulse, base)
        if known is None:
            known = base.of(self.history(user_id).on(base.index))
            self._prepared.keep(user_id, pulse, known)
        return known

    def history(self, user_id: str, until: int | None = None) -> StoredHistory:
        """Read what a user's events up to the time `until` say."""
        return read_history(self.store, self.weights, user_id, until)

    def number_of(self, item_id: str) -> int:
        """Return the store's number of an item, -1 for an unknown one."""
        index = self._current.snapshot.index
        position = index.position(item_id)
        return int(index.number[position]) if position >= 0 else -1

    def attributes_of(self, ids: Sequence[str], attributes: Sequence[str]) -> list[dict[str, object]]:
        """Return these attributes of known items, None for what an item does not have."""
        snapshot = self._current.snapshot
        return snapshot.catalogue.attributes.said(snapshot.index.positions(ids).tolist(), attributes)

    def unknown(self, attributes: Sequence[str]) -> list[str]:
        """Say which of the attributes no item has."""
        return self._current.snapshot.catalogue.attributes.unknown(attributes)

    # What answers are made from

    def snapshot(self, pulse: Pulse | None = None) -> Snapshot:
        """Return what there is at a pulse, now by default: changed items at once, another model once it is loaded.

        While the store is out of reach it is what there was.
        """
        try:
            seen = self.store.pulses.read() if pulse is None else pulse
        except StoreAway:
            return self._current.snapshot
        current = self._current
        if current.settled is None or current.settled != (current.snapshot, seen[:-1]):  # all but `touched`
            current.follow(seen)
        return current.snapshot

    def follow_model(self) -> None:
        """Begin to load another active version, if there is one. Raises `StoreError`."""
        pulse = self.store.pulses.read()
        if pulse.active is not None and pulse.active != self._current.snapshot.version:
            self.snapshot(pulse)


def timed_for(request: ListRequest, context: Context) -> Context:
    """Return the context with that of the request, and at the time that a list is made for where it depends on it."""
    own = context.within(request.context) if request.context else context
    if request.sources == USUAL_SOURCES and not request.exploring and not context.model.reads_time:
        return own
    return own.at(now() if request.until is None else min(now(), request.until))
