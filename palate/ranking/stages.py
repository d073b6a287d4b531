"""Stages: functions of a slate and its context that reorder, drop or score again, between candidates and rules."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from palate.ranking.context import Context
from palate.ranking.slate import Slate


class Stage(ABC):
    """A slate in, a slate out. Subclasses are frozen dataclasses of settings.

    pool  candidates that the stage wants to see; the largest of a pipeline wins
    """

    pool: int = 0

    @abstractmethod
    def __call__(self, slate: Slate, context: Context) -> Slate:
        """Return items of the slate, each once, in the order of the list; neither slate nor context changes."""


def pool_of(stages: Sequence[Stage], k: int) -> int:
    """Candidates that a list of k items is made from."""
    return max([k, *(stage.pool for stage in stages)])


def run(stages: Sequence[Stage], slate: Slate, context: Context) -> Slate:
    """Send a slate through the stages."""
    staged = slate
    for stage in stages:
        staged = stage(staged, context)
    return staged
