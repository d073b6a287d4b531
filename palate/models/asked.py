"""What users of the library give a model, and get: histories in any form, and items with what speaks for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any, Protocol, TypeAlias, TypeVar, cast

import numpy as np
import polars as pl

from palate.arrays import AnyArray, Floats
from palate.data.frames import Frame, is_frame
from palate.data.histories import Histories
from palate.data.interactions import Interactions
from palate.data.readers import read_log
from palate.data.vocabulary import Id, Vocabulary
from palate.errors import DataError

Asked: TypeAlias = Histories | Interactions | Frame | Iterable[Iterable[Id]]
OneUser: TypeAlias = Histories | Interactions | Frame | Iterable[Id]
Items: TypeAlias = list[Any] | tuple[Id, ...] | pl.Series | AnyArray
Explanation: TypeAlias = list[tuple[Id, float]]  # past items, each with its part of a score
SMALLEST = np.nextafter(np.float32(0), np.float32(1))  # number above 0


class Ranking(Protocol):
    """What has items: a model."""

    @property
    def items(self) -> Vocabulary:
        """The items that are ranked."""


M = TypeVar("M", bound=Ranking)


def histories_of(asked: Asked, items: Vocabulary) -> Histories:
    """Histories over the items of a model: see `Model.histories`."""
    if isinstance(asked, Histories):
        return asked.on(items, owner="the model")
    if isinstance(asked, Interactions):
        return histories_of(asked.histories(), items)
    if is_frame(asked):
        return histories_of(read_log(asked), items)
    return Histories.of(items, cast("Iterable[Iterable[Id]]", asked))


def one_history(asked: OneUser, items: Vocabulary) -> Histories:
    """Return the history of one user: a list of ids, or what else `histories_of` takes, of one user."""
    whole = isinstance(asked, Histories | Interactions) or is_frame(asked)
    found = histories_of(cast("Asked", asked if whole else [asked]), items)
    if len(found) != 1:
        raise DataError(f"the history has the events of {len(found):,} users; it must have those of one")
    return found


def asking(scores: Callable[[M, Histories], Floats]) -> Callable[[M, Histories], Floats]:
    """Return the `scores` of a model so that it takes histories in any form."""

    @wraps(scores)
    def taking(model: M, histories: Histories) -> Floats:
        if isinstance(histories, Histories):
            return scores(model, histories)
        return scores(model, histories_of(histories, model.items))

    return taking


def explained(names: pl.Series, parts: Floats, k: int) -> list[Explanation]:
    """For each of J items the names (N,) of the k with the largest parts above 0, of parts (N, J), and these."""
    name = np.array(names.to_list(), np.object_)
    found = []
    for part in np.ascontiguousarray(parts.T):
        least = max(np.partition(part, -k)[-k], SMALLEST) if k < len(part) else SMALLEST
        there = np.flatnonzero(part >= least)
        best = there[np.argsort(-part[there], kind="stable")][:k]
        found.append(list(zip(name[best].tolist(), part[best].tolist(), strict=True)))
    return found
