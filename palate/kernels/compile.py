"""The one way kernels are compiled, so that types survive the decorator."""

from collections.abc import Callable
from typing import TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., object])

# Reassociation and contraction only: NaN and infinity stay exact. Division by 0 gives them, as in numpy.
_FAST = {"reassoc", "contract", "nsz"}


def compiled(function: F) -> F:
    """Compile by numba for this host: cached on disk, without the GIL, fused multiply-add allowed."""
    return cast(F, numba.njit(function, cache=True, nogil=True, fastmath=_FAST, error_model="numpy"))


def inlined(function: F) -> F:
    """Compile as `compiled` does, and copy the body into each caller before typing: arrays passed on cost nothing."""
    return cast(F, numba.njit(function, nogil=True, fastmath=_FAST, error_model="numpy", inline="always"))
