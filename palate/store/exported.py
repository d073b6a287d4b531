"""Parts that the readers of logs and of catalogues share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from palate.data.columns import Aliases, find_columns
from palate.data.dialects import Form
from palate.data.interactions import Interactions
from palate.data.sources import batches
from palate.data.values import as_text

Reading: TypeAlias = Mapping[str, Any]  # arguments of `read_log` or `read_catalogue`


class NoExport(Exception):
    """The columns of a source are not those of a store's export: it is read as any other."""


def places_of(source: object, role: str, aliases: Aliases, asked: str | None, value: str) -> Iterator[str]:
    """Where an id stands in a source: its rows, as errors name them."""

    def choose(names: Sequence[str], place: str) -> dict[str, str]:
        return find_columns(names, {role: asked}, {role: aliases[role]}, [role], place)

    if not isinstance(source, Interactions):
        for batch in batches(source, choose, Form(header=None)):
            same = (as_text(batch.frame[role]) == value).fill_null(value=False)
            yield from (f"row {row} of {batch.place}" for row in batch.row[same.to_numpy()])
