"""What a process has read of a store, kept beside the models, so that the next one need not read all again."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from palate.arrays import Doubles
from palate.bundles.bundle import read_bundle, write_bundle
from palate.errors import BundleError
from palate.live.parts import KINDS, kind_of_part
from palate.live.table import Table
from palate.models.trending import Trend
from palate.store.events import Store

LOG = logging.getLogger("palate.live")
FOLDER = "start"  # beside the folders of the versions
TOKEN = "kept for the start, 5"  # name in the store of the number that the newest folder of this form has
ABOUT = ("change", "limit", "newest", "withdrawn", "weights")  # in the manifest
WORTH = 10_000  # items and events, or new events, that are worth keeping


@dataclass(frozen=True, eq=False)
class Kept:
    """Items and their popularity as they were at one moment; a start reads what changed since.

    table, change       as in `LiveCatalogue`
    sums, limit, trend  as in `Popular`
    newest, withdrawn   seq of the last event in them, and how often events had been taken out of the store or changed
    weights             of event types, as text: another start may weigh them otherwise
    """

    table: Table
    change: int
    sums: Doubles
    limit: float
    trend: Trend
    newest: int
    withdrawn: int
    weights: str

    @classmethod
    def read(cls, folder: Path, store: Store) -> Kept | None:
        """Return what is kept of this store, None if that is nothing.

        The folder and the store share a random number. So a store that was restored from a backup finds nothing.
        """
        if not (folder / FOLDER).is_dir():
            return None
        try:
            bundle = read_bundle(folder / FOLDER)
        except BundleError as error:
            LOG.warning("all items are read again: %s", error)
            return None
        about = bundle.about
        if about.get("token") != store.state(TOKEN):
            return None
        values = {name: about[name] for name in ABOUT}
        parts: dict[str, Any] = dict(bundle.parts)
        trend = Trend(parts["recent"], parts["longer"], about["first"], about["last"])
        return cls(unpacked(parts), sums=parts["sums"], trend=trend, **values)

    def tells_more_than(self, before: Kept | None) -> bool:
        """Whether it is worth to write it in the place of that."""
        if before is None:
            return len(self.table) + self.newest > WORTH
        same = (self.change, self.withdrawn, self.weights) == (before.change, before.withdrawn, before.weights)
        return not same or self.newest - before.newest > WORTH

    def write(self, folder: Path, store: Store) -> None:
        """Keep it, in place of what was kept."""
        token = uuid.uuid4().hex
        trend = self.trend
        about = {name: getattr(self, name) for name in ABOUT} | {
            "first": trend.first,
            "last": trend.last,
            "token": token,
        }
        sums = {"sums": self.sums, "recent": trend.recent, "longer": trend.longer}
        write_bundle(folder / FOLDER, {**packed(self.table), **sums}, about)
        store.set_state(TOKEN, token)


def packed(table: Table) -> dict[str, pl.DataFrame]:
    """Return a table as few frames: `rows`, and of each kind its sparse parts, one a row."""
    parts: dict[str, list[str]] = {}
    for part in table.sparse:
        parts.setdefault(kind_of_part(part), []).append(part)
    return {"rows": table.rows.frame} | {kind: _packed(table, kind, each) for kind, each in parts.items()}


def _packed(table: Table, kind: str, parts: list[str]) -> pl.DataFrame:
    columns = {"item_no": pl.Int64(), "value": KINDS[kind]}
    lists = [
        pl.Series(name, [table.sparse[part].frame[name] for part in parts], dtype=pl.List(dtype))
        for name, dtype in columns.items()
    ]
    return pl.DataFrame([pl.Series("part", parts), *lists])


def unpacked(frames: Mapping[str, pl.DataFrame]) -> Table:
    """Return the table that was packed as these frames."""
    sparse = {
        part: pl.DataFrame({"item_no": numbers, "value": values})
        for kind in KINDS
        if kind in frames
        for part, numbers, values in zip(*frames[kind].get_columns(), strict=True)
    }
    return Table.of(frames["rows"], sparse)
