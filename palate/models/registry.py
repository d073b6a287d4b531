"""Every recipe there is, and the way back from a bundle to the model it holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, cast

from palate.data.interactions import Interactions
from palate.data.ragged import Ragged
from palate.encoders.axes import Projection
from palate.encoders.encoding import Encoding
from palate.encoders.terms import Lexicon
from palate.errors import BundleError, MissingExtra
from palate.models.autoencoder import Autoencoder, AutoencoderModel
from palate.models.base import Model, Recipe
from palate.models.blend import Blend, BlendModel
from palate.models.content import Content, ContentModel
from palate.models.ease import EASE
from palate.models.embedding import Embedding, EmbeddingModel
from palate.models.hybrid import Hybrid, HybridModel
from palate.models.ials import IALS, IALSModel
from palate.models.infinite_ae import InfiniteAE, InfiniteAEModel
from palate.models.item_knn import ItemKNN
from palate.models.item_to_item import DenseItemModel, SparseItemModel
from palate.models.onnx import ExportedModel
from palate.models.popularity import Popularity, PopularityModel
from palate.models.slist import SLIST
from palate.models.transformer import Transformer, TransformerModel
from palate.store.bundles import read_bundle
from palate.store.nesting import whole

RECIPES: tuple[type[Recipe], ...] = (
    Autoencoder,
    Blend,
    Content,
    EASE,
    Embedding,
    Hybrid,
    IALS,
    InfiniteAE,
    ItemKNN,
    Popularity,
    SLIST,
    Transformer,
)
MODELS: tuple[type[Model], ...] = (
    AutoencoderModel,
    BlendModel,
    ContentModel,
    DenseItemModel,
    EmbeddingModel,
    ExportedModel,
    HybridModel,
    IALSModel,
    InfiniteAEModel,
    PopularityModel,
    SparseItemModel,
    TransformerModel,
)

# Names of settings and arrays that bundles of version 0.1 know by another one.
FORMER = {"history_hashes": "prints"}
NESTED = {kind.__name__: kind for kind in (Encoding, Lexicon, Projection, Ragged)}


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
        return model, _log(model, bundle.parts)
    except MissingExtra:
        raise
    except Exception as error:  # whatever a damaged bundle leads to
        raise BundleError(f"{folder}: this version of palate cannot rebuild the model: {error}") from error


def _log(model: Model, parts: Mapping[str, Any]) -> Interactions | None:
    if "log.users" not in parts:
        return None
    users, start, item, weight = (parts[f"log.{name}"] for name in ("users", "start", "item", "weight"))
    return Interactions(users, model.items, start, item, weight, parts.get("log.time"))


def rebuilt(about: Mapping[str, Any]) -> Recipe:
    """Build a recipe by the name and settings that JSON keeps. Raises `LookupError`, `TypeError`, `SettingError`."""
    recipe_class = _named(RECIPES, about["name"], "recipe")
    settings = {name: tuple(v) if isinstance(v, list) else v for name, v in about["settings"].items()}
    return cast(Recipe, recipe_class(**settings))


def _model(about: Mapping[str, Any], parts: Mapping[str, Any]) -> Model:
    recipe = rebuilt(about["recipe"])
    model_class = _named(MODELS, about["model"], "model")
    if "models" in about:  # of which this one is made
        parts = {**parts, "models": tuple(_model(each, _own(parts, n)) for n, each in enumerate(about["models"]))}
    own = [part.name for part in fields(cast(Any, model_class)) if part.name != "recipe"]
    kept = {name: whole(FORMER[name] if FORMER.get(name) in parts else name, parts, NESTED) for name in own}
    return cast(Model, model_class(recipe=recipe, **kept))


def _own(parts: Mapping[str, Any], n: int) -> Mapping[str, Any]:
    own = {name.removeprefix(f"{n}."): part for name, part in parts.items() if name.startswith(f"{n}.")}
    return own | {"items": parts["items"]}


def _named(classes: tuple[type, ...], name: str, kind: str) -> Any:
    for each in classes:
        if each.__name__ == name:
            return each
    known = ", ".join(each.__name__ for each in classes)
    raise LookupError(f"{kind} {name!r} is unknown; known are {known}")
