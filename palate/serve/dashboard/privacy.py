"""What the page shows of privacy: what private trainings told of the events, and how much of the budget that is."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from functools import lru_cache

from palate.errors import MissingExtra
from palate.models.guarantee import Release
from palate.privacy.ledger import Ledger
from palate.store.events import Store
from palate.store.ledger import DELTA, ledger


@dataclass(frozen=True)
class Spent:
    """The ledger of a store.

    epsilon   of all releases together, at `delta`; None where what composes them is not installed
    budget    that they may reach; None before the first
    releases  with how often each was made, in the order of the first
    """

    epsilon: float | None
    budget: float | None
    releases: tuple[Release, ...]
    delta: float = DELTA

    @classmethod
    def of(cls, store: Store) -> Spent:
        """Read the ledger."""
        kept, budget = ledger(store)
        return cls(total(kept), budget, alike(kept))


@lru_cache(1)  # composing takes a while, and the same comes out until the next training
def total(kept: Ledger) -> float | None:
    """Return the ε of a ledger."""
    try:
        return kept.epsilon(DELTA)
    except MissingExtra:
        return None


def alike(kept: Ledger) -> tuple[Release, ...]:
    """Return the releases, those that are the same as one."""
    count: Counter[Release] = Counter()
    for each in kept.releases:
        count[replace(each, times=1)] += each.times
    return tuple(replace(each, times=times) for each, times in count.items())
