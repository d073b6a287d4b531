"""MovieLens latest-small: in the examples of a checkout, else fetched once and kept in the user's cache."""

from __future__ import annotations

import hashlib
import io
import os
import urllib.request
import zipfile
from contextlib import suppress
from pathlib import Path

from palate.cli.terminal import note
from palate.errors import DataError
from palate.files import aside_of

ARCHIVE = "https://files.grouplens.org/datasets/movielens/ml-latest-small.zip"
# Also published by TensorFlow Datasets, url_checksums/movielens.txt.
SHA256 = "696d65a3dfceac7c45750ad32df2c259311949efec81f0f144fdfb91ebc9e436"
FOLDER = Path("examples", "movielens-small")


def movielens() -> tuple[Path, Path]:
    """Return the ratings and the movies. Raises `DataError` when they can be neither found nor fetched."""
    for place in (Path(__file__).parents[2], Path.cwd()):
        if (place / FOLDER / "ratings.csv.gz").is_file():
            return place / FOLDER / "ratings.csv.gz", place / FOLDER / "movies.csv.gz"
    kept = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "palate" / "ml-latest-small"
    if not kept.is_dir():
        _fetch(kept)
    return kept / "ratings.csv", kept / "movies.csv"


def _fetch(kept: Path) -> None:
    note(f"fetching {ARCHIVE} (1 MB, for research and non-commercial use) into {kept}")
    try:
        with urllib.request.urlopen(ARCHIVE, timeout=30) as answer:
            content = answer.read()
    except OSError as error:
        raise DataError(f"{ARCHIVE}: cannot be fetched: {error}; show your own log with --log FILE") from None
    found = hashlib.sha256(content).hexdigest()
    if found != SHA256:
        raise DataError(f"{ARCHIVE}: its sha256 is {found}, not {SHA256}; show your own log with --log FILE")
    kept.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(io.BytesIO(content)) as archive, aside_of(kept, folder=True) as aside:
        for name in ("ratings.csv", "movies.csv", "tags.csv", "README.txt"):
            (aside / name).write_bytes(archive.read(f"ml-latest-small/{name}"))
        with suppress(OSError):  # another process was faster
            aside.rename(kept)
