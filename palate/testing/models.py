"""Rules of recipes and models as values: settings, bundles, threads, numbers that are not finite."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import FrozenInstanceError, fields, is_dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from palate.arrays import Floats
from palate.data.histories import Histories
from palate.errors import ModelError, SettingError
from palate.models.base import Model
from palate.models.registry import load, registered
from palate.testing.case import Case, expect, expect_close, expect_equal, expect_error
from palate.testing.logs import USERS

NUMPY: dict[type, type] = {int: np.int64, float: np.float64, bool: np.bool_, str: np.str_}


def recipes_and_models_are_frozen_dataclasses(case: Case) -> None:
    """Check that no field can be set after it is built."""
    for thing in (case.recipe, case.model):
        name = type(thing).__name__
        expect(is_dataclass(thing) and "__dataclass_fields__" in vars(type(thing)), f"{name} is no dataclass")
        for each in fields(thing):
            expect_error(FrozenInstanceError, lambda: setattr(thing, each.name, None), f"{name}.{each.name} is set")  # noqa: B023


def settings_say_all_of_a_recipe(case: Case) -> None:
    """Check that `settings()` is JSON and builds the same recipe, and that the model's recipe has each setting."""
    recipe = case.recipe
    expect_equal(type(recipe)(**recipe.settings()), recipe, "the recipe of its own settings")
    json.dumps(recipe.settings())
    kept = case.model.recipe.settings()  # None may stand for a default that the fit chose
    lost = {name: value for name, value in recipe.settings().items() if value not in (None, kept.get(name))}
    expect_equal(lost, {}, "settings that the recipe of the model lacks")


def settings_may_be_numbers_of_numpy(case: Case) -> None:
    """Check that numbers, truths and texts of numpy become python's own."""
    settings = case.recipe.settings()
    given = {name: NUMPY.get(type(value), lambda each: each)(value) for name, value in settings.items()}
    same = type(case.recipe)(**given)
    expect_equal(same, case.recipe, "the recipe of numbers of numpy")
    expect_equal(repr(same), repr(case.recipe), "what it prints")
    expect_equal(json.dumps(same.settings()), json.dumps(settings), "its settings")


def settings_of_another_type_are_refused(case: Case) -> None:
    """Check that 2.5 is no whole number, "10" and True are no numbers: `SettingError`."""
    for each in fields(case.recipe):
        kind = str(each.type)
        wrong: list[object] = []
        if kind.startswith(("int", "float")):
            wrong += ["10", True, np.True_, [1], 1j]
        if kind.startswith("int"):
            wrong += [2.5, np.float32(2)]
        if kind == "bool":
            wrong += ["true", 1, np.int64(0), None]
        for value in wrong:
            changed: dict[str, object] = {each.name: value}
            expect_error(SettingError, lambda: replace(case.recipe, **changed), f"{each.name}={value!r}")  # noqa: B023


def a_saved_model_answers_the_same(case: Case) -> None:
    """Check that a model that is saved and loaded has the same recipe, scores and lists."""
    model, log = case.model, case.log
    with TemporaryDirectory() as home, registered(type(model.recipe), type(model)):
        model.save(Path(home) / "model")
        loaded = load(Path(home) / "model")
        expect_equal(loaded.recipe, model.recipe, "recipe of the loaded model")
        for asked in (log.histories(), Histories.of(log.items, [["i0", "i5"], [], ["i19"]])):
            scores = loaded.scores(loaded.histories(asked))
            expect_close(scores, model.scores(model.histories(asked)), "scores of the loaded model")
            expect_equal(loaded.recommend(asked, 7).lists(), model.recommend(asked, 7).lists(), "its lists")


def threads_share_a_model(case: Case) -> None:
    """Check that lists that four threads ask for at once are those of one thread."""
    histories = case.log.histories()

    def asked(n: int) -> object:
        return case.model.recommend(histories.block(n, n + 1), 5).lists()

    alone = [asked(n) for n in range(USERS)]
    with ThreadPoolExecutor(4) as pool:
        expect_equal(list(pool.map(asked, list(range(USERS)) * 4)), alone * 4, "lists of four threads")


def numbers_that_are_not_finite_are_refused(case: Case) -> None:
    """Check that neither is a model built with one, nor is it saved: `ModelError`."""
    for name, array in float_arrays(case.model):
        spoilt = array.copy()
        spoilt.flat[-1] = np.nan
        changed: dict[str, Any] = {name: spoilt}
        expect_error(ModelError, lambda: replace(case.model, **changed), f"a model with a NaN in {name}")  # noqa: B023


def float_arrays(model: Model) -> Iterator[tuple[str, Floats]]:
    """Fields of a model that are arrays of floats, with their names."""
    for each in fields(model):
        value = getattr(model, each.name)
        if isinstance(value, np.ndarray) and value.dtype.kind == "f" and value.size:
            yield each.name, value
