"""A writer: facts in, a draft out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from palate.describe.facts import Facts

MOST_TOKENS = 120  # of a draft


@dataclass(frozen=True)
class Draft:
    """Sentences without a title line, not yet checked, and the tokens that were read and written for them."""

    text: str
    tokens: int


class Writer(Protocol):
    """A language model."""

    @property
    def name(self) -> str:
        """Name of the model, as lines and the cache know it."""

    def write(self, facts: Facts, language: str, style: str, refused: Sequence[str]) -> Draft:
        """Write a draft; `refused` holds the faults of the one before. Raises `WriterError`, `MissingExtra`."""
