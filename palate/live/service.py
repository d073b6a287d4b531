"""The live recommender of one process: a store, the model in use, and answers that see every committed event."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from threading import Lock, Thread
from typing import Any

import numpy as np

from palate.arrays import Floats, Longs
from palate.data.ragged import NEVER
from palate.errors import PalateError, StoreAway
from palate.kernels.topk import MOST
from palate.live.asking import Answer, Asked, Step
from palate.live.catalogue import LiveCatalogue
from palate.live.history import History, read_history
from palate.live.kept import Kept
from palate.live.recommender import NOTHING, Known, answer
from palate.live.snapshot import Active, Snapshot
from palate.live.weights import EVENT_WEIGHTS, Popularity, Weights
from palate.store.events import Store
from palate.store.recording import now
from palate.store.versions import Versions

LOG = logging.getLogger("palate.live")
AWAY = "the database is out of reach: the list is made without the user's history"


class Live:
    """Answers from what is committed in the store at that moment; nothing of a person is kept in between."""

    def __init__(
        self, store: Store, versions: Versions | None = None, weights: Mapping[str, float] = EVENT_WEIGHTS
    ) -> None:
        self.store, self.versions = store, versions
        self.weights = Weights(store, weights)
        kept = None if versions is None else Kept.read(versions.folder, store)
        self._popularity = Popularity(store, self.weights, kept)
        self._lock = Lock()
        self._loading: Thread | None = None
        self._refused: int | None = None
        self._snapshot = Snapshot.of(LiveCatalogue.load(store, kept), None, self._popularity.now())
        wanted = self._wanted()
        if wanted is not None:
            self._swap(wanted)
        self.recommend(Asked(user_id="nobody"))  # the first who asks shall not wait for what is loaded once
        if versions is not None:
            Thread(target=self._keep, args=(kept, versions.folder), daemon=True).start()

    def kept(self) -> Kept:
        """Return what it has read, for the next start."""
        catalogue, counted = self._snapshot.catalogue, self._popularity
        withdrawn, popular = counted.withdrawn, counted.popular  # which is never older than the number
        sums = popular.sums, popular.limit, popular.newest
        return Kept(catalogue.rows, catalogue.change, *sums, withdrawn, str(self.weights))

    def _keep(self, before: Kept | None, folder: Path) -> None:
        """Keep what was read, where that is worth it."""
        kept = self.kept()
        try:
            if kept.tells_more_than(before):
                kept.write(folder, self.store)
        except PalateError as error:
            LOG.warning("nothing is kept for the next start: %s", error)

    # Asking

    def recommend(self, asked: Asked) -> Answer:
        """Return the list for whoever asks; while the store is out of reach, from what is in memory.

        Raises `ConditionError`, `SettingError`, `DataError`, `StoreError`.
        """
        try:
            past = None if asked.user_id is None else self.history(asked.user_id, asked.until)
            hidden = None if asked.unseen_by is None else self.history(asked.unseen_by, asked.until)
        except StoreAway as error:
            LOG.error("a list is made without the user's history: %s", error)
            found = self.recommend(replace(asked, user_id=None, unseen_by=None))
            return replace(found, warnings=(*found.warnings, AWAY))
        snapshot = self.snapshot()  # after the histories, so that it knows the items of them
        known = NOTHING if past is None else Known.of(snapshot, past)
        if asked.session:
            known = known.and_then(*self._steps(snapshot, asked.session))
        return answer(snapshot, asked, known if hidden is None else known.seeing(Known.of(snapshot, hidden).seen))

    def history(self, user_id: str, until: int | None = None) -> History:
        """Read what a user's events up to the time `until` say."""
        return read_history(self.store, self.weights, user_id, until)

    def _steps(self, snapshot: Snapshot, session: tuple[Step, ...]) -> tuple[Longs, Floats, Longs]:
        """Positions, weights and times of the events of a session on known items."""
        position = np.array([snapshot.places.get(step.item_id, -1) for step in session], np.int64)
        weight = np.array([self.weights.of_step(step) for step in session], np.float32)
        moment = now()  # a later time counts as now, as in the store
        time = np.array([NEVER if step.time is None else min(step.time, moment) for step in session], np.int64)
        known = position >= 0
        return position[known], weight[known], time[known]

    def knows(self, item_id: str) -> bool:
        """Whether there is an item of this id."""
        return item_id in self._snapshot.places

    def told(self, ids: Sequence[str], attributes: Sequence[str]) -> list[dict[str, Any]]:
        """Return these attributes of known items, None for what is not told."""
        snapshot = self._snapshot
        return snapshot.catalogue.attributes.said([snapshot.places[name] for name in ids], attributes)

    def unknown(self, attributes: Sequence[str]) -> list[str]:
        """Say which of the attributes no item has."""
        told = self._snapshot.catalogue.attributes
        return [note for note in map(told.unknown, attributes) if note is not None]

    # What answers are made from

    def snapshot(self) -> Snapshot:
        """Return what there is now: changed items at once, another model as soon as it is loaded.

        While the store is out of reach it is what there was.
        """
        try:
            return self._current(self._wanted())
        except StoreAway:
            return self._snapshot

    def _current(self, wanted: int | None) -> Snapshot:
        with self._lock:
            old = self._snapshot
            catalogue, popular = old.catalogue.refreshed(self.store), self._popularity.now()
            if catalogue is not old.catalogue:
                self._snapshot = Snapshot.of(catalogue, old.active, popular, old).reading()
            elif popular is not old.popular:
                self._snapshot = Snapshot.of(catalogue, old.active, popular, old)
            if wanted not in (None, old.version, self._refused) and self._loading is None:
                self._loading = Thread(target=self._swap, args=(wanted,), daemon=True)
                self._loading.start()
            return self._snapshot

    def _wanted(self) -> int | None:
        return None if self.versions is None else self.versions.active()

    def _swap(self, version: int) -> None:
        """Load another version aside, then put it in the place of the old one; one that does not work is refused."""
        try:
            active = Active.load(self.versions, version)  # type: ignore[arg-type]
            old = self._snapshot
            fresh = Snapshot.of(old.catalogue, active, old.popular, old).reading()
            _warm(fresh)
            with self._lock:
                last = self._snapshot  # which may have changed while it was loaded
                self._snapshot = Snapshot.of(last.catalogue, fresh.active, last.popular, fresh).reading()
        except Exception as error:  # whatever its arrays are, the model before goes on
            self._refused = version
            LOG.error("model version %d is refused, the one before stays: %s", version, error)
        finally:
            self._loading = None


def _warm(snapshot: Snapshot) -> None:
    """Compile and touch what an answer needs."""
    known = np.flatnonzero(snapshot.row_of >= 0)[:2]
    for k in (10, MOST + 1):
        past = NOTHING.and_then(known, np.ones(len(known), np.float32), np.zeros(len(known), np.int64))
        answer(snapshot, Asked(k=min(k, 1000)), past)
