"""Times as whole microseconds since 1970 UTC, and as ISO 8601 text; never a float in between."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
SECOND, HOUR, DAY = 1_000_000, 3_600_000_000, 86_400_000_000  # microseconds
HOURS_AHEAD = 48  # of the clock, more than any time zone: a later time is refused or warned of


def microseconds(moment: datetime) -> int:
    """Microseconds since 1970 UTC of a moment; without a zone it is one of UTC."""
    return ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - EPOCH) // MICROSECOND


def from_iso(text: str) -> int:
    """Microseconds since 1970 UTC of ISO 8601 text, UTC unless it names a zone. Raises `ValueError`."""
    return microseconds(datetime.fromisoformat(text))


def to_iso(time: int) -> str:
    """ISO 8601 text of microseconds since 1970 UTC, in the years 1 to 9999."""
    return (EPOCH + time * MICROSECOND).isoformat().replace("+00:00", "Z")


def seconds_text(seconds: float) -> str:
    """Text of a time of a fit: 0.67 s, 41 s."""
    return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:,.0f} s"


def scaled(number: float, unit: int) -> int:
    """Microseconds of a number of units of a given length; of a float, what its shortest decimal spells."""
    return number * unit if isinstance(number, int) else round(Decimal(repr(number)) * unit)
