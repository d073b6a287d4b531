"""A list as another model would make it: what is stored, with the items and histories of now."""

from __future__ import annotations

from dataclasses import replace
from threading import Lock

from palate.live.history import bought_together, session_history
from palate.live.service import Live
from palate.live.snapshot import Active, Snapshot
from palate.ranking.context import Context
from palate.ranking.pipeline import recommend
from palate.ranking.request import ListRequest, RecommendationList
from palate.store.recording import now
from palate.store.schema import REPLACED
from palate.store.versions import Versions


class Previews:
    """Lists by any version of the model; the last one asked for stays loaded, beside the active one."""

    def __init__(self, live: Live, versions: Versions) -> None:
        self._live, self._versions = live, versions
        self._lock = Lock()
        self._loaded: tuple[tuple[int, str | None], Active] | None = None
        self._made: tuple[Snapshot, Active, Snapshot] | None = None

    def recommend(self, request: ListRequest, version: int | None = None) -> RecommendationList:
        """Make a list by a version, the active one by default. Raises `BundleError`, and as `Live.recommend`."""
        current = self._live.snapshot()
        if version is None or version == current.version:
            return self._live.recommend(request)
        return recommend(request, self._context(request, self._with(current, version)))

    def _with(self, current: Snapshot, version: int) -> Snapshot:
        """Return a snapshot with another model."""
        with self._lock:
            key = version, self._live.store.state(REPLACED)  # a bundle changes where users were forgotten
            if self._loaded is None or self._loaded[0] != key:
                self._loaded = None  # two beside the active one would take memory
                self._loaded = key, Active.load(self._versions, version)
            active = self._loaded[1]
            if self._made is None or self._made[0] is not current or self._made[1] is not active:
                self._made = current, active, current.with_model(active)
            return self._made[2]

    def _context(self, request: ListRequest, snapshot: Snapshot) -> Context:
        live, base = self._live, snapshot.context
        if request.conditions:
            snapshot.catalogue.steps(request.conditions)  # all are within the bounds before one is run
        context = base if request.user_id is None else base.of(live.history(request.user_id).on(base.index))
        if request.session:
            session = session_history(request.session, live.weights, base.index)
            context = context.of(context.history.followed_by(session))
        timed = context.at(now())
        if "bought_together" not in request.sources:
            return timed
        return replace(timed, together=bought_together(request.anchor_items, timed, live.store, live.weights))
