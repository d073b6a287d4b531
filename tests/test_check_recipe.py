"""`palate.testing.check_recipe` names the rule that a recipe breaks; test_contract.py checks the own recipes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import count
from typing import Any, ClassVar

import numpy as np
import pytest

from palate import EASE, Interactions, Popularity
from palate.arrays import Bools, Floats, Ints, ItemFloats
from palate.data.catalogue import Catalogue
from palate.data.histories import Histories
from palate.data.rankings import Rankings
from palate.data.vocabulary import Id
from palate.errors import DataError, SettingError
from palate.models import registry
from palate.models.base import Model, Recipe, Watch, refuse_empty
from palate.testing import BrokenRule, check_recipe

CALLS = count()


@dataclass(frozen=True, eq=False)
class CountedModel(Model):
    count: ItemFloats

    def scores(self, histories: Histories) -> Floats:
        return np.tile(self.count, (len(histories), 1))


@dataclass(frozen=True, kw_only=True)
class Counted(Recipe):
    """Rank by the number of events: a whole recipe of somebody else's, which each broken one spoils in one way."""

    power: float = 1.0
    model: ClassVar[type[CountedModel]] = CountedModel

    def fit(self, log: Interactions, catalogue: Catalogue | None = None, *, watch: Watch | None = None) -> Model:
        refuse_empty(log)
        return self.model(self, log.items, self.count(log) ** np.float32(self.power))

    def count(self, log: Interactions) -> Floats:
        return np.bincount(log.item[log.weight > 0], minlength=len(log.items)).astype(np.float32)


class Doubles(CountedModel):
    def scores(self, histories: Histories) -> Any:
        return super().scores(histories).astype(np.float64)


class Holes(CountedModel):
    def scores(self, histories: Histories) -> Floats:
        scores = super().scores(histories)
        scores[:, 3] = np.nan
        return scores


class OneRow(CountedModel):
    def scores(self, histories: Histories) -> Floats:
        return self.count[None]


class ShowsSeen(CountedModel):
    def top(self, histories: Histories, k: int, allowed: Bools, keep_seen: bool) -> tuple[Ints, Floats]:
        return super().top(histories, k, allowed, True)


class ShowsAll(CountedModel):
    def top(self, histories: Histories, k: int, allowed: Bools, keep_seen: bool) -> tuple[Ints, Floats]:
        return super().top(histories, k, np.ones_like(allowed), keep_seen)


class Backwards(CountedModel):
    def top(self, histories: Histories, k: int, allowed: Bools, keep_seen: bool) -> tuple[Ints, Floats]:
        item, score = super().top(histories, k, allowed, keep_seen)
        return item[:, ::-1], score[:, ::-1]


class Crowd(CountedModel):
    def scores(self, histories: Histories) -> Floats:
        scores = super().scores(histories)
        scores[:, 1] += len(histories)
        return scores


class Stranger(CountedModel):
    def explain(self, history: Any, item: Any, k: Any = None) -> Any:
        return [("i7", 1.0)]


class AnyK(CountedModel):
    def recommend(self, histories: Any = None, k: Any = 10, **more: Any) -> Rankings:
        return super().recommend(histories, int(k) if isinstance(k, int | np.integer) and k > 0 else 1, **more)


class Mirror(CountedModel):
    def item_similarity(self, item: int) -> Floats:
        return self.count

    def similar_items(self, items: Iterable[Id], k: int = 10, **more: Any) -> Rankings:
        return self.recommend([[] for _ in items], k, **more)


class Lossy(CountedModel):
    def written(self) -> Any:
        parts, manifest = super().written()
        return parts | {"count": self.count[::-1].copy()}, manifest


class Random(Counted):
    def count(self, log: Interactions) -> Floats:
        return super().count(log) + np.float32(next(CALLS))


class Careless(Counted):
    def fit(self, log: Interactions, catalogue: Catalogue | None = None, *, watch: Watch | None = None) -> Model:
        return CountedModel(self, log.items, self.count(log))


class Writing(Counted):
    def count(self, log: Interactions) -> Floats:
        log.weight[:] = 1
        return super().count(log)


class Counting(Counted):
    def count(self, log: Interactions) -> Floats:
        return np.bincount(log.item, np.abs(log.weight), len(log.items)).astype(np.float32)


class Narrow(Counted):
    def count(self, log: Interactions) -> Floats:
        if len(log) < 3:
            raise ValueError("too small")
        return super().count(log)


class Forgetful(Counted):
    def fit(self, log: Interactions, catalogue: Catalogue | None = None, *, watch: Watch | None = None) -> Model:
        refuse_empty(log)
        return CountedModel(Counted(power=9), log.items, self.count(log))


class Never(Counted):
    def count(self, log: Interactions) -> Floats:
        raise DataError("never")


def built(kind: type[CountedModel] | type[Counted]) -> Recipe:
    """A recipe of this class, or of models of this class."""
    frozen: Any = dataclass(frozen=True, eq=not issubclass(kind, Model))(kind)
    if issubclass(kind, Recipe):
        return frozen()  # type: ignore[no-any-return]
    return built(type(kind.__name__, (Counted,), {"model": frozen}))


BROKEN: list[tuple[type[Any], str]] = [
    (Doubles, "scores are finite float32"),
    (Holes, "scores are finite float32.*30 scores are not finite"),
    (OneRow, r"scores are finite float32.*shape of the scores: found \(1, 20\)"),
    (Backwards, "the ranking is the order of the scores"),
    (ShowsSeen, "seen items are left out"),
    (ShowsAll, "only and exclude"),
    (AnyK, "k is a whole number.*k=0: must raise SettingError, raised nothing"),
    (Crowd, "stands for itself"),
    (Stranger, "explanations come from the history"),
    (Mirror, "similar items keep"),
    (Lossy, "a saved model answers the same"),
    (Random, "fits again"),
    (Careless, "a log without weight is refused.*must raise DataError, raised nothing"),
    (Writing, "leaves the log as it is.*read-only"),
    (Counting, "a dislike is no like"),
    (Narrow, "ValueError: too small"),
    (Forgetful, "settings say all of a recipe.*power"),
]


def test_a_whole_recipe_passes_and_leaves_no_trace() -> None:
    before = dict(registry._TABLE)
    assert check_recipe(Counted()) is None  # type: ignore[func-returns-value]
    assert check_recipe(Counted(power=0.5)) is None  # type: ignore[func-returns-value]
    assert before == registry._TABLE


@pytest.mark.parametrize(("kind", "rule"), BROKEN, ids=lambda each: getattr(each, "__name__", ""))
def test_a_broken_rule_is_named(kind: type[Any], rule: str) -> None:
    with pytest.raises(BrokenRule, match=rf"(?s)^{kind.__name__} breaks the rule '.*{rule}"):
        check_recipe(built(kind))


def test_a_recipe_that_is_no_recipe_is_refused() -> None:
    wrong: list[Any] = [EASE, "EASE()", None, Popularity().fit]
    for each in wrong:
        with pytest.raises(SettingError, match=r"recipe=.*: must be a recipe, as EASE\(l2=100\)"):
            check_recipe(each)


def test_an_error_of_the_fit_is_kept_as_the_cause() -> None:
    with pytest.raises(BrokenRule, match="DataError: never") as caught:
        check_recipe(built(Never))
    assert isinstance(caught.value.__cause__, DataError)
