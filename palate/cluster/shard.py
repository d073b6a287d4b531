"""The users of one worker: their events over the items of the whole log, their rows among all users."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from palate.arrays import Doubles, Floats, Ints, Longs
from palate.cluster.gang import Gang
from palate.data.interactions import Interactions
from palate.data.vocabulary import Vocabulary
from palate.models.weights import within
from palate.privacy.federated.work import Totals, totals_width


@dataclass(frozen=True, eq=False)
class Shard:
    """log: events of U users over all I items, with row numbers for ids; rows (U,): those of the users, rising."""

    log: Interactions
    rows: Longs

    @classmethod
    def of(cls, _: object, items: int, rows: Longs, start: Longs, item: Ints, weight: Floats) -> Shard:
        """Return that of coded columns."""
        return cls(Interactions(numbers(len(rows)), numbers(items), start, item, weight), rows)

    def totals(self) -> Doubles:
        """Return what is summed of all shards first, (1, 4 + 3 I)."""
        return Totals.of(self.log).part().values


def numbers(count: int) -> Vocabulary:
    """Return the row numbers as ids."""
    return Vocabulary(pl.Series(np.arange(count)))


@dataclass(frozen=True, eq=False)
class Placed:
    """A log in the shards of the workers: its ids stay with the driver; rows[n] are those of worker n's users."""

    gang: Gang
    users: Vocabulary
    items: Vocabulary
    rows: Sequence[Longs]

    def totals(self) -> Totals:
        """Sum up what is known of the shards."""
        gang, shape = self.gang, (1, totals_width(len(self.items)))
        return Totals.read(gang.again(lambda: gang.sum("totals", shape=shape, kind=np.float64)))


def placed(gang: Gang, log: Interactions) -> Placed:
    """Divide a log of the driver among the workers: users in their order, to each about as many events."""
    whole = within(log)
    edges = np.searchsorted(log.start, np.linspace(0, len(log), gang.size + 1))
    edges[0], edges[-1] = 0, len(log.users)
    own, rows = [], []
    for low, high in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        first, last = whole.start[low], whole.start[high]
        columns = (
            np.arange(low, high),
            whole.start[low : high + 1] - first,
            whole.item[first:last],
            whole.weight[first:last],
        )
        own.append(tuple(gang.send(each, 1) for each in columns))
        rows.append(columns[0])
    gang.become(Shard.of, len(log.items), each=own)
    return Placed(gang, log.users, log.items, rows)


def plain(log: Interactions) -> Interactions:
    """Return users, items and weights of a log alone."""
    return replace(log, timestamp=None, event=None, event_types=(), context=None, contexts=(), examination=None)
