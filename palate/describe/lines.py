"""The file of descriptions: JSON lines, appended and flushed as they are made, put in order at the end."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from time import monotonic
from typing import IO, Protocol

from palate.data.vocabulary import Id
from palate.errors import DataError, StoreError
from palate.files import written

BEGINNING = b'{"item_id": '  # of every line, whole or torn
EACH = 1.0  # seconds that an interruption of the machine can cost


@dataclass(frozen=True)
class Description:
    """A line of the file.

    description  the title, a line break, and the sentences
    status       accepted; retried: the second draft was; template: none was, or there was no time
    refused      why drafts were refused
    facts        what the item's text may state, by field
    withheld     fields with values that read like instructions, which are kept from the model
    key          hash of all that the text depends on; empty where the next run shall write it again
    """

    item_id: Id
    title: str
    description: str
    status: str
    refused: tuple[str, ...]
    facts: Mapping[str, list[str]]
    withheld: tuple[str, ...]
    model: str
    tokens: int
    seconds: float
    key: str

    @property
    def body(self) -> str:
        """The sentences."""
        return self.description.partition("\n")[2]


class Append(Protocol):
    """Writes a line at the end."""

    def __call__(self, line: Description) -> None:
        """Append it."""


def read_lines(path: Path) -> dict[Id, Description]:
    """Read the lines of a file, the last of each item; a line that was torn at the end is cut off the file.

    Raises `DataError` with the line number for what is no description.
    """
    if not path.is_file():
        return {}
    found: dict[Id, Description] = {}
    with path.open("rb+") as file:
        whole = 0
        for number, text in enumerate(file, 1):
            if not text.endswith(b"\n") and BEGINNING.startswith(text[: len(BEGINNING)]):
                break
            try:
                told = json.loads(text)
                line = Description(**told | {name: tuple(told[name]) for name in ("refused", "withheld")})
            except (ValueError, TypeError, KeyError) as error:
                raise DataError(f"{path}, line {number}: is no description: {error}") from None
            found[line.item_id] = line
            whole += len(text)
        file.truncate(whole)
    return found


@contextmanager
def appending(path: Path) -> Iterator[Append]:
    """Open a file to append lines to; each is handed to the system at once, and to the disk every second.

    Raises `DataError` where the file cannot be written.
    """
    try:
        with path.open("ab") as file:
            flushed = monotonic()

            def append(line: Description) -> None:
                nonlocal flushed
                _write(file, line)
                file.flush()
                if monotonic() - flushed > EACH:
                    os.fsync(file.fileno())
                    flushed = monotonic()

            yield append
            os.fsync(file.fileno())
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error}") from error


def rewrite(path: Path, lines: Iterable[Description]) -> None:
    """Put these lines in the place of the file, aside first, so that a crash leaves the old or the new."""
    try:
        with written(path) as aside, aside.open("wb") as file:
            for line in lines:
                _write(file, line)
            file.flush()
    except StoreError as error:
        raise DataError(str(error)) from error


def _write(file: IO[bytes], line: Description) -> None:
    file.write(json.dumps(asdict(line), ensure_ascii=False).encode("utf-8", "replace") + b"\n")
