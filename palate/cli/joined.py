"""Files that a command joins with a log or a model by their ids; ids without a partner are reported."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import typer

from palate.cli.settings import catalogue_settings, read_settings
from palate.cli.terminal import note
from palate.data.catalogue import Catalogue, read_catalogue
from palate.data.histories import Histories
from palate.data.interactions import Interactions
from palate.data.joins import check_join, unmatched
from palate.data.readers import read_log
from palate.data.vocabulary import Id, Vocabulary
from palate.errors import DataError
from palate.models.base import Model


class Choice(NamedTuple):
    """The items that may be recommended, all unless some are named, and those that may not."""

    only: Sequence[Id] | None
    exclude: Sequence[Id] | None

    @classmethod
    def of(cls, only: list[str], exclude: list[str], condition: str | None, catalogue: Catalogue | None) -> Choice:
        """Read the options: ids, and a condition on the attributes of the catalogue, which must be there then.

        What the catalogue says is not available is left out.
        """
        gone = [] if catalogue is None else catalogue.unavailable.to_list()
        excluded = [*exclude, *gone] or None
        if condition is None:
            return cls(only or None, excluded)
        if catalogue is None:
            raise typer.BadParameter("--filter reads attributes of a catalogue: give --catalogue FILE")
        from palate.conditions.compile import compile_condition

        attributes = {name: own for own, name in catalogue.named.items() if own in catalogue.fields}
        frame = catalogue.frame.select(
            pl.all(), *(pl.col(own).alias(name) for name, own in attributes.items() if name not in catalogue.fields)
        )
        found = frame.filter(compile_condition(condition, frame.schema))["item_id"]
        if only:
            found = found.gather(np.flatnonzero(Vocabulary.of(only).find(found) >= 0))
        return cls(found.to_list(), excluded)


def newer_log(file: Path, read: list[str], model: Model) -> Interactions:
    """Read a log for a model, which warns if it knows none of the items."""
    log = read_log(file, **read_settings(read))
    _note_part(log.items.ids, model.items, file, "the model")
    return log


def history_in(file: Path, model: Model) -> Histories:
    """Read one history, an item id a line."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: {error}; item ids are written in UTF-8, one a line") from None
    ids = Vocabulary.series([line for line in lines if line])
    _check_all(ids, model.items, file, "the model")
    return model.histories([ids.filter(pl.Series(model.items.codes(ids) >= 0))])


def reading_of(file: Path | None, catalogue_read: list[str]) -> dict[str, str]:
    """Return how `--read-catalogue` says to read a catalogue, which must be there then."""
    reading = catalogue_settings(catalogue_read)
    if file is None and reading:
        raise typer.BadParameter("--read-catalogue says how to read a catalogue: give --catalogue FILE")
    return reading


def content_of(file: Path | None, catalogue_read: list[str], log: Interactions) -> Catalogue | None:
    """Read the content of the items of a log; a recipe that needs it warns if it has none of them."""
    reading = reading_of(file, catalogue_read)
    catalogue = None if file is None else read_catalogue(file, **reading)
    if file is not None and catalogue is not None:
        _note_part(catalogue.items.ids, log.items, file, "the log")
    return catalogue


def titles_of(file: Path | None, catalogue_read: list[str], known: Vocabulary, owner: str) -> Catalogue | None:
    """Read the titles of known items."""
    reading = reading_of(file, catalogue_read)
    catalogue = None if file is None else read_catalogue(file, **reading)
    if file is not None and catalogue is not None:
        _check_all(catalogue.items.ids, known, file, owner)
    return catalogue


def _check_all(ids: pl.Series, known: Vocabulary, file: Path, owner: str) -> None:
    """Warn where no id is known; say so where some are not."""
    check_join(known.codes(ids), ids, known, str(file), owner)
    _note_part(ids, known, file, owner)


def _note_part(ids: pl.Series, known: Vocabulary, file: Path, owner: str) -> None:
    """Say how many ids are unknown where some are known."""
    row = known.codes(ids)
    if (row >= 0).any() and (row < 0).any():
        note(unmatched(row, ids, known, str(file), owner))
