"""The list in the making: items with their scores and sources, as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from palate.arrays import Doubles, Floats, Longs
from palate.ranking.request import SOURCES, Source

Codes: TypeAlias = NDArray[np.int8]
CODE = {name: code for code, name in enumerate(SOURCES)}


@dataclass(frozen=True, eq=False)
class Slate:
    """N items in the order of the list; it never changes.

    position  in the catalogue, (N,); score (N,); source: places in `SOURCES`, (N,)
    """

    position: Longs
    score: Doubles
    source: Codes

    @classmethod
    def of(cls, position: Longs, score: Doubles | Floats | Longs, source: Source) -> Slate:
        """Make a slate of items of one source."""
        return cls(position, score.astype(np.float64), np.full(len(position), CODE[source], np.int8))

    @classmethod
    def joined(cls, parts: Sequence[Slate]) -> Slate:
        """Put slates one behind the other."""
        if len(parts) == 1:
            return parts[0]
        if not parts:
            return EMPTY
        return cls(
            *(np.concatenate([getattr(part, name) for part in parts]) for name in ("position", "score", "source"))
        )

    def __len__(self) -> int:
        return len(self.position)

    def take(self, places: Longs | slice) -> Slate:
        """Return the items at these places, in this order."""
        return Slate(self.position[places], self.score[places], self.source[places])


EMPTY = Slate(np.zeros(0, np.int64), np.zeros(0), np.zeros(0, np.int8))
