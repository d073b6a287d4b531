"""A model that was fitted elsewhere becomes the one that answers."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from palate.bundles.bundle import copy_bundle, manifest_checksum
from palate.errors import BundleError
from palate.live.forgetting import forget
from palate.models.registry import load_with_log
from palate.store.events import Store
from palate.store.items import Item
from palate.store.transfer import import_events
from palate.store.versions import Version, Versions


def import_model(store: Store, versions: Versions, folder: str | Path) -> Version:
    """Copy a saved model into the versions and activate it; done again with the same model, it is only activated.

    Its items become items of the store. Where the store has no events yet, the histories kept with the model become
    events, in their order. Users that were forgotten are left out of both. Raises `BundleError` for a bundle that is
    missing or damaged.
    """
    source = Path(folder)
    model, log = load_with_log(source)
    mark = manifest_checksum(source)
    ids = model.items.ids.cast(pl.String).to_list()
    known = set(store.items.changed()[0]["item_id"])
    store.items.put(Item(name) for name in ids if name not in known)
    if log is not None and not store.newest():
        import_events(store, log)
    for version in versions.list():
        if version.about.get("adopted") == mark:
            return versions.activate(version.number)
    recipe = model.recipe
    about = {"recipe": type(recipe).__name__, "settings": recipe.settings(), "adopted": mark, "items": len(ids)}
    about["verdict"] = f"fitted elsewhere: {source.name}"

    def copied(path: Path) -> None:
        if copy_bundle(source, path) != mark:
            raise BundleError(f"{source}: was replaced meanwhile; import it again")

    version = versions.add(copied, about)
    forget(store, versions)
    return versions.activate(version.number)
