"""Users that were forgotten, out of the versions of the model that hold something of them, and out of the files.

What a receipt calls pending is done here: by the next training, by `palate forget`, and by a job of the service.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from palate.bundles.bundle import About
from palate.data.interactions import Interactions
from palate.errors import BundleError, PalateError
from palate.live.kept import FOLDER
from palate.live.past import newcomers, with_rows
from palate.models.base import Model
from palate.models.registry import load_with_log
from palate.privacy.forgetting import forget as forget_in
from palate.privacy.influence import counted
from palate.privacy.receipts import Document, Removal
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
    count, pending = store.forgettings(), store.receipts.pending()
    whole = True
    for version in versions.list():
        if version.about.get(WITHOUT, 0) < count:
            try:
                versions.rewrite(version.number, _Rewriting(store, versions, version.number))
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
    attributed = any("attributes of users" in store.receipts.get(name)["removed"] for name in names)
    if not store.database.scrub(None if attributed or not set(names) <= set(known) else ids):
        LOG.info("forgetting: a reader keeps the log of the store; it is emptied later")
        return False
    for each in pending:
        store.receipts.done([each.receipt], _found(store, versions, each))
    return True


def _found(store: Store, versions: Versions, pending: Pending) -> Document:
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

    def __init__(self, store: Store, versions: Versions, number: int) -> None:
        self._store, self._versions, self._number = store, versions, number

    def __call__(self, path: Path) -> tuple[bool, About]:
        about = self._versions.get(self._number).about  # another process may have done it meanwhile
        count = self._store.forgettings()
        try:
            model, log = load_with_log(path)
        except BundleError as error:
            raise _Unreadable(error) from error
        own, histories = model.known_users(), set() if log is None else log.users.texts()
        gone = self._store.forgotten_since(about.get(WITHOUT, 0), own | histories)
        lighter, removal, count = self._lighter(model.without(gone), log, gone, about, count)
        if not gone and removal is None:
            return False, {WITHOUT: count}
        lighter.save(path, log=None if log is None else log.without(gone))
        nothing = Removal(type(model.recipe).__name__, "exact", 0.0, "it had learned nothing of them")
        kept = counted({"vectors": len(gone & own), "histories": len(gone & histories)})
        return True, {WITHOUT: count, LEFT: _left(count, removal or nothing, kept)}

    def _lighter(
        self, model: Model, log: Interactions | None, gone: set[str], about: About, count: int
    ) -> tuple[Model, Removal | None, int]:
        """Take out what a model learned of the users: how, None for nothing, and how many forgettings are done."""
        recipe, past, asked = type(model.recipe).__name__, log, gone
        if past is None and NEWEST not in about:
            unknown = Removal(recipe, "retrain", None, "the log that it was fitted to is not known; train again")
            return model, unknown if gone else None, count
        if past is None and about.get(WITHOUT, 0) < int(self._store.state(DROPPED) or 0):
            return model, Removal(recipe, "retrain", None, "users left while it was trained; train again"), count
        if past is None:
            past, asked, count = self._past(about, count)
        if past is None or not asked:
            return model, None, count
        try:
            unseen = newcomers(self._store, past, about.get(WEIGHTS, {})) if NEWEST in about else None
            lighter, receipt = forget_in(model, past, asked, unseen)
        except PalateError as error:
            return model, Removal(recipe, "retrain", None, f"{error}; train again"), count
        return lighter, receipt.removal, count

    def _past(self, about: About, count: int) -> tuple[Interactions | None, set[str], int]:
        """Return the log that a version was fitted to, None where no user left it, and those that did."""
        while True:
            waiting = [each for each in self._store.receipts.pending() if each.number > about.get(WITHOUT, 0)]
            rows = [(each.number, *row) for each in waiting for row in each.rows if row[-1] <= about[NEWEST]]
            if not rows:
                return None, set(), count
            past, asked = with_rows(self._store, rows, about[NEWEST], about.get(WEIGHTS, {}))
            now = self._store.forgettings()
            if now == count:
                return past, asked, count
            count = now  # someone left while the log was read


def _drop(versions: Versions, version: Version, error: _Unreadable) -> bool:
    """Delete a version that cannot be read; returns whether it is gone."""
    if version.number == versions.active():
        LOG.error("version %d may still hold users that were forgotten: %s", version.number, error)
        return False
    versions.remove(version.number)
    LOG.error("version %d is deleted: it may hold users that were forgotten, but %s", version.number, error)
    return True
