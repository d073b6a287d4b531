"""Vectors on disk by the content they were made from: a second run encodes only what changed."""

from __future__ import annotations

import hashlib
import os
import re
import sqlite3
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType

import numpy as np

from palate.arrays import Floats

ASKED = 500  # keys in one question


class Cache:
    """One file for each encoder, below `$XDG_CACHE_HOME/palate/vectors`; processes may share it."""

    def __init__(self, path: Path, dim: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.dim = dim
        self._file = sqlite3.connect(path, timeout=60)
        self._file.execute("CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, vector BLOB) WITHOUT ROWID")

    @classmethod
    def of(cls, encoder: str, dim: int) -> Cache:
        """Open the file of an encoder."""
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "palate" / "vectors"
        mark = hashlib.sha256(encoder.encode()).hexdigest()[:12]
        plain = re.sub(r"\W+", "-", encoder)[-40:]
        return cls(home / f"{plain}-{mark}.sqlite", dim)

    def __enter__(self) -> Cache:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    @staticmethod
    def key(content: bytes) -> bytes:
        """Key of a content."""
        return hashlib.sha256(content).digest()

    def get(self, keys: Iterable[bytes]) -> dict[bytes, Floats]:
        """Vectors of the keys that are known; a damaged one counts as unknown."""
        asked, found = sorted(keys), {}
        for low in range(0, len(asked), ASKED):
            part = asked[low : low + ASKED]
            marks = ",".join("?" * len(part))
            for key, vector in self._file.execute(f"SELECT key, vector FROM vectors WHERE key IN ({marks})", part):
                if len(vector) == 4 * self.dim:
                    found[bytes(key)] = np.frombuffer(vector, np.float32)
        return found

    def put(self, vectors: Mapping[bytes, Floats]) -> None:
        """Keep vectors (D,), on disk when this returns."""
        with self._file:
            rows = [(key, np.asarray(vector, np.float32).tobytes()) for key, vector in vectors.items()]
            self._file.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?)", rows)
