"""The one way kernels are compiled, so that types survive the decorator."""

from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from threading import Thread, current_thread, main_thread
from typing import Any, TypeVar, cast

import numba
from numba.core.compiler_lock import global_compiler_lock
from numba.extending import intrinsic

F = TypeVar("F", bound=Callable[..., object])

# Reassociation and contraction only: NaN and infinity stay exact. Division by 0 gives them, as in numpy.
_FAST = {"reassoc", "contract", "nsz"}


def compiled(function: F) -> F:
    """Compile by numba for this host: cached on disk, without the GIL, fused multiply-add allowed."""
    kernel = numba.njit(function, cache=True, nogil=True, fastmath=_FAST, error_model="numpy")
    kernel.compile = partial(_compile_aside, kernel)
    return cast(F, kernel)


def _compile_aside(kernel: Any, signature: Any) -> Any:
    """Compile in a thread beside the main one, which Ctrl-C ends at once.

    In the main thread numba would swallow the interrupt and go on, or be left with half a kernel, and LLVM holds it
    for half a minute. The thread ends its work in peace, or with the process.
    """
    work = partial(type(kernel).compile, kernel, signature)
    if current_thread() is not main_thread() or global_compiler_lock.is_locked():  # type: ignore[no-untyped-call]
        return work()
    job: Future[Any] = Future()

    def compile_it() -> None:
        try:
            job.set_result(work())
        except BaseException as error:
            job.set_exception(error)

    Thread(target=compile_it, daemon=True, name="compiler").start()
    return job.result()


def inlined(function: F) -> F:
    """Compile as `compiled` does, and copy the body into each caller before typing: arrays passed on cost nothing."""
    return cast(F, numba.njit(function, nogil=True, fastmath=_FAST, error_model="numpy", inline="always"))


def emitted(function: Callable[..., Any]) -> Callable[..., Any]:
    """Register a function that writes LLVM code; integer constants reach it as literals."""
    return cast(Callable[..., Any], intrinsic(prefer_literal=True)(function))
