"""Metrics of the mix of an attribute in whole lists, each made for an attribute: `calibration_kl("genres")`.

An item with several values has an equal part of each; one without any has no part in a mix.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from scipy.sparse import csr_array

from palate.arrays import Doubles, Longs
from palate.evaluation.lists import NUMBERS, ListMetric, Lists
from palate.ranking.labels import Labels

SMOOTHING = 0.01  # share of the history's mix in that of the list, so that the divergence is finite
Compared: TypeAlias = Callable[[Doubles, Doubles], Doubles]  # of mixes of histories and of lists, (B, G) each


def calibration_kl(attribute: str) -> ListMetric:
    """Kullback-Leibler divergence of a list's mix q from that of the history p, in nats; 0 where there is no p.

    Steck 2018 (Calibrated recommendations), eq. 4 to 6: Σ_g p log(p / q'), q' = 0.99 q + 0.01 p. Every liked event of
    a history counts alike.
    """

    def divergence(p: Doubles, q: Doubles) -> Doubles:
        return _divergence(p, (1 - SMOOTHING) * q + SMOOTHING * p)

    return _metric(f"calibration_kl({attribute})", attribute, divergence)


def calibration_js(attribute: str) -> ListMetric:
    """Jensen-Shannon divergence of the mixes of list and history, in nats, at most log 2; 0 without a history.

    Lin 1991 (Divergence measures based on the Shannon entropy), eq. 4.1 with equal weights.
    """

    def divergence(p: Doubles, q: Doubles) -> Doubles:
        both = np.asarray((_divergence(p, (p + q) / 2) + _divergence(q, (p + q) / 2)) / 2)
        return np.where(p.any(1), both, 0.0)

    return _metric(f"calibration_js({attribute})", attribute, divergence)


def attribute_entropy(attribute: str) -> ListMetric:
    """Entropy of a list's mix, in bits: 0 where all items have the same value (Shannon 1948)."""
    return _metric(
        f"attribute_entropy({attribute})",
        attribute,
        lambda _, q: np.abs(_divergence(q, np.ones_like(q))) / np.log(2),
    )


def attribute_coverage(attribute: str) -> ListMetric:
    """Share of the values of all items that are in a list (S-recall of Zhai, Cohen and Lafferty 2003, eq. 1)."""
    return _metric(
        f"attribute_coverage({attribute})", attribute, lambda _, q: np.asarray((q > 0).sum(1) / max(q.shape[1], 1))
    )


def _divergence(p: Doubles, q: Doubles) -> Doubles:
    """Σ p log(p / q) of each row, (B,); q is above 0 where p is."""
    there = p > 0
    ratio = np.where(there, p, 1) / np.where(there, q, 1)
    return np.asarray((p * np.log(ratio)).sum(1))


def _metric(name: str, attribute: str, compared: Compared) -> ListMetric:
    """Make a metric that compares the mixes of histories and lists, block by block."""

    def metric(lists: Lists) -> Doubles:
        shares = shares_of(lists, attribute)
        (user, item), count = lists.liked, len(lists.item)
        place, shown = np.nonzero(lists.item >= 0)[0], lists.item[lists.item >= 0]
        found = np.zeros(count)
        step = max(1, NUMBERS // max(1, shares.shape[1]))
        for low in range(0, count, step):
            size = min(step, count - low)
            p = _mixes(shares, user - low, item, size)
            found[low : low + size] = compared(p, _mixes(shares, place - low, shown, size))
        return found

    metric.__name__ = name
    return metric


def shares_of(lists: Lists, attribute: str) -> csr_array:
    """Part of each item in each value of an attribute, (I, G): the values of an item have equal ones."""
    labels = Labels.of(lists.attribute(attribute))
    part = 1 / np.repeat(np.maximum(np.diff(labels.start), 1), np.diff(labels.start))
    return csr_array((part, labels.code, labels.start), shape=(len(lists.items), len(labels.names)))


def _mixes(shares: csr_array, user: Longs, item: np.ndarray[tuple[int], np.dtype[np.integer]], count: int) -> Doubles:
    """Mix of the items (N,) of each of `count` users, (count, G), of sum 1; 0 where no item has a value."""
    own = (user >= 0) & (user < count)
    pairs = csr_array((np.ones(int(own.sum())), (user[own], item[own])), shape=(count, shares.shape[0]))
    total = np.asarray((pairs @ shares).toarray(), np.float64)
    return np.asarray(total / np.maximum(total.sum(1, keepdims=True), 1e-300))
