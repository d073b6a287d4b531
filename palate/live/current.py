"""The snapshot in use, which follows the store: changed items at once, another model once it is loaded."""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Lock, Thread

import numpy as np

from palate.compute.memory import release_memory
from palate.data.contexts import MOST_PLACES
from palate.errors import NoPosterior
from palate.kernels.topk import MOST
from palate.live.popularity import Popularity
from palate.live.snapshot import FIXED, Active, Snapshot
from palate.ranking.calibrate import Calibrate
from palate.ranking.context import UserHistory
from palate.ranking.diversify import Diversify
from palate.ranking.long_tail import LongTail
from palate.ranking.pipeline import recommend
from palate.ranking.request import Boost, Explore, ListRequest
from palate.ranking.stages import Stage
from palate.store.events import Store
from palate.store.pulse import Pulse
from palate.store.versions import Versions

STAGES = Diversify(), Diversify(method="mmr"), LongTail()
LOG = logging.getLogger("palate.live")


@dataclass(eq=False)
class Current:
    """The snapshot in use.

    settled  a snapshot and the counters of a pulse that asks for nothing more of it
    """

    store: Store
    versions: Versions | None
    popularity: Popularity
    snapshot: Snapshot
    settled: tuple[Snapshot, tuple[object, ...]] | None = None
    replaced: int = 0  # of the pulse when the model was loaded
    _lock: Lock = field(default_factory=Lock)
    _loading: Thread | None = None
    _refused: int | None = None

    def follow(self, pulse: Pulse) -> None:
        """Do what a pulse asks for, and note where that is nothing more."""
        if pulse.items > self.snapshot.catalogue.change:
            with self._lock:
                self._refresh(pulse)
        elif self._counts(pulse) and self._lock.acquire(blocking=False):
            try:
                self._refresh(pulse)
            finally:
                self._lock.release()
        snapshot = self.snapshot
        other = pulse.active not in (snapshot.version, self._refused) or pulse.replaced != self.replaced
        if self.versions is not None and pulse.active is not None and other:
            self._load(pulse.active)
        elif self.popularity.current(pulse) and self.popularity.popular is snapshot.popular:
            self.settled = snapshot, pulse[:-1]

    def _counts(self, pulse: Pulse) -> bool:
        """Whether there is a newer count of what is popular, or time for one."""
        return self.popularity.due(pulse) or self.popularity.popular is not self.snapshot.popular

    def _refresh(self, pulse: Pulse) -> None:
        old = self.snapshot
        catalogue, popular = old.catalogue.refreshed(self.store), self.popularity.now(pulse)
        if catalogue is not old.catalogue:
            self.snapshot = old.with_catalogue(catalogue, popular)
        elif popular is not old.popular:
            self.snapshot = old.with_popular(popular)

    def _load(self, version: int) -> None:
        """Load a version aside, unless one is loaded already."""
        with self._lock:
            if self._loading is None:
                self._loading = Thread(target=self._reload, args=(version,), daemon=True)
                self._loading.start()

    def _reload(self, version: int) -> None:
        """Load a version, and give back what the one before took."""
        self.swap(version)
        release_memory()

    def swap(self, version: int) -> None:
        """Load another version aside, then put it in the place of the old one; one that does not work is refused."""
        try:
            self.replaced = self.store.pulses.read().replaced
            assert self.versions is not None
            active = Active.load(self.versions, version)
            fresh = self.snapshot.with_model(active)
            _warm(fresh)
            with self._lock:
                last = self.snapshot  # which may have changed while it was loaded
                same = last.catalogue is fresh.catalogue
                self.snapshot = (
                    fresh.with_popular(last.popular) if same else last.with_model(fresh.active, fresh.index)
                )
            LOG.info("model version %d answers", version)
        except Exception as error:  # whatever its arrays are, the model before goes on
            self._refused = version
            LOG.error("model version %d is refused, the one before stays: %s", version, error)
        finally:
            self._loading = None


def _warm(snapshot: Snapshot) -> None:
    """Compile and touch what an answer needs."""
    known = np.flatnonzero(snapshot.index.row >= 0)[:2]
    past = UserHistory.of(known, np.ones(len(known), np.float32), np.zeros(len(known), np.int64))
    context = snapshot.context.of(past)
    for k in (10, MOST + 1):
        recommend(ListRequest(k=min(k, MOST_PLACES)), context)
    recommend(ListRequest(boost=(Boost("available", 2.0),)), context)
    for stage in (*STAGES, *_of_attributes(snapshot)):
        recommend(ListRequest(stages=(stage,)), context)
    recommend(ListRequest(anchor_items=tuple(snapshot.index.ids(known))), snapshot.context)
    with suppress(NoPosterior):
        recommend(ListRequest(explore=Explore(seed=0)), context)


def _of_attributes(snapshot: Snapshot) -> tuple[Stage, ...]:
    """Return stages that read an attribute, of one that items have, none where there is none."""
    names = [name for name in snapshot.catalogue.attributes.counts if name not in FIXED]
    return (Diversify(by=names[0]), Calibrate(names[0])) if names else ()
