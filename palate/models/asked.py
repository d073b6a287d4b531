"""What users of the library give a model, and get: histories in any form, and items with what speaks for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from itertools import islice
from typing import Any, Protocol, TypeAlias, TypeVar, cast

import numpy as np
import polars as pl

from palate.arrays import AnyArray, Floats, Ints
from palate.data.frames import Frame, is_frame, is_sparse
from palate.data.histories import Histories
from palate.data.interactions import Interactions
from palate.data.readers import as_log, read_log
from palate.data.vocabulary import Id, Vocabulary
from palate.errors import DataError
from palate.kernels.topk import select_top

Asked: TypeAlias = Histories | Interactions | Frame | Iterable[Iterable[Id]]
OneUser: TypeAlias = Histories | Interactions | Frame | Iterable[Id]
Items: TypeAlias = list[Any] | tuple[Id, ...] | pl.Series | AnyArray
Explanation: TypeAlias = list[tuple[Id, float]]  # past items, each with its part of a score
FEW = 50  # that are picked faster than all are sorted


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
    if is_sparse(asked):
        return _of_matrix(asked, items)
    if is_frame(asked):
        return histories_of(read_log(asked), items)
    return Histories.of(items, cast("Iterable[Iterable[Id]]", asked))


def users_of(asked: Asked | None, kept: Interactions | None, user_ids: Iterable[Id]) -> Histories:
    """Histories of users in a log, or what is read as one, else in the one that is kept; empty for an unknown user.

    Raises `DataError` where there is no log, and for what cannot be an id.
    """
    log = kept if asked is None else asked
    if log is None:
        raise DataError("user_ids: the model keeps no histories of users; give a log: recommend(log, user_ids=[...])")
    if not isinstance(log, Interactions) and not is_frame(log):
        raise DataError(f"user_ids name users of a log or frame; the histories are a {type(log).__name__}")
    return as_log(log).histories(user_ids)


def _of_matrix(matrix: Any, items: Vocabulary) -> Histories:
    """Return a history for each row of a sparse matrix, empty for a row without numbers."""
    if matrix.ndim == 2 and not matrix.count_nonzero():
        return Histories.of(items, [()] * matrix.shape[0])
    return histories_of(read_log(matrix).histories(range(matrix.shape[0])), items)


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


def explained(items: Vocabulary, column: Ints, parts: Floats, k: int) -> list[Explanation]:
    """For each of J items the ids of the k events with the largest parts above 0, of parts (N, J), and these.

    column (N,)  the items of the events; of equal parts the earlier event comes first
    """
    part, most = np.ascontiguousarray(parts.T), min(k, len(parts))
    if most <= FEW:
        event, share = select_top(part, np.ones(len(parts), np.bool_), most)
    else:
        event = np.argsort(-part, axis=1, kind="stable")[:, :most].astype(np.int32)
        share = np.take_along_axis(part, event, axis=1)
    speaks = share > 0
    names = items.names(column[event[speaks]]).to_list()
    pairs = zip(names, share[speaks].tolist(), strict=True)
    return [list(islice(pairs, count)) for count in np.count_nonzero(speaks, axis=1).tolist()]
