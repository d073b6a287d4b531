"""`name=value` as a user types it, turned into what a recipe, `read_log` or `read_catalogue` takes."""

from __future__ import annotations

import re
import types
from collections.abc import Iterable, Sequence
from dataclasses import MISSING, fields
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, Union, get_args, get_origin, get_type_hints

import typer

from palate.errors import SettingError, require
from palate.evaluation.picture import MATPLOTLIB
from palate.models.base import Recipe
from palate.models.registry import recipe_class, recipe_names

NAMED = re.compile(r"\w+=")  # how a setting begins
READ_NAMES = (
    *("user", "item", "time", "weight", "event", "event_id", "context", "weights", "min_weight"),
    *("time_unit", "time_format", "ids", "separator", "decimal", "encoding", "header", "on_error"),
)
CATALOGUE_NAMES = (
    *("item", "title", "text", "categories", "price", "image", "audio", "available"),
    *("ids", "separator", "decimal", "encoding", "header", "on_error"),
)
Settings: TypeAlias = Annotated[
    list[str],
    typer.Option(
        "--set", metavar="NAME=VALUE", default_factory=list, show_default=False, help="A setting of the recipe."
    ),
]
Reading: TypeAlias = Annotated[
    list[str],
    typer.Option(
        "--read", metavar="NAME=VALUE", default_factory=list, show_default=False, help="Passed to read_log."
    ),
]
CatalogueReading: TypeAlias = Annotated[
    list[str],
    typer.Option(
        "--read-catalogue",
        metavar="NAME=VALUE",
        default_factory=list,
        show_default=False,
        help="Passed to read_catalogue.",
    ),
]
Hide: TypeAlias = Annotated[
    list[str],
    typer.Option(
        "--hide",
        metavar="TYPE[=DAYS]",
        default_factory=list,
        show_default=False,
        help="Hide items of such events only.",
    ),
]
Hidden: TypeAlias = list[str] | dict[str, float] | None
Stages: TypeAlias = Annotated[
    list[str],
    typer.Option(
        "--stage",
        metavar="STAGE",
        default_factory=list,
        show_default=False,
        help="Behind it: Diversify(0.3).",
    ),
]


def recipe_of(name: str) -> type[Recipe]:
    """Return the recipe of this name on the command line."""
    by_name = {each.lower(): each for each in recipe_names()}
    if name not in by_name:
        raise typer.BadParameter(f"recipe {name!r} is unknown; known are {', '.join(sorted(by_name))}")
    return recipe_class(by_name[name])


def staged_recipe(name: str, settings: Iterable[str], stages: Sequence[str]) -> Recipe:
    """Build a recipe, a pipeline where it has stages behind it, given as texts."""
    return staged(build_recipe(name, settings), stages)


def staged(recipe: Recipe, stages: Sequence[str]) -> Recipe:
    """Return a recipe with stages behind it, given as texts."""
    if not stages:
        return recipe
    from palate.ranking.staged import Pipeline
    from palate.ranking.stages import as_stage

    return Pipeline(recipe, tuple(as_stage(each, "--stage") for each in stages))


def build_recipe(name: str, settings: Iterable[str]) -> Recipe:
    """Build a recipe from its name and `setting=value` texts. Raises `MissingExtra` without the packages of a fit."""
    recipe = recipe_of(name)
    hints = get_type_hints(recipe)
    known = [field.name for field in fields(recipe)]
    values = {}
    for setting, text in split_pairs(settings, "--set"):
        if setting not in known:
            raise SettingError(f"{name} has no setting {setting!r}; known are {', '.join(known)}")
        values[setting] = parse(setting, text, hints[setting])
    required = [field.name for field in fields(recipe) if field.default is MISSING]
    for setting in required:
        if setting not in values:
            raise SettingError(f"{name} needs a setting {setting!r}; give it as --set {setting}=VALUE")
    built = recipe(**values)
    require(built.needs())
    return built


def private_recipe(name: str, settings: Iterable[str], epsilon: float | None, public: bool) -> Recipe:
    """Build a recipe, private with an epsilon; `public`: its list of items is no secret."""
    recipe = build_recipe(name, settings)
    if epsilon is None:
        if public:
            raise typer.BadParameter("--public-items goes with --epsilon")
        return recipe
    from palate.privacy.private import Private

    return Private(recipe, epsilon=epsilon, public=public)


def check_picture(plot: Path | None) -> None:
    """Refuse a picture that could not be drawn, before any work."""
    if plot is None:
        return
    if plot.suffix not in (".png", ".svg"):
        raise typer.BadParameter(f"--plot {plot}: a picture is a .png or .svg file")
    require([MATPLOTLIB])


def build_recipes(names: Sequence[str], settings: Sequence[str]) -> dict[str, Recipe]:
    """Build several recipes, each with settings of its own behind its name: `itemknn:similarity=bm25,neighbours=50`.

    Other settings name their recipe (`embedding.dim=32`) when there are several.
    """
    split = {name: name.partition(":") for name in names}
    shared: dict[str, list[str]] = {recipe: [] for recipe, _, _ in split.values()}
    for text in settings:
        name, _, value = text.partition("=")
        owner, dot, setting = name.partition(".")
        if dot and owner in shared:
            shared[owner].append(f"{setting}={value}")
        elif len(shared) == 1:
            next(iter(shared.values())).append(text)
        else:
            raise typer.BadParameter(f"--set {text}: say whose setting it is, as in {next(iter(shared))}.{text}")
    return {name: build_recipe(recipe, [*shared[recipe], *_listed(own)]) for name, (recipe, _, own) in split.items()}


def _listed(settings: str) -> list[str]:
    """Split settings at the commas that a name and `=` follow, so that a value may be a list."""
    found: list[str] = []
    for text in _entries(settings) if settings else ():
        if found and not NAMED.match(text):
            found[-1] += f",{text}"
        else:
            found.append(text)
    return found


def read_settings(texts: Iterable[str]) -> dict[str, Any]:
    """Return the arguments of `read_log` from `--read` options, e.g. `user=client`, `weights=view:1,buy:5`."""
    values: dict[str, Any] = {}
    for name, text in _known(texts, "--read", READ_NAMES):
        if name == "weights":
            pairs = (each.rpartition(":") for each in text.split(","))
            values[name] = {event: parse("weights", weight, float) for event, _, weight in pairs}
        elif name in ("context", "event_id"):
            values[name] = text.split(",")
        else:
            values[name] = parse(name, text, float) if name == "min_weight" else text
    return values


def hidden_types(texts: Sequence[str]) -> Hidden:
    """Return the `hide` of `recommend` from `--hide` options: event types, all or none of them with days."""
    if not any("=" in text for text in texts):
        return [*texts] or None
    return {name: parse(f"--hide {name}", days, float) for name, days in split_pairs(texts, "--hide")}


def catalogue_settings(texts: Iterable[str]) -> dict[str, str]:
    """Return the arguments of `read_catalogue` from `--read-catalogue` options, e.g. `item=sku`, `on_error=skip`."""
    return dict(_known(texts, "--read-catalogue", CATALOGUE_NAMES))


def _known(texts: Iterable[str], option: str, known: Sequence[str]) -> list[tuple[str, str]]:
    """Split each text; raises `SettingError` for a name that is not known."""
    pairs = split_pairs(texts, option)
    for name, _ in pairs:
        if name not in known:
            raise SettingError(f"{option} has no {name!r}; known are {', '.join(known)}")
    return pairs


def split_pairs(texts: Iterable[str], option: str) -> list[tuple[str, str]]:
    """Split each text at its first `=`."""
    pairs = [text.partition("=") for text in texts]
    for name, sign, value in pairs:
        if not sign or not name:
            raise typer.BadParameter(f"{option} {name}{sign}{value}: write it as name=value")
    return [(name, value) for name, _, value in pairs]


def parse(name: str, text: str, hint: object) -> Any:
    """Read a value of the type that a field declares; raises `SettingError` naming the field and the type."""
    for kind in _alternatives(hint):
        try:
            return _read(text, kind)
        except ValueError:
            continue
    raise SettingError(f"{name}={text!r}: must be {_describe(hint)}")


def _alternatives(hint: object) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def _read(text: str, kind: Any) -> object:
    if get_origin(kind) is tuple:
        return tuple(_read(each, _alternatives(get_args(kind)[0])[0]) for each in _entries(text))
    if get_origin(kind) is Literal:
        return _one_of(text, {str(choice): choice for choice in get_args(kind)})
    if kind is bool:
        return _one_of(text, {"true": True, "false": False})
    if kind is type(None):
        return _one_of(text, {"none": None})
    return kind(text)


def _entries(text: str) -> list[str]:
    """Split a list at its commas, not within parentheses."""
    depth = accumulate((character == "(") - (character == ")") for character in text)
    cuts = [
        n for n, (character, level) in enumerate(zip(text, depth, strict=True)) if character == "," and level == 0
    ]
    return [text[low + 1 : high].strip() for low, high in pairwise([-1, *cuts, len(text)])]


def _one_of(text: str, choices: dict[str, object]) -> object:
    if text not in choices:
        raise ValueError(text)
    return choices[text]


def _describe(hint: object) -> str:
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "text", type(None): "none"}
    kinds = _alternatives(hint)
    texts = [" or ".join(map(str, get_args(k))) if get_origin(k) is Literal else names.get(k, str(k)) for k in kinds]
    return " or ".join(texts)
