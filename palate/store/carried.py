"""The active model of a store in its backup: copied out with it, and in again by a restore."""

from __future__ import annotations

import logging
from pathlib import Path

from palate.bundles.bundle import copy_bundle, is_there
from palate.errors import BundleError, SettingError, StoreError
from palate.files import remove
from palate.store.events import Store
from palate.store.schema import ACTIVE
from palate.store.versions import Versions

LOG = logging.getLogger("palate.store")
FILES = (".db", ".sqlite")  # endings of a backup that is an SQLite file


def models_of(backup: Path) -> Path:
    """Folder of the models of a backup: `copy.models` beside `copy.db`, as for a store, or `models` in a folder."""
    return backup.with_suffix(".models") if backup.suffix in FILES else backup / "models"


def check_free(backup: Path) -> None:
    """Raise `StoreError` where there are models beside a backup that is to be made."""
    folder = models_of(backup)
    if folder.exists():
        raise StoreError(f"{folder}: exists; a backup never replaces anything")


def carry_out(versions: Versions, before: int | None, folder: Path) -> None:
    """Copy the bundle of the active version, and that of the version active `before` the store was copied.

    One that is missing or damaged is left out, with a word: the store is worth more than its model.
    """
    for number in sorted({each for each in (before, versions.answering()) if each is not None}):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            copy_bundle(versions.path(number), folder / versions.path(number).name)
        except BundleError as error:
            LOG.warning("model version %d is not in the backup: %s", number, error)
            remove(folder / versions.path(number).name)


def carry_in(backup: Path, store: Store, models: Path | None) -> None:
    """Copy the bundle of the active version to the models of a restored store, where the backup has it."""
    number = int(store.state(ACTIVE) or 0)
    source = models_of(backup) / f"{number:06d}"
    if not number or not is_there(source):
        return
    try:
        versions = Versions(store, models)
        versions.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        copy_bundle(source, versions.path(number))
    except (SettingError, BundleError, OSError) as error:
        LOG.warning("model version %d stays in the backup: %s", number, error)
