"""The one table of recipes and their models, and the way back from a bundle to the model it holds."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import numpy as np

from palate.bundles.bundle import About, read_bundle
from palate.bundles.nesting import held, whole
from palate.data.interactions import Interactions
from palate.errors import BundleError, MissingExtra, PalateError, SettingError
from palate.models.base import Model, Recipe

S = TypeVar("S")
Parts: TypeAlias = Mapping[str, Any]  # of a bundle, each of the type that its place in a model has

# Palate's own recipes and the modules that register them; a module is imported when its recipe is first asked for.
MODULES = {
    "Autoencoder": "palate.models.autoencoder",
    "Blend": "palate.models.blend",
    "Content": "palate.models.content",
    "EASE": "palate.models.ease",
    "Embedding": "palate.models.embedding",
    "Hybrid": "palate.models.hybrid",
    "IALS": "palate.models.ials",
    "InfiniteAE": "palate.models.infinite_ae",
    "ItemKNN": "palate.models.item_knn",
    "Pipeline": "palate.ranking.staged",
    "Popularity": "palate.models.popularity",
    "Private": "palate.privacy.private",
    "Ranked": "palate.ranking.ranked",
    "SessionKNN": "palate.models.session_knn",
    "SLIST": "palate.models.slist",
    "Transformer": "palate.models.transformer",
}

# Palate's own stages, which are settings of a pipeline, in the same way.
STAGES = {
    "Calibrate": "palate.ranking.calibrate",
    "Diversify": "palate.ranking.diversify",
    "LongTail": "palate.ranking.long_tail",
}


@dataclass(frozen=True)
class Entry:
    """A recipe, its models by name, the classes that their fields hold, and former names of settings and fields."""

    recipe: type[Recipe]
    models: Mapping[str, type[Model]]
    holds: Mapping[str, type]
    renamed: Mapping[str, str]


_TABLE: dict[str, Entry] = {}
_SETTINGS: dict[str, type] = {}  # other classes whose objects are settings of recipes, as stages are


def register(
    recipe: type[Recipe],
    *models: type[Model],
    holds: tuple[type, ...] = (),
    renamed: Mapping[str, str] | None = None,
) -> None:
    """Enter a recipe and the models that it fits into the table: they can be saved, loaded, nested and named in text.

    holds    dataclasses that fields of the models hold
    renamed  settings and fields by the names that older bundles know them by

    Raises `SettingError` where the recipe of another module has the name.
    """
    name = recipe.__name__
    home = _TABLE[name].recipe.__module__ if name in _TABLE else MODULES.get(name, recipe.__module__)
    if home != recipe.__module__:
        raise SettingError(f"recipe {name!r} of {recipe.__module__}: {home} has a recipe of this name")
    model_by_name = {each.__name__: each for each in models}
    _TABLE[name] = Entry(recipe, model_by_name, {each.__name__: each for each in holds}, renamed or {})


def register_setting(kind: type) -> None:
    """Enter a class of settings: recipes that hold such objects can be saved, loaded and named in text.

    Raises `SettingError` where the name is taken.
    """
    name = kind.__name__
    home = _SETTINGS[name].__module__ if name in _SETTINGS else STAGES.get(name, kind.__module__)
    if name in MODULES or name in _TABLE or home != kind.__module__:
        raise SettingError(f"{name!r} of {kind.__module__}: the name is taken")
    _SETTINGS[name] = kind


@contextmanager
def registered(recipe: type[Recipe], *models: type[Model]) -> Iterator[None]:
    """Have a recipe in the table for a while, and for good where it is in there already."""
    known = _TABLE.get(recipe.__name__)
    if known is not None and known.recipe is recipe:
        yield
        return
    register(recipe, *models)
    try:
        yield
    finally:
        del _TABLE[recipe.__name__]


def recipe_names() -> tuple[str, ...]:
    """Names of all recipes, in order of the alphabet; nothing is imported."""
    return tuple(sorted({*MODULES, *_TABLE, *_installed()}, key=str.lower))


@cache
def _installed() -> Mapping[str, str]:
    """Recipes of other packages, by entry points of the group `palate.recipes`, and the modules that enter them."""
    return {each.name: each.module for each in entry_points(group="palate.recipes")}


def recipes() -> tuple[type[Recipe], ...]:
    """Return all recipes, by name."""
    return tuple(recipe_class(name) for name in recipe_names())


def stage_class(name: str) -> type:
    """Return Palate's own stage of this name."""
    found: type = getattr(import_module(STAGES[name]), name)
    return found


def recipe_class(name: str) -> type[Recipe]:
    """Return the recipe of this name. Raises `LookupError` for an unknown one."""
    return _entry(name).recipe


def _entry(name: str) -> Entry:
    if name not in _TABLE and name in MODULES:
        import_module(MODULES[name])
    if name not in _TABLE and name in _installed():
        import_module(_installed()[name])
    if name not in _TABLE:
        raise LookupError(f"recipe {name!r} is unknown; known are {', '.join(recipe_names())}")
    return _TABLE[name]


def rebuilt(about: About) -> Recipe:
    """Build a recipe by the name and settings that JSON keeps. Raises `LookupError`, `TypeError`, `SettingError`."""
    built = _rebuilt(about)
    if not isinstance(built, Recipe):
        raise LookupError(f"{about['name']!r} is no recipe")
    return built


def _rebuilt(about: About) -> object:
    name, settings = about["name"], {name: _setting(value) for name, value in about["settings"].items()}
    renamed = _TABLE[name].renamed if name in _TABLE else {}
    return _class(name)(**{renamed.get(each, each): value for each, value in settings.items()})


def _class(name: str) -> type:
    """Return the recipe, or the class of settings, of this name. Raises `LookupError` for an unknown one."""
    if name in STAGES:
        stage_class(name)  # registers it
    return _SETTINGS[name] if name in _SETTINGS else recipe_class(name)


def _setting(value: object) -> object:
    """Return a setting of what JSON keeps of it: lists are tuples, tables of name and settings are recipes."""
    if isinstance(value, list | tuple):
        return tuple(map(_setting, value))
    if isinstance(value, Mapping) and value.keys() == {"name", "settings"}:
        return _rebuilt(value)
    return value


def as_recipe(value: object, setting: str = "recipe") -> Recipe:
    """Return the recipe that a value stands for: itself, its text as "SLIST(l2=60)", or its table in a manifest.

    Raises `SettingError`, naming the setting, for anything else.
    """
    known = f"each is a recipe with its settings, as SLIST(l2=60.0); known are {', '.join(recipe_names())}"
    return as_setting(value, Recipe, setting, known)  # type: ignore[type-abstract]


def as_setting(value: object, kind: type[S], setting: str, rule: str) -> S:
    """Return the object of a kind that a value stands for: itself, its text, or its table in a manifest.

    Raises `SettingError`, naming the setting and the rule, for anything else.
    """
    if isinstance(value, kind):
        return value
    try:
        about = value if isinstance(value, Mapping) else _call_at(ast.parse(str(value), mode="eval").body)
        built = _rebuilt(about)
    except PalateError:
        raise
    except (SyntaxError, ValueError, LookupError, TypeError, RecursionError, MemoryError):
        built = None
    if not isinstance(built, kind):
        raise SettingError(f"{setting}={value!r}: {rule}")
    return built


def _call_at(node: ast.expr) -> About:
    """Return the name and settings that a call in a text has; nothing in the text is run."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
        raise ValueError("not a name with settings")
    named = [(str(each.arg), _value_at(each.value)) for each in node.keywords]
    if node.args:
        order = [each.name for each in fields(_class(node.func.id)) if not each.kw_only]
        named += zip(order, map(_value_at, node.args), strict=False)
        if len(node.args) > len(order):
            raise ValueError("more values than settings in an order")
    if len(dict(named)) < len(named):
        raise ValueError("a setting twice")
    return {"name": node.func.id, "settings": dict(named)}


def _value_at(node: ast.expr) -> object:
    if isinstance(node, ast.Call):
        return _rebuilt(_call_at(node))
    if isinstance(node, ast.Tuple | ast.List):
        return tuple(map(_value_at, node.elts))
    return ast.literal_eval(node)


def load(folder: str | Path) -> Model:
    """Read a saved model, its arrays mapped into memory and checked.

    Raises `BundleError` for a bundle that is missing, damaged or unknown to this version.
    """
    return load_with_log(folder)[0]


def load_with_log(folder: str | Path) -> tuple[Model, Interactions | None]:
    """Read a saved model and the histories kept with it, None if there are none."""
    bundle = read_bundle(folder)
    try:
        model = _model(bundle.about, bundle.parts)
        log = _log(model, bundle.parts)
    except MissingExtra:
        raise
    except Exception as error:  # whatever a damaged bundle leads to
        raise BundleError(f"{folder}: this version of palate cannot rebuild the model: {error}") from error
    model.remember(log)
    return model, log


def _log(model: Model, parts: Parts) -> Interactions | None:
    if "log.users" not in parts:
        return None
    users, start, item, weight = (parts[f"log.{name}"] for name in ("users", "start", "item", "weight"))
    log = Interactions(users, model.items, start, item, weight, parts.get("log.time"))
    if "log.context" in parts:
        log = replace(log, context=parts["log.context"], contexts=tuple(parts["log.contexts"].ids))
    if "log.event" not in parts:
        return log
    names = tuple(parts["log.event_types"].ids)
    weights = dict(zip(names, parts.get("log.type_weights", np.zeros(0)).tolist(), strict=False))
    return replace(log, event=parts["log.event"], event_types=names, type_weights=weights)


def _model(about: About, parts: Parts) -> Model:
    entry = _entry(about["recipe"]["name"])
    if about["model"] not in entry.models:
        raise LookupError(f"model {about['model']!r} is unknown; known are {', '.join(entry.models)}")
    kept = {entry.renamed.get(name, name): part for name, part in parts.items()}
    if "models" in about:  # of which this one is made
        kept["models"] = tuple(_model(each, _parts_of(parts, n)) for n, each in enumerate(about["models"]))
    build = entry.models[about["model"]]
    own = {name: whole(name, kept, entry.holds) for name, _ in held(build, kept) if name != "recipe"}
    return build(recipe=rebuilt(about["recipe"]), **own)


def _parts_of(parts: Parts, n: int) -> Parts:
    """Parts of the n-th of the models that a model is made of."""
    own = {name.removeprefix(f"{n}."): part for name, part in parts.items() if name.startswith(f"{n}.")}
    return own | {"items": parts["items"]}
