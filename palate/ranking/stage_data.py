"""What the stages of a pipeline read of the items, kept with its model: offline there is no catalogue beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import polars as pl
from scipy.sparse import csr_array

from palate.arrays import Array, Floats, Ints, ItemFloats, Longs, check_arrays
from palate.compute.svd import leading, unit
from palate.data.catalogue import Catalogue
from palate.data.interactions import Interactions
from palate.data.vocabulary import Vocabulary
from palate.errors import SettingError
from palate.models.base import Model
from palate.models.item_to_item import positives
from palate.models.popularity import popularity
from palate.ranking.labels import Labels
from palate.ranking.stages import Stage

DIM = 32  # of vectors for a model that has none


@dataclass(frozen=True, eq=False)
class KeptLabels:
    """The values of an attribute of the items, as `Labels`."""

    attribute: str
    names: Vocabulary
    start: Annotated[Longs, Array("items+1", starts="values")]
    code: Annotated[Ints, Array("values", below="names")]

    @classmethod
    def of(cls, attribute: str, values: pl.Series) -> KeptLabels:
        """Keep the values of an attribute, a text, number or list an item."""
        labels = Labels.of(values)
        return cls(attribute, Vocabulary.of(labels.names), labels.start, labels.code)


@dataclass(frozen=True, eq=False)
class StageData:
    """popularity (I,): weight of the events; vectors (I, D), D = 0 where the model has its own, or none are read."""

    popularity: ItemFloats
    vectors: Annotated[Floats, Array("items", "vector")]
    attributes: tuple[KeptLabels, ...]

    @classmethod
    def of(
        cls, stages: Sequence[Stage], items: Vocabulary, log: Interactions, catalogue: Catalogue | None, own: bool
    ) -> StageData:
        """Collect what stages read; own  the model has vectors.

        Raises `SettingError` where a stage reads an attribute that no catalogue has.
        """
        row = items.codes(log.items.ids)
        total = popularity(log.item, log.weight, len(log.items)).astype(np.float32)
        vectors = np.zeros((len(items), 0), np.float32)
        if not own and any(stage.reads_vectors for stage in stages):
            X = positives(log, binary=True)
            users = np.asarray(X.sum(axis=0), np.float32)
            columns = csr_array(X / np.sqrt(np.maximum(users, 1)))
            found = leading(lambda Q: np.asarray(columns.T @ (columns @ Q), np.float32), len(users), DIM, seed=0)
            vectors = _at(row, unit(found), len(items))
        return cls(_at(row, total, len(items)), vectors, kept_labels(stages, items, catalogue))

    @classmethod
    def released(cls, stages: Sequence[Stage], model: Model, catalogue: Catalogue | None) -> StageData:
        """Collect what stages may read behind a private model: the counts that it answers an empty history with."""
        items = model.items
        if model.item_embeddings is None and any(stage.reads_vectors for stage in stages):
            read = " ".join(repr(stage) for stage in stages if stage.reads_vectors)
            raise SettingError(f"{read}: would read vectors of the log, and the private model has none; IALS has")
        counts = np.maximum(model.scores(model.histories([[]]))[0], 0)
        return cls(counts, np.zeros((len(items), 0), np.float32), kept_labels(stages, items, catalogue))

    def check(self, items: int) -> None:
        """Raise `ModelError` for arrays that do not fit each other or a model of so many items."""
        check_arrays(self, {"items": items})
        for each in self.attributes:
            check_arrays(each, {"items": items, "names": len(each.names)})

    def labels(self, attribute: str) -> Labels | None:
        """Return the values of an attribute, None where they are not kept."""
        found = [each for each in self.attributes if each.attribute == attribute]
        return Labels(found[0].names.ids, found[0].start, found[0].code) if found else None

    def extended(self, items: Vocabulary, catalogue: Catalogue) -> StageData:
        """Return it with the items that came behind its own, with their attributes in a catalogue."""
        more = len(items) - len(self.popularity)
        new = items.select(np.arange(len(self.popularity), len(items), dtype=np.int32))
        kept = []
        for each in self.attributes:
            values = Labels(each.names.ids, each.start, each.code).as_lists()
            later = Labels.of(attribute_of(each.attribute, new, catalogue)).as_lists()
            kept.append(KeptLabels.of(each.attribute, pl.concat([values, later])))
        return StageData(np.pad(self.popularity, (0, more)), np.pad(self.vectors, ((0, more), (0, 0))), tuple(kept))


def kept_labels(stages: Sequence[Stage], items: Vocabulary, catalogue: Catalogue | None) -> tuple[KeptLabels, ...]:
    """Keep the values of each attribute that a stage reads."""
    names = dict.fromkeys(name for stage in stages for name in stage.attributes)
    return tuple(KeptLabels.of(name, attribute_of(name, items, catalogue)) for name in names)


def _at(row: Ints, values: Floats, count: int) -> Floats:
    """Put values (N, ...) of the rows (N,) among zeros (count, ...)."""
    found = np.zeros((count, *values.shape[1:]), np.float32)
    found[row[row >= 0]] = values[row >= 0]
    return found


def attribute_of(attribute: str, items: Vocabulary, catalogue: Catalogue | None) -> pl.Series:
    """Values of an attribute of items, null for one that the catalogue lacks. Raises `SettingError`."""
    name = None if catalogue is None else catalogue.column(attribute)
    if catalogue is None or name is None:
        there = "there is no catalogue" if catalogue is None else f"the catalogue has {', '.join(catalogue.fields)}"
        raise SettingError(f"attribute {attribute!r}: a stage reads it, and {there}")
    return catalogue.values(name, items)
