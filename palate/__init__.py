"""Palate: history in, ranking out. What is named here is imported when it is first asked for."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from palate.choosing.choice import choose
    from palate.data.catalogue import Catalogue, read_catalogue
    from palate.data.event_types import EventType
    from palate.data.histories import Histories
    from palate.data.interactions import Interactions
    from palate.data.rankings import Rankings
    from palate.data.readers import read_log
    from palate.data.splits import Split, split_by_time, split_items, split_last, split_ratio, split_users
    from palate.errors import PalateError
    from palate.evaluation.compare import compare
    from palate.evaluation.cross import cross_validate
    from palate.evaluation.early import fit_until_best
    from palate.evaluation.protocol import evaluate
    from palate.models.approximate import approximate
    from palate.models.autoencoder import Autoencoder
    from palate.models.blend import Blend
    from palate.models.content import Content
    from palate.models.ease import EASE
    from palate.models.embedding import Embedding
    from palate.models.hybrid import Hybrid
    from palate.models.ials import IALS
    from palate.models.infinite_ae import InfiniteAE
    from palate.models.item_knn import ItemKNN
    from palate.models.popularity import Popularity
    from palate.models.registry import load
    from palate.models.session_knn import SessionKNN
    from palate.models.slist import SLIST
    from palate.models.transformer import Transformer
    from palate.privacy.private import Private
    from palate.ranking.calibrate import Calibrate
    from palate.ranking.diversify import Diversify
    from palate.ranking.long_tail import LongTail
    from palate.ranking.ranked import Ranked
    from palate.ranking.staged import Pipeline

__version__ = "0.2.0"
__all__ = [
    "EASE",
    "IALS",
    "SLIST",
    "Autoencoder",
    "Blend",
    "Calibrate",
    "Catalogue",
    "Content",
    "Diversify",
    "Embedding",
    "EventType",
    "Histories",
    "Hybrid",
    "InfiniteAE",
    "Interactions",
    "ItemKNN",
    "LongTail",
    "PalateError",
    "Pipeline",
    "Popularity",
    "Private",
    "Ranked",
    "Rankings",
    "SessionKNN",
    "Split",
    "Transformer",
    "approximate",
    "choose",
    "compare",
    "cross_validate",
    "evaluate",
    "fit_until_best",
    "load",
    "read_catalogue",
    "read_log",
    "split_by_time",
    "split_items",
    "split_last",
    "split_ratio",
    "split_users",
]
# Modules of what is neither a recipe nor a stage: those are in the tables of `palate.models.registry`.
HOMES = {
    "choose": "palate.choosing.choice",
    "Catalogue": "palate.data.catalogue",
    "read_catalogue": "palate.data.catalogue",
    "EventType": "palate.data.event_types",
    "Histories": "palate.data.histories",
    "Interactions": "palate.data.interactions",
    "Rankings": "palate.data.rankings",
    "read_log": "palate.data.readers",
    "Split": "palate.data.splits",
    "split_by_time": "palate.data.splits",
    "split_items": "palate.data.splits",
    "split_last": "palate.data.splits",
    "split_ratio": "palate.data.splits",
    "split_users": "palate.data.splits",
    "PalateError": "palate.errors",
    "compare": "palate.evaluation.compare",
    "cross_validate": "palate.evaluation.cross",
    "fit_until_best": "palate.evaluation.early",
    "evaluate": "palate.evaluation.protocol",
    "approximate": "palate.models.approximate",
    "load": "palate.models.registry",
}


def __getattr__(name: str) -> object:
    """Import what a public name stands for, or a room of the package."""
    if name in HOMES:
        return getattr(import_module(HOMES[name]), name)
    if name in __all__:
        from palate.models.registry import STAGES, recipe_class, stage_class

        return stage_class(name) if name in STAGES else recipe_class(name)
    try:
        return import_module(f"palate.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"palate.{name}":
            raise
        raise AttributeError(f"module 'palate' has no attribute {name!r}") from None


def __dir__() -> list[str]:
    """Names of the module, those that are not imported yet among them."""
    return sorted({*globals(), *__all__})
