"""Named scenarios as the store has them now; while it is out of reach, as they were last."""

from __future__ import annotations

from palate.errors import StoreAway, UnknownId
from palate.store.scenarios import MOST_SCENARIOS, Scenarios


class LatestScenarios:
    """The scenarios of a store, those that were used last remembered."""

    def __init__(self, stored: Scenarios) -> None:
        self._stored = stored
        self._last: dict[str, str] = {}

    def fields(self, name: str) -> str:
        """Return the fields of a scenario as JSON. Raises `UnknownId`, and `StoreAway` for one not used before."""
        try:
            found = self._stored.get(name)
        except StoreAway:
            found = self._last.get(name)
            if found is None:
                raise
        if found is None:
            self._last.pop(name, None)
            raise UnknownId(f"scenario {name!r} is unknown")
        if name not in self._last and len(self._last) >= MOST_SCENARIOS:  # others were removed meanwhile
            self._last.clear()
        self._last[name] = found
        return found
