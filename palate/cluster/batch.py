"""Lists of many users on a cluster: each worker ranks a block at a time, and the next as soon as it is free."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from palate.arrays import Ints
from palate.cluster.gang import Gang
from palate.cluster.host import Sent
from palate.data.histories import Histories
from palate.data.readers import read_log
from palate.errors import DataError
from palate.files import written
from palate.models.base import Model
from palate.models.registry import load, load_with_log

BLOCK = 4096  # users whose histories travel at once


def packed(gang: Gang, model: Model) -> dict[str, Sent]:
    """Return the files of a saved model, in the object store."""
    with TemporaryDirectory() as folder:
        model.save(Path(folder) / "model", log=None)
        files = [each for each in sorted((Path(folder) / "model").rglob("*")) if each.is_file()]
        root = Path(folder) / "model"
        return {str(each.relative_to(root)): gang.send(np.fromfile(each, np.uint8)) for each in files}


class ListWork:
    """A worker's side of an evaluation: the model."""

    def __init__(self, _: object, files: Mapping[str, Sent], question: Mapping[str, Any]) -> None:
        self.question = question
        with TemporaryDirectory() as folder:
            for name, sent in files.items():
                path = Path(folder) / "model" / name
                path.parent.mkdir(parents=True, exist_ok=True)
                sent.taken().tofile(path)
            self.model = load(Path(folder) / "model")

    def items(self, histories: Histories) -> Ints:
        """Return the rows of the items of the lists, (B, K)."""
        return self.model.recommend(histories.on(self.model.items), **self.question).item


def ranked(gang: Gang, model: Model, histories: Histories, depth: int, question: Mapping[str, Any]) -> Ints:
    """Rows of the model's items (B, depth), -1 past the end of a list."""
    item = np.full((len(histories), depth), -1, np.int32)
    gang.become(ListWork, packed(gang, model), {"k": depth, **question})
    blocks = [(low, min(low + BLOCK, len(histories))) for low in range(0, len(histories), BLOCK)]

    def keep(n: int, found: Ints) -> None:
        low, high = blocks[n]
        item[low:high, : found.shape[1]] = found

    gang.share("items", len(blocks), lambda n: (histories.block(*blocks[n]),), keep)
    return item


class ExportWork:
    """A worker's side of an export: model and histories, read from where the driver reads them."""

    def __init__(self, _: object, model: str, log: str | None, reading: Mapping[str, Any], question: Any) -> None:
        self.model, kept = load_with_log(model)
        events = kept if log is None else read_log(log, **reading)
        if events is None:
            raise DataError(f"{model}: the model was saved without histories")
        self.histories, self.question = events.histories(), question

    def write(self, low: int, high: int, path: str) -> int:
        """Write the lists of users [low, high) aside, and rename the file; returns their number of users."""
        frame = self.model.recommend(self.histories.block(low, high), **self.question).to_frame()
        with written(Path(path)) as aside:
            frame.write_parquet(aside)
        return high - low


def export(
    gang: Gang,
    model: Path,
    log: Path | None,
    reading: Mapping[str, Any],
    question: Mapping[str, Any],
    todo: Sequence[tuple[int, int, Path]],
    done: Callable[[int], None],
) -> None:
    """Write parts: the lists of users [low, high) to a path each, which all nodes can reach, as model and log."""
    source = None if log is None else str(log.resolve())
    gang.become(ExportWork, str(model.resolve()), source, dict(reading), dict(question))
    gang.share(
        "write",
        len(todo),
        lambda n: (*todo[n][:2], str(todo[n][2].resolve())),
        lambda _, users: done(users),
    )
