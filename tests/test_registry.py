"""The table of recipes: each registers itself, nests as an object, and comes back from text and from manifests."""

from __future__ import annotations

import inspect
import json
import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import block_events, log_of

import palate
from palate import (
    EASE,
    IALS,
    SLIST,
    Blend,
    Embedding,
    Hybrid,
    Interactions,
    ItemKNN,
    LongTail,
    Pipeline,
    Popularity,
    load,
)
from palate.arrays import Floats, ItemFloats
from palate.cli.settings import build_recipe
from palate.data.catalogue import Catalogue
from palate.data.histories import Histories
from palate.errors import BundleError, SettingError
from palate.models import registry
from palate.models.base import Model, Recipe, Watch
from palate.models.registry import as_recipe, rebuilt, recipe_class, recipe_names, recipes, register

INNER = Popularity()


@dataclass(frozen=True, kw_only=True)
class Constant(Recipe):
    """A recipe of somebody else's, with another one in it."""

    height: float = 1.0
    inner: Recipe = INNER

    def fit(
        self, log: Interactions, catalogue: Catalogue | None = None, *, watch: Watch | None = None
    ) -> ConstantModel:
        return ConstantModel(self, log.items, np.full(len(log.items), self.height, np.float32))


@dataclass(frozen=True, eq=False)
class ConstantModel(Model):
    recipe: Constant
    level: ItemFloats

    def scores(self, histories: Histories) -> Floats:
        return np.tile(self.level, (len(histories), 1))


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_TABLE", dict(registry._TABLE))


def test_the_table_names_every_recipe_of_the_package() -> None:
    public = {name for name in palate.__all__ if isinstance(getattr(palate, name), type)}
    own = {name for name in public if issubclass(getattr(palate, name), Recipe)}
    assert own == set(recipe_names()) == {recipe.__name__ for recipe in recipes()}
    assert set(palate.__all__) <= set(dir(palate))
    with pytest.raises(AttributeError, match="Oracle"):
        palate.Oracle  # noqa: B018


def test_nested_recipes_are_objects_at_once() -> None:
    blend = Blend(recipes=("SLIST(l2=60)", IALS(dim=8)))
    assert blend.recipes == (SLIST(l2=60), IALS(dim=8))
    assert Blend(recipes=(SLIST(l2=60), "IALS(dim=8)")) == blend
    assert all(isinstance(each, Recipe) for each in Blend().recipes)
    assert Hybrid("IALS(dim=8)").base == IALS(dim=8)


def test_nested_recipes_are_tables_in_the_manifest(tmp_path: Path) -> None:
    recipe = Blend(recipes=(EASE(l2=50), Blend(recipes=(Popularity(), "SLIST(l2=10)"), users=5)))
    recipe.fit(log_of(block_events())).save(tmp_path / "model")
    settings = json.loads((tmp_path / "model" / "manifest.json").read_text())["about"]["recipe"]["settings"]
    assert settings["recipes"][0] == {"name": "EASE", "settings": EASE(l2=50).settings()}
    inner = settings["recipes"][1]["settings"]
    assert [each["name"] for each in inner["recipes"]] == ["Popularity", "SLIST"]
    assert load(tmp_path / "model").recipe == recipe


@pytest.mark.parametrize("recipe", [Blend(recipes=("EASE()", Hybrid("Embedding(dim=4)"))), Hybrid(), SLIST(walk=1)])
def test_a_recipe_comes_back_from_its_text_its_table_and_its_settings(recipe: Any) -> None:
    assert as_recipe(repr(recipe)) == recipe
    assert rebuilt(json.loads(json.dumps(recipe.as_dict()))) == recipe
    assert type(recipe)(**recipe.settings()) == recipe
    assert as_recipe(recipe) is recipe


def test_settings_of_version_0_1_are_understood() -> None:
    inner = "Blend(recipes=('EASE(l2=3.0)', 'Popularity(half_life_days=None)'), people=7, seed=0)"
    old = {"name": "Blend", "settings": {"recipes": [inner, "SLIST(l2=60.0)"], "people": 20, "seed": 0}}
    wanted = Blend(recipes=(Blend(recipes=(EASE(l2=3), Popularity()), users=7), SLIST(l2=60)), users=20)
    assert rebuilt(old) == wanted
    text = {"name": "Hybrid", "settings": {"base": "Embedding(dim=4)", "fields": ["title"], "dim": None}}
    assert rebuilt(text) == Hybrid(Embedding(dim=4), fields=("title",))


def test_the_fingerprints_of_a_saved_embedding_keep_their_former_name(tmp_path: Path) -> None:
    log = log_of(block_events())
    model = Embedding(dim=4, epochs=1).fit(log)
    model.save(tmp_path / "model")
    manifest = tmp_path / "model" / "manifest.json"
    (tmp_path / "model" / "history_hashes.npy").rename(tmp_path / "model" / "prints.npy")
    body = json.loads(manifest.read_text().replace("history_hashes", "prints"))
    del body["crc32"]
    manifest.write_text(json.dumps(body | {"crc32": registry_crc(body)}))
    np.testing.assert_array_equal(load(tmp_path / "model").scores(log.histories()), model.scores(log.histories()))


def registry_crc(body: dict[str, Any]) -> str:
    from palate.bundles import bundle as bundles

    return bundles._body_crc32(body)


@pytest.mark.parametrize(
    "text",
    [
        *("SLIST", "SLIST(3)", "Best()", "EASE(l2=open('x'))", "EASE(**{'l2': 3})", "", "EASE(l2=1) + EASE()", "3"),
        "(" * 500 + ")" * 500,
    ],
)
def test_text_that_is_no_recipe_is_refused(text: str) -> None:
    with pytest.raises(SettingError, match=r"recipes=.*: each is a recipe with its settings, as SLIST\(l2=60.0\)"):
        as_recipe(text, "recipes")
    with pytest.raises(SettingError, match="each is a recipe"):
        Blend(recipes=(text,))


def test_a_bad_setting_within_a_text_is_named() -> None:
    with pytest.raises(SettingError, match=r"l2=-1: must be above 0"):
        as_recipe("Blend(recipes=(EASE(l2=-1),))")


@pytest.mark.usefixtures("table")
def test_a_recipe_of_others_is_saved_loaded_and_named_in_text(tmp_path: Path) -> None:
    log = log_of(block_events())
    recipe = Constant(height=2, inner=EASE(l2=5))
    recipe.fit(log).save(tmp_path / "model")
    with pytest.raises(BundleError, match="recipe 'Constant' is unknown; known are Autoencoder"):
        load(tmp_path / "model")
    register(Constant, ConstantModel)
    register(Constant, ConstantModel)  # as a notebook does that runs a cell again
    assert load(tmp_path / "model").recipe == recipe
    assert as_recipe("Constant(height=2.0, inner=EASE(l2=5))") == recipe
    assert Blend(recipes=("Constant()",)).fit(log).models[0].recipe == Constant()
    assert recipe_class("Constant") is Constant
    assert build_recipe("constant", ["height=3"]) == Constant(height=3)


@pytest.mark.usefixtures("table")
def test_a_name_is_taken_once() -> None:
    other = type("EASE", (Constant,), {"__module__": "theirs"})
    with pytest.raises(
        SettingError, match=r"recipe 'EASE' of theirs: palate\.models\.ease has a recipe of this name"
    ):
        register(other, ConstantModel)


def test_the_command_line_takes_nested_recipes() -> None:
    wanted = Blend(recipes=(SLIST(l2=60, walk=1), Blend(recipes=(EASE(), Popularity()))))
    text = "recipes=SLIST(l2=60, walk=1), Blend(recipes=(EASE(), Popularity()))"
    assert build_recipe("blend", [text]) == wanted
    assert build_recipe("hybrid", ["base=IALS(dim=8)", "fields=title,kind"]) == Hybrid(
        IALS(dim=8), fields=("title", "kind")
    )


def test_settings_are_read_and_changed_as_in_scikit_learn() -> None:
    recipe = Hybrid(IALS(dim=8), fields=("title",))
    assert recipe.get_params(deep=False).keys() == {each.name for each in fields(recipe)}
    assert recipe.get_params()["base"] is recipe.base
    assert recipe.get_params()["base__dim"] == 8
    other = recipe.set_params(base__dim=4, base__epochs=2, fields=())
    assert other == Hybrid(IALS(dim=4, epochs=2))
    assert recipe == Hybrid(IALS(dim=8), fields=("title",))  # which never changes
    assert recipe.set_params(base=IALS(), base__dim=2) == Hybrid(IALS(dim=2), fields=("title",))
    for each in (recipe, ItemKNN(), Pipeline(EASE(), (LongTail(0.2),))):
        assert type(each)(**each.get_params(deep=False)) == each == each.set_params(**each.get_params())
    for wrong, rule in (
        ({"size": 3}, "size=3: ItemKNN has no such setting; known are neighbours"),
        ({"neighbours__k": 3}, "neighbours__k=3: neighbours holds no recipe"),
        ({"neighbours": "many"}, "neighbours='many': must be a whole number"),
    ):
        with pytest.raises(SettingError, match=f"^{rule}"):
            ItemKNN().set_params(**wrong)


def test_a_recipe_of_another_package_is_found_by_its_entry_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = inspect.getsource(Constant) + "\n\n" + inspect.getsource(ConstantModel)
    header = "\n".join(
        line for line in Path(__file__).read_text().split("INNER =")[0].splitlines() if "conftest" not in line
    )
    module = f"{header}\nINNER = Popularity()\n\n\n{source}\n\nregister(Constant, ConstantModel)\n"
    (tmp_path / "ours.py").write_text(module.replace("Constant", "Installed"))
    (tmp_path / "ours-1.0.dist-info").mkdir()
    (tmp_path / "ours-1.0.dist-info" / "METADATA").write_text("Name: ours\nVersion: 1.0\n")
    (tmp_path / "ours-1.0.dist-info" / "entry_points.txt").write_text(
        "[palate.recipes]\nInstalled = ours:Installed\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    registry._installed.cache_clear()
    try:
        assert "Installed" in recipe_names()
        recipe = build_recipe("installed", ["height=3"])
        recipe.fit(log_of(block_events())).save(tmp_path / "model")
        monkeypatch.delitem(registry._TABLE, "Installed")
        del sys.modules["ours"]
        again = load(tmp_path / "model")  # imports the module
        assert (type(again).__name__, again.recipe.settings()["height"]) == ("InstalledModel", 3.0)
    finally:
        registry._installed.cache_clear()
        registry._TABLE.pop("Installed", None)
