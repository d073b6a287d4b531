"""The number and time formats of the page: filters of its templates."""

from __future__ import annotations

from collections.abc import Callable
from math import isnan

from palate.data.times import seconds_text, to_iso
from palate.store.recording import now

UNITS = ((365 * 86_400, "year"), (30 * 86_400, "month"), (86_400, "day"), (3600, "hour"), (60, "minute"))
NONE = "–"


def count(value: float) -> str:
    """Write a whole number: 12,345."""
    return f"{value:,.0f}"


def short(value: float) -> str:
    """Write a figure with three digits at least: 12,345, 123, 1.23."""
    return count(value) if value >= 100 or value == int(value) else f"{value:.3g}"


def duration(seconds: float) -> str:
    """Write a time of an answer with its unit: 1.2 ms."""
    if isnan(seconds):
        return NONE
    return f"{seconds * 1000:.2g} ms" if seconds < 0.1 else f"{seconds * 1000:.0f} ms"


def megabytes(number: float) -> str:
    """Write bytes: 12 MB."""
    return f"{number / 1e6:,.0f} MB"


def share(part: float, whole: float) -> str:
    """Write a part of a whole in percent: 3.1%."""
    return f"{100 * part / whole:.1f}%" if whole else NONE


def ago(moment: int) -> str:
    """Write how long ago a moment was, microseconds since 1970 UTC: 3 minutes ago."""
    seconds = (now() - moment) / 1_000_000
    for length, name in UNITS:
        if abs(seconds) >= length:
            n = int(abs(seconds) // length)
            text = f"{n} {name}{'' if n == 1 else 's'}"
            return f"in {text}" if seconds < 0 else f"{text} ago"
    return "just now" if seconds > -60 else "soon"


def day(moment: int) -> str:
    """Write the date and time of a moment to the minute, in UTC."""
    return to_iso(moment)[:16].replace("T", " ")


def plain(value: object) -> str:
    """Write a setting or an attribute: lists with commas, short numbers, and nothing for none."""
    if value is None:
        return NONE
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, (list, tuple)):
        return ", ".join(plain(each) for each in value)
    return str(value)


FILTERS: dict[str, Callable[..., str]] = {"count": count, "duration": duration, "seconds": seconds_text}
FILTERS |= {"short": short, "megabytes": megabytes, "ago": ago, "day": day, "plain": plain, "iso": to_iso}
