"""Palate: history in, ranking out."""

from palate.data.interactions import Interactions
from palate.data.vocabulary import Vocabulary
from palate.models.popularity import Popularity

__all__ = ["Interactions", "Popularity", "Vocabulary"]
