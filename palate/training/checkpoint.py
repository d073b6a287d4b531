"""What a fit keeps on disk after each epoch, so that one that was killed goes on to the same result."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from palate.arrays import AnyArray
from palate.bundles.bundle import Part, is_there, read_bundle, write_bundle
from palate.data.interactions import Interactions
from palate.errors import BundleError, check

UNIMPORTANT = ("checkpoint", "device", "threads")  # settings that say where a fit runs, not what it fits


class Settled(Protocol):
    """What a checkpoint asks of a recipe."""

    @property
    def checkpoint(self) -> str | None:
        """Folder, None for no checkpoint."""

    def settings(self) -> dict[str, object]:
        """Return the settings by name."""


@dataclass(frozen=True)
class Checkpoint:
    """A folder, written aside and renamed after each epoch: a crash leaves the one of the epoch before.

    key  says what is fitted to what: the checkpoint of another fit is refused
    """

    folder: str
    key: str

    @classmethod
    def of(cls, recipe: Settled, log: Interactions, *others: AnyArray | None) -> Checkpoint | None:
        """Return that of a recipe and a log, None where the recipe keeps none; `others` are fitted to as well."""
        if recipe.checkpoint is None:
            return None
        crc = 0
        columns = (log.start, log.item, log.weight, log.timestamp, *others)
        for column in (each for each in columns if each is not None):
            crc = zlib.crc32(np.ascontiguousarray(column).data, crc)
        named = {name: value for name, value in recipe.settings().items() if name not in UNIMPORTANT}
        return cls(recipe.checkpoint, f"{type(recipe).__name__} {named} on {log!r}, crc32 {crc:08x}")

    def read(self) -> tuple[int, Mapping[str, Any]]:
        """Return how many epochs are done, and the state after the last; (0, {}) where there is no checkpoint.

        Raises `SettingError` for that of another fit, `BundleError` for what is none.
        """
        if not is_there(self.folder):
            return 0, {}
        bundle = read_bundle(self.folder)
        kept = bundle.about.get("fit")
        if kept is None:
            raise BundleError(f"{self.folder}: a bundle, but not a checkpoint of a fit")
        check(
            kept == self.key,
            "checkpoint",
            self.folder,
            f"was written by another fit ({kept}), not {self.key}; name another folder, or remove it",
        )
        return bundle.about["epoch"], bundle.parts

    def write(self, epoch: int, state: Mapping[str, Part]) -> None:
        """Keep the state after an epoch."""
        write_bundle(self.folder, state, {"fit": self.key, "epoch": epoch})
