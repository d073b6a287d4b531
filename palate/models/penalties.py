"""Penalties that follow the log: how much a row's events say about it decides how far its numbers are drawn to 0.

The user of an event has n events in the mean over all events, Σ n_u² / Σ n_u, and its item m. What a matrix of so
many random events seems to say lies, by its singular values, below √n + √m (Marchenko and Pastur 1967), whatever the
number of dimensions; a penalty for each event of a row compares with `noise`, 1/√n + 1/√m. How recipes follow it was
found on validation parts of logs with 15 to 480 events for an item (docs/models.md).
"""

from __future__ import annotations

import numpy as np

from palate.arrays import Doubles
from palate.data.interactions import Interactions

PREFERRED = (1, 1.25, 1.6, 2, 2.5, 3.15, 4, 5, 6.3, 8)  # Renard's series R10
USUAL = 0.21  # noise of MovieLens latest-small, for which the usual penalties were found


def mean_size(sizes: Doubles) -> float:
    """Size of the row of an event in the mean over events, of rows of these sizes (R,); 1 for an empty log."""
    total = float(sizes.sum())
    return float(sizes @ sizes) / total if total > 0 else 1.0


def noise(log: Interactions) -> float:
    """Return 1/√n + 1/√m of a log; from nearly 0 for a dense one to 2 for one event a user and item."""
    sides = np.diff(log.start), log.item_counts()
    return float(sum(mean_size(each.astype(np.float64)) ** -0.5 for each in sides))


def relative_noise(log: Interactions) -> float:
    """Return the noise of a log over that of MovieLens latest-small."""
    return noise(log) / USUAL


def readable(penalty: float) -> float:
    """Round to three digits."""
    return float(f"{penalty:.3g}")


def preferred(penalty: float) -> float:
    """Return the nearest preferred number, ten to a decade: a few more events, or fewer, leave it as it is."""
    if not 0 < penalty < np.inf:  # of numbers too large for the log to be fitted
        return penalty
    decade, step = divmod(round(len(PREFERRED) * np.log10(penalty)), len(PREFERRED))
    return float(f"{PREFERRED[step]}e{decade}")
