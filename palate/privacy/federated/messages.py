"""What travels: a name of what is asked, facts as JSON, and arrays."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from palate.errors import DataError, PalateError

KINDS = ("<f4", "<f8", "<u4", "<u8", "|u1")


class Gone(PalateError):
    """A client left, or does not answer in time."""


@dataclass(frozen=True)
class Message:
    """what  what is asked, or "error"; facts as JSON; arrays of the types in `KINDS`."""

    what: str
    facts: dict[str, Any] = field(default_factory=dict)
    arrays: tuple[NDArray[Any], ...] = ()

    def encoded(self) -> tuple[str, list[bytes]]:
        """Return the head as JSON, and the bytes of the arrays."""
        kinds = [[each.dtype.newbyteorder("<").str, list(each.shape)] for each in self.arrays]
        return json.dumps([self.what, self.facts, kinds]), [
            np.ascontiguousarray(each).tobytes() for each in self.arrays
        ]

    @classmethod
    def decoded(cls, head: str, tensors: Sequence[bytes]) -> Message:
        """Return the message. Raises `DataError` for a malformed one; nothing is made that was not sent."""
        try:
            what, facts, kinds = json.loads(head)
            if not isinstance(what, str) or not isinstance(facts, dict) or len(kinds) != len(tensors):
                raise ValueError("it needs a name, facts and as many arrays as are named")
            arrays = tuple(array(kind, shape, data) for (kind, shape), data in zip(kinds, tensors, strict=True))
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise DataError(f"message of {len(head)} bytes and {len(tensors)} arrays: {error}") from None
        return cls(what, facts, arrays)

    @property
    def size(self) -> int:
        """Bytes of the arrays."""
        return sum(each.nbytes for each in self.arrays)


def array(kind: str, shape: list[int], data: bytes) -> NDArray[Any]:
    """Return an array of bytes as they came. Raises `ValueError` where type, shape and bytes disagree."""
    if kind not in KINDS or not all(isinstance(each, int) and each >= 0 for each in shape):
        raise ValueError(f"array of {kind!r} {shape!r}: types are {', '.join(KINDS)}")
    return np.frombuffer(data, kind).reshape(shape)


class Link(Protocol):
    """A connection from the server to one client."""

    def ask(self, message: Message, seconds: float) -> Message:
        """Return the answer. Raises `Gone` where none comes in time, `DataError` where it is malformed."""
        ...

    def close(self) -> None:
        """End the connection."""
