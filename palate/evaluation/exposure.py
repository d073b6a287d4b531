"""How evenly groups of items are exposed by all lists together: `exposure_gini("genres")`."""

from __future__ import annotations

import numpy as np

from palate.arrays import Doubles
from palate.evaluation.lists import ListMetric, Lists
from palate.evaluation.mixes import shares_of


def exposure_gini(attribute: str) -> ListMetric:
    """Gini coefficient, over the values of an attribute, of the exposure an item of each gets from all lists.

    An item at place r has the exposure 1 / log2(r + 1), and a group the mean of its items (Singh and Joachims 2018,
    Fairness of exposure in rankings, sec. 3.1 and eq. 3), all items of the model counted. An item with several values
    belongs to each in equal parts. 0 where all groups are exposed alike, 1 where one has all exposure.

    The numbers of the lists, (B,), are linear in them at what all lists together give (Deville 1999, Variance
    estimation for complex statistics): their mean is the coefficient, and their interval its own.
    """

    def metric(lists: Lists) -> Doubles:
        shares = shares_of(lists, attribute)
        B, K = lists.item.shape
        size = np.asarray(shares.sum(axis=0), np.float64)  # (G,)
        seen = np.append(np.asarray(shares.sum(axis=1), np.float64), 0) > 0
        discount = np.where(seen[lists.item], 1 / np.log2(np.arange(2, K + 2)), 0.0)  # (B, K)
        there = lists.item >= 0
        shown = np.bincount(lists.item[there], discount[there], len(lists.items))  # (I,)
        exposure = shown @ shares / size / max(B, 1)  # (G,), of a list
        total, G = exposure.sum(), len(exposure)
        if G < 2 or total <= 0:
            return np.zeros(B)
        slope = np.empty(G)
        slope[np.argsort(exposure, kind="stable")] = (2 * np.arange(1, G + 1) - G - 1) / (G - 1)
        gini = float(slope @ exposure / total)
        worth = np.append(shares @ ((slope - gini) / size), 0.0)  # (I + 1,): what a place of each item adds
        return np.asarray(gini + (discount * worth[lists.item]).sum(axis=1) / total)

    metric.__name__ = f"exposure_gini({attribute})"
    return metric
