"""A log in a folder of Parquet files, read by the workers: each takes a range of user ids, and no event leaves it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from palate.arrays import Ints, Longs
from palate.data.columns import LOG, find_columns
from palate.data.interactions import Interactions
from palate.data.ragged import weighted
from palate.data.readers import read_log
from palate.errors import DataError
from palate.models.weights import bound_of

if TYPE_CHECKING:
    from palate.cluster.gang import Gang
    from palate.cluster.shard import Placed, Shard

ROW = "palate row"  # column of the place of an event in all files
ID = 64  # bytes of an id and its place, about
SAMPLE = 1_000_000  # events that ranges are found by


@dataclass(frozen=True)
class LogParts:
    """source: a folder of Parquet files, a pattern or address as polars reads it; reading: as `read_log` takes it."""

    source: str
    reading: Mapping[str, Any] = field(default_factory=dict)

    def scan(self) -> pl.LazyFrame:
        """Return all files, in the order of their names; raises `DataError` where there are none."""
        folder = Path(self.source)
        files = sorted(folder.glob("*.parquet")) if folder.is_dir() else [self.source]
        try:
            frame = pl.scan_parquet(files, row_index_name=ROW) if files else pl.LazyFrame()
            columns = frame.collect_schema().names()
        except (OSError, pl.exceptions.PolarsError) as error:
            raise DataError(f"{self.source}: cannot be read as Parquet: {error}") from None
        if not columns:
            raise DataError(f"{self.source}: no file *.parquet in it")
        return frame

    def column(self, role: str) -> str:
        """Return the name of the column of users, or of items."""
        names = [name for name in self.scan().collect_schema().names() if name != ROW]
        asked = {each: self.reading.get(each) for each in ("user", "item")}
        return find_columns(names, asked, LOG, ["user", "item"], self.source)[role]


def read_parts(source: str | Path, **reading: Any) -> LogParts:
    """Return a log that the workers of a cluster read: a folder of Parquet files, or an address of an object store.

    `reading` is what `read_log` takes, as user="viewer". Each worker takes the users of a range of ids; of files that
    are sorted by user it reads its own parts alone. Users and items have the order of `read_log` of the folder.
    Raises `DataError` for a folder without Parquet files, and without columns of users and items.
    """
    parts = LogParts(str(source), reading)
    parts.column("user")
    return parts


@dataclass(frozen=True, eq=False)
class PartsRead:
    """The users of one worker: log, and where each user (U,) and item (I,) of it comes first in the files."""

    log: Interactions
    user_row: Longs
    item_row: Longs

    @classmethod
    def of(cls, _: object, parts: LogParts, low: Any, high: Any) -> PartsRead:
        """Read the events of users from `low` on, below `high`; None is no bound, and the first takes null ids."""
        user, item = parts.column("user"), parts.column("item")
        own = pl.lit(True)
        if low is not None:
            own = own & (pl.col(user) >= low)
        if high is not None:
            own = own & (pl.col(user) < high) if low is not None else ((pl.col(user) < high) | pl.col(user).is_null())
        try:
            frame = parts.scan().filter(own).collect(engine="streaming").sort(ROW)
        except (OSError, pl.exceptions.PolarsError) as error:
            raise DataError(f"{parts.source}: cannot be read: {error}") from None
        log = read_log(frame.drop(ROW), **parts.reading)
        rows = [first_rows(frame, name, known.ids) for name, known in ((user, log.users), (item, log.items))]
        return cls(replace(log, timestamp=None, event=None, event_types=(), context=None, contexts=()), *rows)

    def count(self, side: str) -> int:
        """Return the number of users, or of items."""
        return len(self.log.users if side == "user" else self.log.items)

    def ids(self, side: str) -> pl.DataFrame:
        """Return the ids of the users, or of the items, and where each comes first."""
        known, row = (self.log.users, self.user_row) if side == "user" else (self.log.items, self.item_row)
        return pl.DataFrame({"id": known.ids, "row": row})

    def sizes(self) -> pl.DataFrame:
        """Return the sizes of weights that are not 0, and how many events have each."""
        value, count = np.unique(np.abs(self.log.weight[weighted(self.log.weight)]), return_counts=True)
        return pl.DataFrame({"size": value, "count": count})

    def shard(self, items: int, bound: float, rows: Longs, item: Ints) -> Shard:
        """Return the events over all items: rows (U,) are those of the users, item (I,) those of the items here."""
        from palate.cluster.shard import Shard, numbers

        weight = np.clip(self.log.weight, -np.float32(bound), np.float32(bound))
        log = Interactions(numbers(len(rows)), numbers(items), self.log.start, item[self.log.item], weight)
        return Shard(log, rows)


def first_rows(frame: pl.DataFrame, column: str, ids: pl.Series) -> Longs:
    """Return where each of these ids comes first in a column, (N,)."""
    first = frame.group_by(pl.col(column).cast(ids.dtype).alias("id")).agg(pl.col(ROW).min())
    return pl.DataFrame({"id": ids}).join(first, on="id", how="left")[ROW].to_numpy().astype(np.int64)


def ranges_of(parts: LogParts, workers: int) -> list[tuple[object, object]]:
    """Return a range of user ids for each worker, each with about as many of the events that are looked at."""
    user = parts.column("user")
    frame = parts.scan()
    events = int(frame.select(pl.len()).collect().item())
    some = frame.select(user).gather_every(max(1, events // SAMPLE)).collect()[user].drop_nulls().sort()
    if not len(some):
        raise DataError(f"{parts.source}: no event in it")
    cuts = [some[len(some) * n // workers] for n in range(1, workers)]
    return list(zip([None, *cuts], [*cuts, None], strict=True))


def ids_of(gang: Gang, side: str) -> list[pl.DataFrame]:
    """Return the ids of each worker, and where each comes first."""
    counts = gang.ask("count", side)
    found: list[list[pl.DataFrame]] = [[] for _ in counts]
    for n, _, _, cut in gang.cuts("ids", counts, ID, side):
        found[n].append(cut)
    return [pl.concat(each) for each in found]


def placed_parts(gang: Gang, parts: LogParts) -> Placed:
    """Have each worker read its users; ids alone come to the driver."""
    from palate.cluster.shard import Placed
    from palate.data.vocabulary import Vocabulary

    ranges = gang.again(lambda: gang.run(ranges_of, parts, gang.size))
    gang.become(PartsRead.of, parts, each=ranges)
    sizes = pl.concat(gang.ask("sizes")).group_by("size").agg(pl.col("count").sum())
    bound = bound_of(sizes["size"].to_numpy(), sizes["count"].to_numpy().astype(np.int64))
    users, items = (gang.again(lambda side=side: ids_of(gang, side)) for side in ("user", "item"))  # type: ignore[misc]
    known_users, known_items = (
        pl.concat(each, how="vertical_relaxed").group_by("id").agg(pl.col("row").min()).sort("row")["id"]
        for each in (users, items)
    )
    user_ids, item_ids = Vocabulary(known_users), Vocabulary(known_items)
    rows = [user_ids.find(each["id"]).astype(np.int64) for each in users]
    own = [
        (gang.send(row, 1), gang.send(item_ids.find(each["id"]), 1)) for row, each in zip(rows, items, strict=True)
    ]
    gang.become(PartsRead.shard, len(item_ids), bound, each=own)
    return Placed(gang, user_ids, item_ids, rows)
