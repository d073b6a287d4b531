"""The one way kernels are compiled, so that types survive the decorator."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
from numba.extending import intrinsic

F = TypeVar("F", bound=Callable[..., object])

# Reassociation and contraction only: NaN and infinity stay exact. Division by 0 gives them, as in numpy.
_FAST = {"reassoc", "contract", "nsz"}


def compiled(function: F) -> F:
    """Compile by numba for this host: cached on disk, without the GIL, fused multiply-add allowed."""
    return cast(F, numba.njit(function, cache=True, nogil=True, fastmath=_FAST, error_model="numpy"))


def inlined(function: F) -> F:
    """Compile as `compiled` does, and copy the body into each caller before typing: arrays passed on cost nothing."""
    return cast(F, numba.njit(function, nogil=True, fastmath=_FAST, error_model="numpy", inline="always"))


def emitted(function: Callable[..., Any]) -> Callable[..., Any]:
    """Register a function that writes LLVM code; integer constants reach it as literals."""
    return cast(Callable[..., Any], intrinsic(prefer_literal=True)(function))
