"""Palate: history in, ranking out."""

from palate.data.catalogue import Catalogue, read_catalogue
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
from palate.models.saved import load
from palate.models.slist import SLIST
from palate.models.transformer import Transformer

__version__ = "0.2.0"
__all__ = [
    "EASE",
    "IALS",
    "SLIST",
    "Autoencoder",
    "Blend",
    "Catalogue",
    "Content",
    "Embedding",
    "Histories",
    "Hybrid",
    "InfiniteAE",
    "Interactions",
    "ItemKNN",
    "PalateError",
    "Popularity",
    "Rankings",
    "Split",
    "Transformer",
    "approximate",
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
