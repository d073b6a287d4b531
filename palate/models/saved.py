"""Every recipe there is, and the way back from a bundle to the model it holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, cast

from palate.data.interactions import Interactions
from palate.errors import BundleError, SettingError
from palate.models.base import Model, Recipe
from palate.models.ease import EASE
from palate.models.embedding import Embedding, EmbeddingModel
from palate.models.ials import IALS, IALSModel
from palate.models.item_knn import ItemKNN
from palate.models.item_to_item import DenseItemModel, SparseItemModel
from palate.models.popularity import Popularity, PopularityModel
from palate.models.slist import SLIST
from palate.store.bundles import Part, read_bundle

RECIPES: tuple[type[Recipe], ...] = (EASE, Embedding, IALS, ItemKNN, Popularity, SLIST)
MODELS: tuple[type[Model], ...] = (DenseItemModel, EmbeddingModel, IALSModel, PopularityModel, SparseItemModel)


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
    except (LookupError, TypeError, SettingError) as error:
        raise BundleError(f"{folder}: this version of palate cannot rebuild the model: {error}") from error
    if "log.users" not in bundle.parts:
        return model, None
    users, start, item, weight = (
        cast(Any, bundle.parts[f"log.{name}"]) for name in ("users", "start", "item", "weight")
    )
    return model, Interactions(users, model.items, start, item, weight)


def _model(about: Mapping[str, Any], parts: Mapping[str, Part]) -> Model:
    recipe_class = _named(RECIPES, about["recipe"]["name"], "recipe")
    model_class = _named(MODELS, about["model"], "model")
    settings = {name: tuple(v) if isinstance(v, list) else v for name, v in about["recipe"]["settings"].items()}
    kept = {part.name: parts[part.name] for part in fields(cast(Any, model_class)) if part.name != "recipe"}
    return cast(Model, model_class(recipe=recipe_class(**settings), **kept))


def _named(classes: tuple[type, ...], name: str, kind: str) -> Any:
    for each in classes:
        if each.__name__ == name:
            return each
    known = ", ".join(each.__name__ for each in classes)
    raise LookupError(f"{kind} {name!r} is unknown; known are {known}")
