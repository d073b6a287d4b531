"""What of an event a network may read beside its item: its type, a weight of its own, the time since others."""

from __future__ import annotations

import numpy as np
import polars as pl

from palate.arrays import Floats
from palate.data.interactions import Interactions
from palate.data.vocabulary import Vocabulary

KINDS = 16  # weights of events at most that are told apart


def no_types() -> Vocabulary:
    """Return the event types of a network that reads none."""
    return Vocabulary(pl.Series("event_type", [], pl.String))


def types_of(log: Interactions) -> Vocabulary:
    """Return the event types of liked items, where they are two or more: one alone says nothing."""
    if log.event is None:
        return no_types()
    counts = np.bincount(log.event[log.liked], minlength=len(log.event_types))
    names = [name for name, count in zip(log.event_types, counts, strict=True) if count]
    return Vocabulary.of(names) if len(names) > 1 else no_types()


def boundaries(log: Interactions) -> Floats:
    """Return the weights that divide one kind of event from the next, (kinds - 1,).

    There are none where all events of a type weigh the same: then the type says it all.
    """
    weight = log.weight[log.liked]
    if log.event is not None:
        event, usual = log.event[log.liked], np.zeros(len(log.event_types), np.float32)
        usual[event] = weight
        if (weight == usual[event]).all():
            return weight[:0]
    distinct = np.unique(weight)
    if len(distinct) > KINDS:
        distinct = np.unique(np.quantile(distinct, np.linspace(0, 1, KINDS), method="nearest"))
    return np.asarray(np.sqrt(distinct[1:]) * np.sqrt(distinct[:-1]), np.float32)


def has_gaps(log: Interactions) -> bool:
    """Whether time passes between two events of a user."""
    time = log.timestamp
    return time is not None and bool(((time[1:] > time[:-1]) & (log.user[1:] == log.user[:-1])).any())
