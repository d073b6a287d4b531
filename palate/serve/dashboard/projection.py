"""The map: a model's items in the plane, similar items near each other."""

from __future__ import annotations

from dataclasses import dataclass
from threading import Lock

import numpy as np

from palate.arrays import Floats, Longs
from palate.kernels.layout import settle
from palate.live.snapshot import Active, Snapshot
from palate.models.factors import best_products, lengths

MOST = 3000  # items shown, the most popular ones
NEIGHBOURS, EPOCHS, NEGATIVES = 12, 300, 4
SIZE = 4.0  # spread at the start; neighbours come to lie about 1 apart
SEED = np.uint64(0)


@dataclass(frozen=True, eq=False)
class Map:
    """N items by their positions in the catalogue, the most popular first, and their places in the plane, (N, 2)."""

    position: Longs
    place: Floats


class Maps:
    """The map of the active model, computed once for each version."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._made: tuple[Active, Map] | None = None

    def of(self, snapshot: Snapshot) -> Map | None:
        """Return the map; None for a model without item vectors."""
        active = snapshot.active
        item_vectors = active.model.item_embeddings
        if item_vectors is None:
            return None
        with self._lock:  # concurrent requests wait for the same map
            if self._made is None or self._made[0] is not active:
                position = snapshot.by_popularity.position
                position = position[snapshot.index.row[position] >= 0][:MOST]
                vectors = item_vectors[snapshot.index.row[position]]
                self._made = active, Map(position, placed(vectors))
            return self._made[1]


def placed(vectors: Floats) -> Floats:
    """Places (N, 2) for vectors (N, D): first their two principal components, then neighbours by cosine together.

    Most lie within -1 to 1; the first axis is the longer one. The vectors are centred first.
    """
    N = len(vectors)
    centred = vectors - vectors.mean(axis=0) if N else vectors
    unit = centred / lengths(centred)[:, None]
    place = principal(unit)
    if N > 1:
        itself = np.arange(N + 1), np.arange(N, dtype=np.int32)
        neighbour, _ = best_products(unit, unit, min(NEIGHBOURS, N - 1), np.ones(N, np.bool_), *itself)
        place *= np.float32(SIZE)
        settle(place, neighbour, EPOCHS, NEGATIVES, SEED)
        place = principal(place)
        low, high = np.quantile(place, [0.001, 0.999], axis=0)
        place = (2 * place - (low + high)) / np.maximum(high - low, 1e-6)
    return place.astype(np.float32)


def principal(points: Floats) -> Floats:
    """First two principal components of N points (N, D), (N, 2), the first of spread 1; 0 where there is none."""
    place = np.zeros((len(points), 2), np.float32)
    if len(points) > 1:
        centred = points - points.mean(axis=0)
        _, axes = np.linalg.eigh(centred.T @ centred)
        found = centred @ axes[:, :-3:-1]
        place[:, : found.shape[1]] = found / max(float(found[:, 0].std()), 1e-9)
    return place
