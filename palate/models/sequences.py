"""Sequences of a log, and the products of items by how far apart they stand in them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import csr_array

from palate.arrays import Floats, Ints, Longs
from palate.compute.memory import refuse_beyond
from palate.compute.threads import parallel_for
from palate.data.interactions import Interactions
from palate.errors import SettingError
from palate.kernels.rows import group_rows
from palate.kernels.sequences import count_partners, input_products, solve_targets, target_list, target_rows
from palate.models.neighbours import Neighbours
from palate.models.weights import faded


@dataclass(frozen=True, eq=False)
class Tables:
    """What two events of a sequence add by their distance d: see `palate.kernels.sequences`; each (longest,)."""

    whole: Floats
    apart: Floats
    later: Floats
    before: Floats
    after: Floats

    @classmethod
    def of(cls, longest: int, alpha: float, whole_decay: float, train_decay: float = 0.0) -> Tables:
        """Sum over the cuts in closed form; with decay δ, cuts m behind the later event give Σ_{k<m} δ^2k."""
        d = np.arange(longest, dtype=np.float64)
        decay, share = train_decay, 1 - alpha
        whole = alpha * whole_decay**d
        later = (1 - decay ** (2 * d)) / (1 - decay**2)
        # Between an input and a target d behind it lie d cuts; each adds δ^(d - 1) to their product.
        between = share * d * decay ** np.maximum(d - 1, 0)
        tables = (whole, share * decay**d, later, whole + between, whole)
        return cls(*(table.astype(np.float32) for table in tables))


@dataclass(frozen=True, eq=False)
class Products:
    """P (I, I) by its rows: start (I + 1,), column (N,), value (N,); diagonal (I,)."""

    start: Longs
    column: Ints
    value: Floats
    diagonal: Floats


@dataclass(frozen=True, eq=False)
class Sequences:
    """S sequences, laid end to end, and the events of each item.

    start (S + 1,), item (N,), row (N,): the sequence of each event; first (I + 1,), place (N,): events by item;
    importance (S,).
    """

    start: Longs
    item: Ints
    row: Ints
    first: Longs
    place: Ints
    importance: Floats

    @classmethod
    def of(cls, log: Interactions, longest: int, half_life_days: float | None = None) -> Sequences:
        """Cut the events of weight above 0 into sequences of at most `longest`; older ones may count less."""
        kept = log.liked
        rows = log.rows.where(kept)
        item = rows.column
        begins = np.flatnonzero(rows.place % longest == 0)
        start = np.append(begins, len(item))
        row = np.repeat(np.arange(len(begins), dtype=np.int32), np.diff(start))
        fading = faded(replace(log, weight=np.ones_like(log.weight)), half_life_days)[kept]
        importance = fading[start[1:] - 1]
        return cls(start, item, row, *group_rows(item, len(log.items)), importance)

    @property
    def events(self) -> tuple[Longs, Ints, Ints, Longs, Ints]:
        """The arrays of the events, as kernels take them."""
        return self.start, self.item, self.row, self.first, self.place

    def edges(self) -> Longs:
        """Places of each row of the products (I + 1,): an item's row holds all that share a sequence with it."""
        size = np.zeros(len(self.first) - 1, np.int64)
        parallel_for(lambda low, high: count_partners(*self.events, size, low, high), len(size))
        edge = np.concatenate([np.zeros(1, np.int64), np.cumsum(size)])
        refuse_beyond(8 * int(edge[-1]), "longest: products of items that share a sequence", "lower longest")
        return edge

    def inputs(self, tables: Tables) -> Products:
        """P (I, I) = α Σ x_sᵀ x_s + (1 - α) Σ x_cᵀ x_c."""
        edge = self.edges()
        column, value = np.empty(edge[-1], np.int32), np.empty(edge[-1], np.float32)
        P = Products(edge, column, value, np.empty(len(edge) - 1, np.float32))
        sides = (*self.events, self.importance, tables.whole, tables.apart, tables.later, edge, column, value)
        parallel_for(lambda low, high: input_products(*sides, P.diagonal, low, high), len(edge) - 1)
        return P

    def targets(self, tables: Tables) -> Floats:
        """Cᵀ (I, I), C = α Σ x_sᵀ x_s + (1 - α) Σ x_cᵀ y_c."""
        I = len(self.first) - 1
        back = np.zeros((I, I), np.float32)
        sides = (*self.events, self.importance, tables.before, tables.after, back)
        parallel_for(lambda low, high: target_rows(*sides, low, high), I)
        return back

    def target_block(self, tables: Tables, low: int, high: int) -> tuple[Longs, Ints, Floats]:
        """Rows [low, high) of Cᵀ: start, column, value; columns in the order in which they are met."""
        sides = (*self.events, self.importance, tables.before, tables.after)
        return target_list(*sides, low, high)

    def weights(self, tables: Tables, P: Products, ridge: Floats, L: int) -> csr_array:
        """B (I, I) with at most L weights a column."""
        found = Neighbours.empty(len(ridge), min(L, len(ridge)))
        sides = (*self.events, self.importance, tables.before, tables.after, P.start, P.column, P.value)
        out = (found.size, found.item, found.value)
        scale = 1 / np.sqrt(P.diagonal + ridge)
        parallel_for(lambda low, high: solve_targets(*sides, scale, *out, low, high), len(ridge))
        if not np.isfinite(found.value).all():
            raise too_small()
        return found.weights()


def too_small() -> SettingError:
    """Return the error of a penalty that rounding hides."""
    return SettingError("l2: too small for these events, the factor is lost to rounding; raise it")
