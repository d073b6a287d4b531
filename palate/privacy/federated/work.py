"""A client's part of a sum, what it has to say of its log first, and the items of all clients."""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from palate.arrays import Doubles, Ints
from palate.data.interactions import Interactions
from palate.data.vocabulary import Vocabulary
from palate.errors import DataError, MissingExtra, PalateError
from palate.models.base import Model
from palate.models.penalties import USUAL, mean_size

HASH = 16  # bytes of a keyed hash of an item's id
FACTS = 4  # numbers of `Totals` beside those of the items
RANGE = 2.0**43  # of the totals, in steps of 2^-20
HEAVIEST = 1000.0  # weight of one event


class FederationError(PalateError):
    """A federated training cannot go on."""


def absent(missing: ModuleNotFoundError) -> MissingExtra:
    """Return the error for a package that is not installed: Flower is in no extra, what it takes is in `federate`."""
    name = str(missing.name)
    return MissingExtra("flwr") if name.startswith("flwr") else MissingExtra(name, "federate")


@dataclass(frozen=True, eq=False)
class Part:
    """A client's values (R, C), each row within ± share (R,); the sum over all clients is within ± bound (R,)."""

    values: Doubles
    share: Doubles
    bound: Doubles
    bits: int = 32


class Work(Protocol):
    """What a client does for a recipe."""

    def part(self, what: str, facts: Mapping[str, Any], arrays: tuple[NDArray[Any], ...]) -> Part:
        """Return the part of the sum that is asked for."""
        ...

    def model(self, facts: Mapping[str, Any], arrays: tuple[NDArray[Any], ...], known: Known) -> Model:
        """Return the model at this client."""
        ...


@dataclass(frozen=True, eq=False)
class Known:
    """The items whose ids a client knows, and their rows (J,) among the items of all."""

    items: Vocabulary
    rows: Ints


def item_hashes(items: Vocabulary, secret: bytes) -> list[bytes]:
    """Return a hash of each id, keyed by the clients' secret: the server cannot try ids."""
    spelled = items.ids.cast(pl.String).to_list()
    return [hmac.digest(secret, b"item\0" + each.encode(), "sha256")[:HASH] for each in spelled]


def agreed_rows(hashes: Iterable[bytes], agreed: Iterable[bytes]) -> Ints:
    """Return the place of each hash among those agreed on, -1 where it is not, (N,)."""
    place = {each: row for row, each in enumerate(agreed)}
    return np.array([place.get(each, -1) for each in hashes], np.int32)


def on_agreed(log: Interactions, rows: Ints, agreed: list[bytes]) -> Interactions:
    """Return the log over the items agreed on, each known by its hash; rows (I,) say where its items are."""
    most = float(np.abs(log.weight).max(initial=0))
    if most > HEAVIEST:
        raise DataError(f"weight {most:g}: an event may weigh {HEAVIEST:g} at most; scale the weights")
    kept = rows[log.item] >= 0
    some = log if kept.all() else log.select(kept)
    if not len(some):
        raise DataError("the log has no events on the items agreed on")
    moved = rows if some is log else rows[log.items.codes(some.items.ids)]
    return replace(some, items=Vocabulary(pl.Series([each.hex() for each in agreed])), item=moved[some.item])


@dataclass(frozen=True, eq=False)
class Totals:
    """What is summed of all logs first: users, events, Σ n_u², Σ |w|; of each item events, Σ |w| and Σ max(w, 0)."""

    users: float
    events: float
    squares: float
    total: float
    counts: Doubles
    sizes: Doubles
    likes: Doubles

    @classmethod
    def of(cls, log: Interactions) -> Totals:
        """Return those of one log."""
        n, w = np.diff(log.start).astype(np.float64), log.weight.astype(np.float64)
        I = len(log.items)
        return cls(
            float(len(log.users)),
            float(len(log)),
            float(n @ n),
            float(np.abs(w).sum()),
            log.item_counts().astype(np.float64),
            np.bincount(log.item, np.abs(w), I).astype(np.float64),
            np.bincount(log.item, np.maximum(w, 0), I).astype(np.float64),
        )

    def part(self) -> Part:
        """Return them as one part."""
        values = np.concatenate(
            [[self.users, self.events, self.squares, self.total], self.counts, self.sizes, self.likes]
        )
        whole = np.full(1, RANGE)
        return Part(values[None, :], whole, whole, 64)

    @classmethod
    def read(cls, values: Doubles) -> Totals:
        """Return them out of a sum (1, 4 + 3 I). Raises `FederationError` where they cannot be those of logs."""
        flat = values.reshape(-1)
        found = cls(*flat[:FACTS].tolist(), *np.split(flat[FACTS:], 3))
        if flat.min() < 0 or found.users < 1 or found.events < 1 or found.total <= 0:
            raise FederationError(
                f"sum of the logs: {found.users:g} users, {found.events:g} events of weight {found.total:g}, the "
                f"least number of an item {flat.min():g}; a client sends what is no log"
            )
        return found

    @property
    def unit(self) -> float:
        """Mean weight of an event."""
        return self.total / self.events

    @property
    def noise(self) -> float:
        """`palate.models.penalties.relative_noise` of all logs together."""
        return float(((self.squares / self.events) ** -0.5 + mean_size(self.counts) ** -0.5) / USUAL)


def totals_width(items: int) -> int:
    """Return how many numbers the totals over so many items are."""
    return FACTS + 3 * items
