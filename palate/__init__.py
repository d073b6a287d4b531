"""Palate: history in, ranking out. A recipe or a stage is imported when it is first asked for."""

from typing import TYPE_CHECKING

from palate.data.catalogue import Catalogue, read_catalogue
from palate.data.event_types import EventType
from palate.data.histories import Histories
from palate.data.interactions import Interactions
from palate.data.rankings import Rankings
from palate.data.readers import read_log
from palate.data.splits import Split, split_by_time, split_items, split_last, split_ratio, split_users
from palate.errors import PalateError
from palate.evaluation.compare import compare
from palate.evaluation.early import fit_until_best
from palate.evaluation.protocol import evaluate
from palate.models.approximate import approximate
from palate.models.registry import MODULES, STAGES, load, recipe_class, stage_class

if TYPE_CHECKING:
    from palate.choosing.choice import choose
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


def __getattr__(name: str) -> object:
    """Import a recipe, a stage, or what chooses one."""
    if name == "choose":
        from palate.choosing.choice import choose

        return choose
    if name in MODULES:
        return recipe_class(name)
    if name in STAGES:
        return stage_class(name)
    raise AttributeError(f"module 'palate' has no attribute {name!r}")


def __dir__() -> list[str]:
    """Names of the module, recipes that are not imported yet among them."""
    return sorted({*globals(), *__all__})
