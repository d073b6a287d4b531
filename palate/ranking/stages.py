"""Stages: functions of a slate and its context that reorder, drop or score again, between candidates and rules."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

from palate.arrays import Doubles, Floats, Longs
from palate.errors import check
from palate.kernels.rerank import ahead, scaled
from palate.models.registry import STAGES, as_setting, register_setting
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

    @property
    def attributes(self) -> tuple[str, ...]:
        """Attributes of the items that the stage reads; offline they are kept with the model."""
        return ()

    @property
    def reads_vectors(self) -> bool:
        """Whether the stage compares vectors of the items; offline they are kept with a model that has none."""
        return False

    def notes(self, context: Context) -> Iterator[str]:
        """Say what the stage reads that is not there: it leaves lists as they are."""
        unknown = map(context.masks.attributes.unknown, self.attributes)
        yield from (note for note in unknown if note is not None)
        if self.reads_vectors and context.model.item_embeddings is None:
            yield "the model has no item vectors"

    @abstractmethod
    def __call__(self, slate: Slate, context: Context, k: int) -> Slate:
        """Return items of the slate, each once, in the order of a list of k items; the rest may stay as it was.

        Neither slate nor context changes.
        """


def as_stage(value: object, setting: str = "stages") -> Stage:
    """Return the stage that a value stands for: itself, or its text, as Diversify(strength=0.3).

    Raises `SettingError`, naming the setting, for anything else.
    """
    rule = f"each is a stage with its settings, as Diversify(strength=0.3); known are {', '.join(STAGES)}"
    return as_setting(value, Stage, setting, rule)  # type: ignore[type-abstract]


def with_others(stages: Sequence[Stage], others: Sequence[Stage]) -> tuple[Stage, ...]:
    """Return stages with others behind them; one of the same kind takes the place of the one that is there."""
    kinds = {type(each): each for each in others}
    return tuple(dict.fromkeys([*(kinds.get(type(each), each) for each in stages), *others]))


def pool_of(stages: Sequence[Stage], k: int) -> int:
    """Candidates that a list of k items is made from."""
    return max([k, *(stage.pool for stage in stages)])


def run(stages: Sequence[Stage], slate: Slate, context: Context, k: int) -> Slate:
    """Send a slate through the stages, for a list of k items."""
    staged = slate
    for stage in stages:
        staged = stage(staged, context, k)
    return staged


def leading(slate: Slate) -> int:
    """Count the first items that come from one source: only their scores can be compared."""
    if not len(slate):
        return 0
    other = slate.source != slate.source[0]
    first = int(other.argmax())
    return first if other[first] else len(slate)


def relevance(score: Doubles) -> Floats:
    """Scores of a pool (N,) from 0, the worst, to 1, the best: how high they are is the affair of each model."""
    return scaled(score)


def tempered(strength: float, half: float) -> float:
    """Return the weight of a term, 0 to 1, beside that of relevance; their ratio at strength 0.5 is `half` > 0."""
    return strength * half / (1 - strength + strength * half)


def reordered(slate: Slate, order: Longs) -> Slate:
    """Put the items at these places first, the others behind them as they were.

    The scores keep their places, so that the next stage sees the new order in them.
    """
    places = ahead(order, len(slate))
    return Slate(slate.position[places], slate.score, slate.source)
