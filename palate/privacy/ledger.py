"""What was released of a log, and what all of it together says of one user: the ledger, a value.

The privacy loss distributions of the releases are composed by Google's dp-accounting (Koskela et al. 2020; Doroshenko
et al. 2022), the only file that imports it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from math import inf
from typing import Any

import numpy as np
from scipy.special import log_ndtr

from palate.errors import Package, PalateError, check, real, require
from palate.models.guarantee import Release

ACCOUNTING = Package("dp_accounting", "dp-accounting", "privacy")
INTERVAL = 1e-4  # of privacy losses


class BudgetError(PalateError, ValueError):
    """A release would go beyond the budget of privacy."""


@dataclass(frozen=True)
class Ledger:
    """All releases of one log, in their order. A user is added or removed with all events."""

    releases: tuple[Release, ...] = ()

    def epsilon(self, delta: float, interval: float = INTERVAL) -> float:
        """Return the ε of all releases together at this δ.

        interval  to which privacy losses are rounded, upwards: a larger one is faster, and says no smaller ε
        """
        check(0 < real("delta", delta) < 1, "delta", delta, "must be above 0, below 1")
        left = delta - sum(each.delta * each.times for each in self.releases)
        if not self.releases:
            return 0.0
        return float(composed(self.releases, interval).get_epsilon(left)) if left > 0 else inf

    def spend(self, releases: Iterable[Release], epsilon: float, delta: float) -> Ledger:
        """Return the ledger with more releases. Raises `BudgetError` where all together go beyond (ε, δ)."""
        more = replace(self, releases=(*self.releases, *releases))
        total = more.epsilon(delta)
        if total > epsilon:
            raise BudgetError(
                f"epsilon {epsilon:g} at delta {delta:g}: {len(self.releases)} releases have spent "
                f"{self.epsilon(delta):.3g} of it, and {total:.3g} would be spent with this one; "
                "train with a smaller epsilon, or keep the model there is"
            )
        return more

    def as_json(self) -> str:
        """Return the releases as a list in JSON."""
        return json.dumps([asdict(each) for each in self.releases])

    @classmethod
    def from_json(cls, text: str) -> Ledger:
        """Return the ledger that `as_json` wrote."""
        return cls(tuple(Release(**each) for each in json.loads(text)))


def composed(releases: Iterable[Release], interval: float) -> Any:
    """Return dp-accounting's accountant of these releases. Raises `MissingExtra` without the package."""
    require([ACCOUNTING])
    from dp_accounting import GaussianDpEvent, LaplaceDpEvent, PoissonSampledDpEvent, SelfComposedDpEvent
    from dp_accounting.pld import PLDAccountant

    accountant = PLDAccountant(value_discretization_interval=interval)
    for each in releases:
        event = LaplaceDpEvent(each.noise) if each.mechanism == "laplace" else GaussianDpEvent(each.noise)
        if each.mechanism == "sampled gaussian":
            event = PoissonSampledDpEvent(each.sampling, event)
        accountant.compose(SelfComposedDpEvent(event, each.times))
    return accountant


def gaussian_noise(epsilon: float, delta: float) -> float:
    """Return the noise of one Gaussian release that is (ε, δ)-private, at most 1e-9 of itself above the least.

    Several Gaussian releases with noises σ_i come to one with σ^-2 = Σ σ_i^-2, whatever is chosen in between.
    """
    low, high = 1e-3, 1.0
    while delta_of(high, epsilon) > delta:
        low, high = high, 2 * high
    while high - low > 1e-9 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if delta_of(middle, epsilon) <= delta else (middle, high)
    return high


def delta_of(noise: float, epsilon: float) -> float:
    """Return the δ of a Gaussian release: Φ(1 / 2σ - εσ) - e^ε Φ(-1 / 2σ - εσ) (Balle and Wang 2018, theorem 8)."""
    near, far = (sign / (2 * noise) - epsilon * noise for sign in (1, -1))
    return float(np.exp(log_ndtr(near)) - np.exp(epsilon + log_ndtr(far)))
