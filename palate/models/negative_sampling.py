"""Negative sampling: samples of the catalogue that many events share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from palate.arrays import Doubles, Floats, Ints


@dataclass(frozen=True)
class NegativeSample:
    """A sample of the catalogue: S distinct items, and the logarithms of 1 / their probabilities of being in it."""

    items: Ints
    log_weight: Floats

    def places(self, n_items: int) -> Ints:
        """Place of each item in the sample, or -1, (n_items,)."""
        slot = np.full(n_items, -1, np.int32)
        slot[self.items] = np.arange(len(self.items), dtype=np.int32)
        return slot


@dataclass(frozen=True)
class SharedSampler:
    """Draws S distinct items: windows of a shuffled catalogue, or with probabilities q (I,) where given.

    With probabilities q, item i is in a sample with probability 1 - (1 - q_i)^S.
    """

    size: int
    n_items: int
    probability: Doubles | None = None

    def samples(self, rng: np.random.Generator) -> Iterator[NegativeSample]:
        """Yield samples without end."""
        if self.size >= self.n_items:
            return self._whole()
        return self._windows(rng) if self.probability is None else self._draws(rng, self.probability)

    def _whole(self) -> Iterator[NegativeSample]:
        everything = NegativeSample(np.arange(self.n_items, dtype=np.int32), np.zeros(self.n_items, np.float32))
        while True:
            yield everything

    def _windows(self, rng: np.random.Generator) -> Iterator[NegativeSample]:
        deck = np.arange(self.n_items, dtype=np.int32)
        log_weight = np.full(self.size, np.log(self.n_items / self.size), np.float32)
        while True:
            rng.shuffle(deck)
            for low in range(0, self.n_items - self.size + 1, self.size):
                yield NegativeSample(deck[low : low + self.size].copy(), log_weight)

    def _draws(self, rng: np.random.Generator, probability: Doubles) -> Iterator[NegativeSample]:
        upto = np.cumsum(probability)
        with np.errstate(divide="ignore"):  # an item that is never drawn has no weight
            log_weight = -np.log(-np.expm1(self.size * np.log1p(-np.minimum(probability, 1 - 1e-9)))).astype(
                np.float32
            )
        while True:
            found = np.searchsorted(upto, rng.random(self.size) * upto[-1], side="right")
            items = np.unique(np.minimum(found, self.n_items - 1)).astype(np.int32)
            yield NegativeSample(items, log_weight[items])
