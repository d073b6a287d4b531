"""Memory: what is free, and how much work holds at once."""

from __future__ import annotations

from collections.abc import Callable
from ctypes import CDLL
from pathlib import Path

from palate.errors import SettingError

MEMINFO = Path("/proc/meminfo")
BLOCK_SCORES = 1 << 24  # scores held at once while ranking: 64 MB
BLOCK_SYSTEMS = 1 << 26  # numbers of the linear systems that are solved at once: 256 MB
M_ARENA_MAX, ARENAS = -8, 2  # mallopt(3)
M_MMAP_THRESHOLD, LARGE = -3, 1 << 20  # bytes


def available_memory() -> int | None:
    """Bytes that a new process may use without swapping, None where the system does not say."""
    if not MEMINFO.is_file():
        return None
    lines = (line.split() for line in MEMINFO.read_text(encoding="ascii").splitlines())
    return next((int(line[1]) * 1024 for line in lines if line[0] == "MemAvailable:"), None)


def refuse_beyond(needed: int, use: str, way: str) -> None:
    """Raise `SettingError` where this many bytes are not available.

    The message is the setting with its `use`, the two amounts, and the `way` out.
    """
    free = available_memory()
    if free is not None and needed > free:
        amount = f"take {needed / 1e9:.1f} GB of memory, and {free / 1e9:.1f} GB are available"
        raise SettingError(f"{use} {amount}; {way}")


def settle_allocator() -> None:
    """Keep freed memory from staying with this process (glibc; elsewhere nothing happens).

    All threads share two pools, and arrays of a megabyte or more have pages of their own. By default there are up to
    eight pools a core, the free memory of one is lost to the others, and the size of what has a place in them rises:
    a service that swaps models would grow for hours.
    """
    mallopt = _of_glibc("mallopt")
    if mallopt is not None:
        mallopt(M_ARENA_MAX, ARENAS)
        mallopt(M_MMAP_THRESHOLD, LARGE)


def release_memory() -> None:
    """Give pages of freed memory back to the system (glibc; elsewhere nothing happens)."""
    malloc_trim = _of_glibc("malloc_trim")
    if malloc_trim is not None:
        malloc_trim(0)


def _of_glibc(name: str) -> Callable[..., int] | None:
    return getattr(CDLL(None), name, None) if MEMINFO.is_file() else None
