"""What the weight of an event comes to in a fit: never far beyond what is usual, and less with its age."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar, Protocol

import numpy as np

from palate.arrays import Floats, Longs
from palate.data.interactions import Interactions
from palate.data.ragged import weighted
from palate.data.times import DAY
from palate.errors import check

LOG = logging.getLogger("palate.models")
LEAST = np.finfo(np.float32).tiny  # weight that no decay goes below
RANGE = 100  # times the 99th percentile of the sizes of weights: a heavier event counts so much


class Weighing(Protocol):
    """A recipe, which says whether it reads weights."""

    reads_weights: ClassVar[bool]

    def inner_recipes(self) -> Sequence[Weighing]:
        """Return the recipes that are settings of this one."""


def heaviest(log: Interactions) -> tuple[float, int]:
    """Return the size of weight that a fit goes up to, and how many events of the log are beyond.

    It is 100 times the 99th percentile of the sizes that are not 0: of 100 events the second largest, so that a few
    never set it themselves.
    """
    sizes = np.abs(log.weight[weighted(log.weight)])
    if not len(sizes) or sizes.max() / RANGE <= sizes.min():
        return np.inf, 0
    limit = bound_of(sizes)
    return limit, int(np.count_nonzero(sizes > limit))


def bound_of(sizes: Floats, count: Longs | None = None) -> float:
    """Return the size of weight that counts in full, of events with sizes (N,), `count` (N,) of each or one."""
    if not len(sizes):
        return np.inf
    if count is None:
        place = int(0.99 * (len(sizes) - 1))
        return RANGE * float(np.partition(sizes, place)[place])
    order = np.argsort(sizes)
    total = np.cumsum(count[order])
    return RANGE * float(sizes[order][np.searchsorted(total, int(0.99 * (total[-1] - 1)), side="right")])


def within(log: Interactions) -> Interactions:
    """Return the log with the weights beyond the `heaviest` cut to it, and say how many; itself if none is."""
    limit, count = heaviest(log)
    if not count:
        return log
    said = f"{count:,}", f"{len(log):,}", limit, RANGE
    LOG.warning("%s of %s events weigh more than %g, %s times what is usual, and count so much", *said)
    bound = np.float32(limit)
    return replace(log, weight=np.clip(log.weight, -bound, bound))


def unread(recipe: Weighing, log: Interactions) -> str:
    """Say that a recipe ignores the weights of a log, "" where it reads them or those above 0 are all alike."""
    weight = log.weight[log.liked]
    if not _ignores(recipe) or not len(weight) or weight.min() == weight.max():
        return ""
    name = type(recipe).__name__ + ("(binary=True)" if getattr(recipe, "binary", False) else "")
    return f"{name} ignores weights: each event of weight above 0 counts alike"


def _ignores(recipe: Weighing) -> bool:
    inner = recipe.inner_recipes()
    if inner:
        return all(map(_ignores, inner))
    return not recipe.reads_weights or bool(getattr(recipe, "binary", False))


def check_half_life(days: float | None) -> None:
    """Raise `SettingError` unless the setting half_life_days means something."""
    check(days is None or days > 0, "half_life_days", days, "must be above 0, or None for no decay")


def faded(log: Interactions, half_life_days: float | None) -> Floats:
    """Weights of the events (N,), half as much for each half-life of their `ages`; None for no decay.

    What fades below the numbers of float32 stays at the least of them: an event counts ever less, but never becomes
    one of weight 0, which is no positive.
    """
    if half_life_days is None:
        return log.weight
    check(log.timestamp is not None, "half_life_days", half_life_days, "the log has no times")
    with np.errstate(over="ignore"):  # a half-life so short that the number of them is infinite
        fading = 0.5 ** (log.ages / (half_life_days * DAY))
    size = np.abs(log.weight)
    left = np.maximum(size * fading, np.minimum(size, LEAST))
    return np.copysign(left, log.weight).astype(np.float32)
