"""Users that were forgotten, out of the versions of the model that hold something of them, and out of the files.

What a receipt calls pending is done here: by the next training, by `palate forget`, and by a job of the service.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from palate.bundles.bundle import About
from palate.data.interactions import Interactions
from palate.errors import BundleError, PalateError
from palate.live.kept import FOLDER
from palate.live.past import with_rows
from palate.models.base import Model
from palate.models.registry import load_with_log
from palate.privacy.forgetting import forget as forget_in
from palate.privacy.influence import counted
from palate.privacy.receipts import Removal
from palate.store.events import Store
from palate.store.receipts import DROPPED, Pending
from palate.store.versions import Version, Versions

LOG = logging.getLogger("palate.live")
WITHOUT = "forgettings"  # how many there were when a version was made without those users
NEWEST = "newest"  # seq of the last event that a version was fitted to
WEIGHTS = "weights"  # of event types in the log that it was fitted to
LEFT = "forgotten"  # how the last users that were forgotten left a version
OUTSIDE = (
    "exports, lists of --all-users, and models saved elsewhere",
    "logs of the service and of what stands before it: the address of a request names the user",
    "in memory of other processes, until their next request",
)


def forget(store: Store, versions: Versions, known: Mapping[str, Sequence[str]] | None = None) -> bool:
    """Rewrite each version that holds users who were forgotten since it was made; others stay as they are.

    Their ids, vectors and histories go, and what was learned from them as `palate.privacy.forget` says. A version
    that cannot be read is deleted unless it is active. Then files are erased, and the receipts are done: returns
    whether all are. What fails or is interrupted is done by the next call.

    known  the ids of receipts, where the caller knows them: what is looked for in the files of the store
    """
    pending, count = store.receipts.pending(), store.forgettings()
    whole = True
    for version in versions.list():
        if version.about.get(WITHOUT, 0) < count:
            try:
                work = _Rewriting(store, versions, version.number, pending)
                versions.rewrite(version.number, work, {WITHOUT: count})
            except _Unreadable as error:
                whole &= _drop(versions, version, error)
            except PalateError as error:
                whole = False
                LOG.error("version %d may still hold users that were forgotten: %s", version.number, error)
    return _finish(store, versions, pending, known or {}) if whole and pending else whole


def _finish(store: Store, versions: Versions, pending: Sequence[Pending], known: Mapping[str, Sequence[str]]) -> bool:
    """Erase the files, and complete the receipts."""
    names = [each.receipt for each in pending]
    shutil.rmtree(versions.folder / FOLDER, ignore_errors=True)  # it counts their events; the next start counts again
    store.receipts.drop_rows(names)
    ids = [user_id for name in names for user_id in known.get(name, ())]
    if not store.database.scrub(ids if set(names) <= set(known) else None):
        LOG.info("forgetting: a reader keeps the log of the store; it is emptied later")
        return False
    for each in pending:
        store.receipts.done([each.receipt], _found(store, versions, each))
    return True


def _found(store: Store, versions: Versions, pending: Pending) -> dict[str, Any]:
    """Return what a receipt says of models and files."""
    active, touched = versions.active(), []
    for version in versions.list():
        left = version.about.get(LEFT)
        if left is not None and left["forgettings"] >= pending.number:
            touched.append({"version": version.number, "active": version.number == active, **left})
    return {
        "versions": touched,
        "files": [
            f"{store.database.place}: deleted rows are overwritten, the write-ahead log is emptied, no copy is left"
            if not store.database.outside
            else f"{store.database.place}: deleted rows are freed",
            f"{FOLDER}, what a start reads: deleted",
        ],
        "backups": store.receipts.backups(),
        "outside": [*store.database.outside, *OUTSIDE],
    }


def meanwhile(store: Store, model: Model, log: Interactions, since: int) -> tuple[Model, Interactions, int, About]:
    """Take users who were forgotten while a model was fitted to a log, after the first `since`, out of both.

    Returns the number of forgettings that they are without, and what a version says of it.
    """
    count = store.forgettings()
    gone = store.forgotten_since(since, log.users.texts()) if count > since else set()
    if not gone:
        return model, log, count, {}
    lighter, receipt = forget_in(model, log, gone)
    return lighter, log.without(gone), count, {LEFT: _left(count, receipt.removal, {})}


def _left(count: int, removal: Removal, removed: Mapping[str, int]) -> About:
    return {"forgettings": count, **removal.as_dict(), "removed": dict(removed)}


class _Unreadable(Exception):
    """The bundle of a version is missing or damaged."""


class _Rewriting:
    """Writes the bundle of a version without users that were forgotten, if it holds anything of them."""

    def __init__(self, store: Store, versions: Versions, number: int, pending: Sequence[Pending]) -> None:
        self._store, self._versions, self._number, self._pending = store, versions, number, pending

    def __call__(self, path: Path) -> About:
        about = self._versions.get(self._number).about  # another process may have done it meanwhile
        since, count = about.get(WITHOUT, 0), self._store.forgettings()
        try:
            model, log = load_with_log(path)
        except BundleError as error:
            raise _Unreadable(error) from error
        known = model.known_users()
        gone = self._store.forgotten_since(since, known | (log.users.texts() if log is not None else set()))
        rows = [row for each in self._pending if each.number > since for row in each.rows]
        kept = {"vectors": len(gone & known), "histories": 0 if log is None else len(gone & log.users.texts())}
        lighter, removal = self._lighter(model, log, gone, about, rows)
        if not gone and removal is None:
            return {}
        lighter.save(path, log=None if log is None else log.without(gone))
        nothing = Removal(type(model.recipe).__name__, "exact", 0.0, "it had learned nothing of them")
        return {LEFT: _left(count, removal or nothing, counted(kept))}

    def _lighter(
        self, model: Model, log: Interactions | None, gone: set[str], about: About, rows: Sequence[Sequence[Any]]
    ) -> tuple[Model, Removal | None]:
        """Return the model without the users, and how what it learned of them left it; None for nothing learned."""
        recipe = type(model.recipe).__name__
        if log is not None:
            past, asked = log, gone
        elif NEWEST in about:
            rows = [row for row in rows if row[-1] <= about[NEWEST]]
            if not rows and about.get(WITHOUT, 0) < int(self._store.state(DROPPED) or 0):
                measure = "users were forgotten while it was trained; train again"
                return model.without(gone), Removal(recipe, "retrain", None, measure)
            if not rows:
                return model.without(gone), None
            past, asked = with_rows(self._store, rows, about[NEWEST], about.get(WEIGHTS, {}))
        elif not rows and not gone:
            return model, None
        else:
            measure = "the log that it was fitted to is not known; train again"
            return model.without(gone), Removal(recipe, "retrain", None, measure)
        try:
            lighter, receipt = forget_in(model.without(gone), past, asked)
        except PalateError as error:
            return model.without(gone), Removal(recipe, "retrain", None, f"{error}; train again")
        return lighter, receipt.removal


def _drop(versions: Versions, version: Version, error: _Unreadable) -> bool:
    """Delete a version that cannot be read; returns whether it is gone."""
    if version.number == versions.active():
        LOG.error("version %d may still hold users that were forgotten: %s", version.number, error)
        return False
    versions.remove(version.number)
    LOG.error("version %d is deleted: it may hold users that were forgotten, but %s", version.number, error)
    return True
