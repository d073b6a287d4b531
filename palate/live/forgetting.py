"""Users that were forgotten, out of the versions of the model that still hold something of them."""

from __future__ import annotations

import logging
from pathlib import Path

from palate.errors import BundleError, PalateError
from palate.models.registry import load_with_log
from palate.store.events import Store
from palate.store.versions import Version, Versions

LOG = logging.getLogger("palate.live")
WITHOUT = "forgettings"  # how many there were when a version was made without those users


def forget(store: Store, versions: Versions) -> None:
    """Rewrite each version that holds users who were forgotten since it was made; others stay as they are.

    Their ids, vectors and histories go; what was learned from all users together stays. A version that cannot be read
    is deleted unless it is active. What fails or is interrupted is done by the next call.
    """
    count = store.forgettings()
    for version in versions.list():
        if version.about.get(WITHOUT, 0) < count:
            try:
                versions.rewrite(version.number, _Rewriting(store, version), {WITHOUT: count})
            except _Unreadable as error:
                _drop(versions, version, error)
            except PalateError as error:
                LOG.error("version %d may still hold users that were forgotten: %s", version.number, error)


class _Unreadable(Exception):
    """The bundle of a version is missing or damaged."""


class _Rewriting:
    """Writes the bundle of a version without users that were forgotten, if it holds any."""

    def __init__(self, store: Store, version: Version) -> None:
        self._store, self._since = store, version.about.get(WITHOUT, 0)

    def __call__(self, path: Path) -> None:
        try:
            model, log = load_with_log(path)
        except BundleError as error:
            raise _Unreadable(error) from error
        known = model.known_users() | (log.users.texts() if log is not None else set())
        gone = self._store.forgotten_since(self._since, known)
        if gone:
            model.without(gone).save(path, log=None if log is None else log.without(gone))


def _drop(versions: Versions, version: Version, error: _Unreadable) -> None:
    if version.number == versions.active():
        LOG.error("version %d may still hold users that were forgotten: %s", version.number, error)
        return
    versions.remove(version.number)
    LOG.error("version %d is deleted: it may hold users that were forgotten, but %s", version.number, error)
