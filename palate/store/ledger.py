"""The ledger of privacy of a store: what private trainings told of its events, and the budget for all of them."""

from __future__ import annotations

from collections.abc import Iterable

from palate.errors import SettingError
from palate.models.guarantee import Release
from palate.privacy.ledger import Ledger
from palate.store.events import Store
from palate.store.schema import get_state, set_state

LEDGER = "private releases"
BUDGET = "lifetime epsilon"
DELTA = 1e-5  # of all trainings together: ten of the usual δ


def ledger(store: Store) -> tuple[Ledger, float | None]:
    """Return what was released, and the ε that all releases together may reach; None before the first."""
    with store.database.reading() as connection:
        kept, budget = get_state(connection, LEDGER), get_state(connection, BUDGET)
    return Ledger() if kept is None else Ledger.from_json(kept), None if budget is None else float(budget)


def spend(store: Store, releases: Iterable[Release], epsilon: float, lifetime: float | None) -> Ledger:
    """Enter releases that are about to be made, of a training with this ε, so that none is made that is not entered.

    lifetime  the budget from now on; None leaves it as it is, which is at first the ε of the first training. It is
              never lowered below what is spent.

    Raises `BudgetError`, with the sum, where all releases together would go beyond; then nothing is entered.
    """
    with store.database.writing() as connection:
        kept, budget = get_state(connection, LEDGER), get_state(connection, BUDGET)
        allowed = lifetime or (epsilon if budget is None else float(budget))
        before = Ledger() if kept is None else Ledger.from_json(kept)
        after = before.spend(releases, allowed, DELTA)
        set_state(connection, LEDGER, after.as_json())
        set_state(connection, BUDGET, repr(allowed))
    return after


def check_lifetime(lifetime: float | None, epsilon: float | None) -> None:
    """Raise `SettingError` for a budget without a private training, or one that is no number above 0."""
    if lifetime is not None and (epsilon is None or not 0 < lifetime < float("inf")):
        raise SettingError(f"lifetime_epsilon={lifetime!r}: must be above 0, and needs epsilon")
