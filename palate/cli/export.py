"""The lists of all users in one file, written in parts: an interrupted export goes on where it stopped."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import polars as pl

from palate.bundles.bundle import manifest_checksum
from palate.cli.settings import Hidden
from palate.data.interactions import Interactions
from palate.data.vocabulary import Id
from palate.errors import DataError, StoreError
from palate.files import written
from palate.models.base import Model

# Writes the answers to a question, as `Model.recommend` takes it, for users [low, high) to a path each; says when.
WriteParts: TypeAlias = Callable[[Mapping[str, Any], Sequence[tuple[int, int, Path]], Callable[[int], None]], None]
PART = 20_000  # users whose lists are held at once
FORMATS: dict[str, Callable[[pl.LazyFrame, Path], object]] = {
    "": pl.LazyFrame.sink_parquet,
    ".parquet": pl.LazyFrame.sink_parquet,
    ".csv": pl.LazyFrame.sink_csv,
    ".tsv": partial(pl.LazyFrame.sink_csv, separator="\t"),
    ".jsonl": pl.LazyFrame.sink_ndjson,
    ".ndjson": pl.LazyFrame.sink_ndjson,
}


def export_all(
    model: Model,
    folder: Path,
    log: Interactions,
    out: Path,
    k: int,
    *,
    keep_seen: bool = False,
    only: Sequence[Id] | None = None,
    exclude: Sequence[Id] | None = None,
    hide: Hidden = None,
    watch: Callable[[int, int], None] | None = None,
    write_parts: WriteParts | None = None,
) -> int:
    """Write the best k items of every user of the log to a file of the format that its suffix names, of `FORMATS`.

    Returns the number of lines. Columns user_id, item_id, score, rank. Finished parts wait in a folder beside `out`,
    and are used again if the same model (its `folder`), log and question are asked for. `watch` is called with (users
    done, of all). `write_parts` writes the parts somewhere else than in this process.
    """
    if out.suffix not in FORMATS:
        known = ", ".join(each for each in FORMATS if each)
        raise DataError(f"{out}: unknown suffix {out.suffix!r}; known are {known}")
    parts = out.with_name(f".{out.name}.parts")
    choice = {"keep_seen": keep_seen, "only": only, "exclude": exclude, "hide": hide}
    question = _question(folder, log) | {"k": k, **choice}
    try:
        _open(parts, question)
        total = len(log.users)
        edges = [(low, min(low + PART, total)) for low in range(0, total, PART)]
        wanted = [(low, high, parts / f"{low:012}.parquet") for low, high in edges]
        todo = [each for each in wanted if not each[2].exists()]
        finished = total - sum(high - low for low, high, _ in todo)

        def done(users: int) -> None:
            nonlocal finished
            finished += users
            if watch is not None:
                watch(finished, total)

        done(0)
        (write_parts or partial(_here, model, log))({"k": k, **choice}, todo, done)
        whole = pl.scan_parquet(sorted(parts.glob("*.parquet")))
        _write(whole, out)
        lines = int(whole.select(pl.len()).collect().item())
        shutil.rmtree(parts)
        return lines
    except (OSError, StoreError, pl.exceptions.PolarsError) as error:
        raise DataError(f"{out}: cannot be written: {error}") from error


def _here(
    model: Model,
    log: Interactions,
    question: Mapping[str, Any],
    todo: Sequence[tuple[int, int, Path]],
    done: Callable[[int], None],
) -> None:
    """Write parts in this process."""
    histories = log.histories()
    for low, high, part in todo:
        _write(model.recommend(histories.block(low, high), **question).to_frame().lazy(), part)
        done(high - low)


def _question(folder: Path, log: Interactions) -> dict[str, object]:
    """Say what the parts answer; they are worth nothing for another question."""
    known = hashlib.sha256()
    for names in (log.users.ids.to_list(), log.items.ids.to_list(), log.event_types):
        known.update(json.dumps(names).encode())
    for column in (log.start, log.item, log.weight, log.timestamp, log.event):
        if column is not None:
            known.update(np.ascontiguousarray(column).data)
    about = {"model": manifest_checksum(folder), "log": known.hexdigest()}
    return about | {"part": PART}


def _open(parts: Path, question: dict[str, object]) -> None:
    """Make the folder of parts, or keep the one that is there if it answers the same question."""
    asked = parts / "question.json"
    text = json.dumps(question)
    if asked.is_file() and asked.read_bytes() == text.encode():
        return
    shutil.rmtree(parts, ignore_errors=True)
    parts.mkdir(mode=0o700)
    asked.write_text(text, encoding="utf-8")


def _write(frame: pl.LazyFrame, path: Path) -> None:
    """Write aside, then rename."""
    with written(path) as aside:
        FORMATS[path.suffix](frame, aside)
