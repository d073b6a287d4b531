"""Content of items: how recipes read it from a catalogue, and what their models know by it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence

import numpy as np

from palate.arrays import Bools, Floats
from palate.data.catalogue import Catalogue
from palate.data.histories import Histories
from palate.data.interactions import Interactions
from palate.data.joins import check_join
from palate.data.ragged import Ragged
from palate.data.vocabulary import Id, Vocabulary
from palate.encoders.axes import Projection
from palate.encoders.encoding import Encoded, Encoding
from palate.encoders.fields import chosen
from palate.encoders.terms import Lexicon
from palate.errors import DataError, check
from palate.models.base import Model, Progress, Watch, refuse_empty

ITEMS_A_NUMBER = 6  # items with events for each number that a row may have: about the best on three validation parts
BETWEEN = 128, 768  # numbers of a field


def read_items(
    log: Interactions,
    catalogue: Catalogue | None,
    fields: Sequence[str],
    dim: int | None,
    seed: int,
    watch: Watch | None,
) -> tuple[Vocabulary, Encoding, Encoded]:
    """Return the items of the log, then those of the catalogue alone, and the encoded content of each.

    Raises `DataError` where there is no catalogue; warns (`JoinWarning`) where it has no item of the log.
    """
    refuse_empty(log)
    if catalogue is None:
        raise DataError("no catalogue: this recipe reads the content of items; give it as fit(log, catalogue)")

    def progress(done: int, of_all: int) -> None:
        if watch is not None:
            watch(Progress(0, 0, done / of_all, 0.0))

    check_join(log.items.recode(catalogue.items), catalogue.items.ids, log.items, "catalogue", "the log")
    if dim is None:
        dim = fitting(len(log.items), len(chosen(fields, catalogue)))
    encoding, encoded = Encoding.of(fields, catalogue, dim, seed, progress)
    items = log.items.union(catalogue.items)
    return items, encoding, encoded.on(catalogue.items.recode(items))


def fitting(items: int, fields: int) -> int:
    """Dimensions of a field whose weights this number of items with events can determine."""
    return int(np.clip(items / fields / ITEMS_A_NUMBER, *BETWEEN))


CONTENT = (Encoding, Lexicon, Projection, Ragged)  # what the fields of a `ContentBased` model hold


class ContentBased(Model):
    """A model that reads items: how, and the terms that each was found to have."""

    encoding: Encoding
    terms: Ragged

    @property
    def sizes(self) -> dict[str, int]:
        """Numbers that the words of its `Array` fields stand for."""
        return {**super().sizes, "content": int(self.encoding.blocks[-1])}

    def fault(self) -> str:
        """Say what is wrong with `terms`."""
        return self.terms.fault(len(self.items), self.encoding.terms)

    @property
    @abstractmethod
    def cold_items(self) -> Bools:
        """Items that it knows by their content alone, (I,)."""

    @abstractmethod
    def content_profile(self, histories: Histories) -> Floats:
        """Return what the histories look for in the row of an item, (B, E)."""

    def reasons(self, history: Sequence[Id], item: Id, k: int = 5) -> list[tuple[str, float]]:
        """Return the terms of an item that speak most for it, with their parts of what its content scores."""
        content_profile = self.content_profile(Histories.of(self.items, [history]))[0]
        found = self.encoding.contributions(self.terms, self.items.code(item), content_profile)
        best: list[tuple[str, float]] = []
        for term, part in sorted(found, key=lambda pair: -pair[1]):
            new = all(not said(term, other) and not said(other, term) for other, _ in best)
            if part > 0 and new and len(best) < k:
                best.append((term, part))
        return best


def said(term: str, other: str) -> bool:
    """Whether a term says nothing beyond another: all its words are among the other's."""
    return set(term.split()) <= set(other.split())


def check_reading(fields: object, dim: int | None, seed: int) -> tuple[str, ...]:
    """Raise `SettingError` for bad settings of how items are read; returns the fields."""
    named = not isinstance(fields, str) and isinstance(fields, Iterable)
    check(named, "fields", fields, "must be a list of names")
    names = tuple(fields) if isinstance(fields, Iterable) else ()
    check(all(isinstance(name, str) and name for name in names), "fields", fields, "must be a list of names")
    check(dim is None or dim >= 1, "dim", dim, "must be 1 or more, or None")
    check(0 <= seed < 2**63, "seed", seed, "must be from 0 to 2^63 - 1")
    return tuple(map(str, names))
