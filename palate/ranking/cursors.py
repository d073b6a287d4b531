"""Cursors: the store's numbers of the items shown so far, as text; no page repeats an item, whatever changes."""

from __future__ import annotations

from base64 import b64decode, urlsafe_b64encode
from collections.abc import Sequence

import numpy as np

from palate.errors import SettingError

MOST = 2000  # items that pages may have shown


def write(numbers: Sequence[int]) -> str | None:
    """Write the numbers as text; None when there are too many for another page."""
    if len(numbers) > MOST:
        return None
    return urlsafe_b64encode(np.array(numbers, "<u4").tobytes()).decode().rstrip("=")


def read(cursor: str | None) -> list[int]:
    """Return the numbers of a cursor, none for None. Raises `SettingError` for text that is no cursor."""
    if cursor is None:
        return []
    try:
        packed = b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True)
        if len(packed) > 4 * MOST:
            raise ValueError("too long")
        numbers: list[int] = np.frombuffer(packed, "<u4").tolist()
    except ValueError:
        raise SettingError(f"cursor={cursor[:40]!r}: is not one that an answer gave") from None
    return numbers
