"""Metrics as pure functions of a hit table: hits (B, K) bool in rank order, relevant (B,) > 0, result (B,).

Relevance is binary. K is the k of the metric: a list shorter than k ends in places without a hit.
Formulas as in trec_eval and Järvelin and Kekäläinen 2002 (Cumulated gain-based evaluation of IR techniques).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np

from palate.arrays import Bools, Doubles, Longs

Metric: TypeAlias = Callable[[Bools, Longs], Doubles]


def ndcg(hits: Bools, relevant: Longs) -> Doubles:
    """Σ hit_r / log2(r + 1), over the same sum of a list with min(k, relevant) hits on top.

    Järvelin and Kekäläinen 2002, eq. 3, with binary gain and base 2.
    """
    gain = 1 / np.log2(np.arange(2, hits.shape[1] + 2))  # (K,)
    best = np.cumsum(gain)[np.minimum(relevant, hits.shape[1]) - 1]  # (B,)
    return np.asarray(hits @ gain / best)


def recall(hits: Bools, relevant: Longs) -> Doubles:
    """Hits over all relevant items, also those beyond k."""
    return np.asarray(hits.sum(1) / relevant)


def precision(hits: Bools, relevant: Longs) -> Doubles:  # noqa: ARG001
    """Hits over k."""
    return np.asarray(hits.mean(1))


def average_precision(hits: Bools, relevant: Longs) -> Doubles:
    """Σ hit_r · precision@r over all relevant items: `map_cut` of trec_eval. Its mean is MAP@k."""
    place = np.arange(1, hits.shape[1] + 1)
    return np.asarray((hits * hits.cumsum(1) / place).sum(1) / relevant)


def reciprocal_rank(hits: Bools, relevant: Longs) -> Doubles:  # noqa: ARG001
    """1 / rank of the first hit, 0 without one (Voorhees 1999, TREC-8 question answering). Its mean is MRR@k."""
    return np.asarray(hits.any(1) / (hits.argmax(1) + 1.0))


def hit_rate(hits: Bools, relevant: Longs) -> Doubles:  # noqa: ARG001
    """1 with a hit, else 0."""
    return np.asarray(hits.any(1), np.float64)


METRICS: dict[str, Metric] = {
    "NDCG": ndcg,
    "Recall": recall,
    "Precision": precision,
    "MAP": average_precision,
    "MRR": reciprocal_rank,
    "HitRate": hit_rate,
}


def per_user(hits: Bools, relevant: Longs, cuts: Sequence[int]) -> dict[str, Doubles]:
    """Every metric at every k, `{"NDCG@10": (B,), ...}`; hits (B, max(cuts))."""
    return {f"{name}@{k}": metric(hits[:, :k], relevant) for name, metric in METRICS.items() for k in cuts}


def coverage(shown: Longs) -> float:
    """Share of the catalogue that was shown to any user; shown (I,) counts the places of each item."""
    return float(np.count_nonzero(shown) / len(shown))


def gini(shown: Longs) -> float:
    """Inequality of exposure: 0 when every item is shown equally often, 1 when one item takes every place.

    Σ_i (2i − I − 1) share_i / (I − 1), items by rising share of the places; shown (I,).
    Shani and Gunawardana 2011 (Evaluating recommendation systems), sec. 8.3.3.
    """
    I, total = len(shown), int(shown.sum())
    if not total or I == 1:
        return 0.0
    return float((2 * np.arange(1, I + 1) - I - 1) @ np.sort(shown) / (total * (I - 1)))


def novelty(shown: Longs, events: Longs) -> float:
    """Mean over all places of −log2(share of the train events on that item), in bits; higher is less known.

    Vargas and Castells 2011 (Rank and relevance in novelty and diversity metrics), item novelty −log2 p(i | seen).
    shown, events (I,); an item without events counts as one with a single event.
    """
    if not shown.sum():
        return 0.0
    surprise = -np.log2(np.maximum(events, 1) / max(events.sum(), 1))
    return float(shown @ surprise / shown.sum())
