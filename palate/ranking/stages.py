"""Stages: functions of a slate and its context that reorder, drop or score again, between candidates and rules."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields

from palate.errors import check
from palate.models.registry import register_setting
from palate.models.settings import settle
from palate.ranking.context import Context
from palate.ranking.slate import Slate


@dataclass(frozen=True, kw_only=True)
class Stage(ABC):
    """A slate in, a slate out. Subclasses are frozen dataclasses of settings, known to bundles by their names.

    pool  candidates that the stage wants to see; the largest of a pipeline wins
    """

    pool: int = 0

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        register_setting(cls)

    def __post_init__(self) -> None:
        settle(self)
        check(self.pool >= 0, "pool", self.pool, "must be 0 or more")

    def as_dict(self) -> dict[str, object]:
        """Return name and settings, of which a bundle makes the stage again."""
        return {
            "name": type(self).__name__,
            "settings": {each.name: getattr(self, each.name) for each in fields(self)},
        }

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
