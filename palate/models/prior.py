"""What content says of item vectors: q_i ~ N(W z_i, σ² I), all of it learned from the items that have events.

Each weight of field f is N(0, τ_f²). The τ_f, the strengths of the fields, and σ are those under which the
vectors are most likely: no setting says what a text weighs beside a picture (MacKay 1992; Tipping 2001).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from palate.arrays import Doubles, Floats, Longs, aligned_copy

ROUNDS = 15  # of the search for the variances, which ends sooner when they stand
STANDS = 0.02  # relative change
WITHOUT = 2  # rounds before the vectors show what content is worth
FAINT = 1e-9  # smallest variance of weights, in variances of the vectors


@dataclass(frozen=True, eq=False)
class Prior:
    """content (N, E) of items with events; variance (F + 1,): τ² of the 1 and of each field; noise: σ².

    blocks (F + 1,): field f's numbers are columns [blocks[f], blocks[f + 1]) of the content
    """

    content: Floats
    blocks: Longs
    variance: Doubles
    noise: float

    @classmethod
    def of(cls, content: Floats, blocks: Longs, filled: Floats) -> Prior:
        """Learn the variances from content (N, E) and vectors (N, D); columns of zeros are padding."""
        vectors = filled[:, filled.any(axis=0)] if filled.any() else filled
        N, D = vectors.shape
        mean_square = max(float(np.square(vectors, dtype=np.float64).mean()), 1e-30)
        prior = cls(content, blocks, np.full(len(blocks), mean_square), mean_square)
        size, own = np.diff(blocks, prepend=0), prior.block_of
        gram, cross = prior.gram, (content.T @ vectors).astype(np.float64)
        whole = mean_square * N * D
        for _ in range(ROUNDS):
            spare = np.linalg.inv(gram / prior.noise + np.diag(1 / prior.variance[own]))  # variance of the weights
            weights = spare @ cross / prior.noise
            known = size - np.bincount(own, spare.diagonal(), len(size)) / prior.variance  # weights that data settle
            square = np.bincount(own, np.square(weights).sum(axis=1), len(size))
            error = whole - 2 * np.vdot(weights, cross) + np.vdot(weights, gram @ weights)
            variance = np.maximum(square / D / np.maximum(known, 1e-9), FAINT * mean_square)
            noise = max(float(error) / D / max(N - known.sum(), 1.0), FAINT * mean_square)
            change = np.abs(np.log(variance / prior.variance)).max()
            prior = cls(content, blocks, variance, noise)
            if change < STANDS:
                break
        return prior

    @cached_property
    def block_of(self) -> Longs:
        """Block of each number of a row, (E,)."""
        return np.repeat(np.arange(len(self.blocks)), np.diff(self.blocks, prepend=0))

    @cached_property
    def gram(self) -> Doubles:
        """Return contentᵀ content, (E, E)."""
        return (self.content.T @ self.content).astype(np.float64)

    @cached_property
    def _factor(self) -> tuple[Doubles, bool]:
        square = self.gram + np.diag(self.noise / self.variance[self.block_of])
        found: tuple[Doubles, bool] = cho_factor(square, check_finite=False)
        return found

    def weights(self, vectors: Floats) -> Floats:
        """W (E, D), the most likely under the variances, in closed form."""
        best = cho_solve(self._factor, (self.content.T @ vectors).astype(np.float64))
        return np.ascontiguousarray(best, np.float32)


@dataclass
class ContentPrior:
    """A prior during a fit: κ Σ_i |q_i - W z_i|² in the objective, from the third round on.

    content (N, E) of the items with events; blocks as in `Prior`; strength κ
    """

    content: Floats
    blocks: Longs
    strength: float
    rounds: int = 0
    learned: Prior | None = None

    def term(self, vectors: Floats) -> Floats:
        """Return κ W z_i for the item vectors (N, D) of a round, or (0, D) before the third."""
        self.rounds += 1
        if self.rounds <= WITHOUT:
            return vectors[:0]
        if self.learned is None:
            self.learned = Prior.of(self.content, self.blocks, vectors)
        return aligned_copy(np.float32(self.strength) * (self.content @ self.learned.weights(vectors)))

    def state(self) -> dict[str, int | float | Doubles]:
        """Return what was learned so far, as a checkpoint keeps it."""
        if self.learned is None:
            return {"rounds": self.rounds}
        return {"rounds": self.rounds, "variance": self.learned.variance, "noise": self.learned.noise}

    def resume(self, state: Mapping[str, Any]) -> None:
        """Take up what was learned."""
        self.rounds = state["rounds"]
        if "variance" in state:
            self.learned = Prior(self.content, self.blocks, np.array(state["variance"]), state["noise"])

    def turn(self, axes: Doubles) -> None:
        """Hear that the vectors were turned: what the prior says of them follows them by itself."""

    def loss(self, vectors: Floats) -> float:
        """Return what κ Σ_i |q_i - W z_i|² is above κ Σ_i |q_i|², 0 before the third round."""
        if self.learned is None:
            return 0.0
        expected = self.content @ self.learned.weights(vectors)
        return self.strength * float(np.vdot(expected, expected - 2 * vectors))

    def weights(self, vectors: Floats) -> Floats:
        """W (E, D) for the item vectors (N, D) of a fit."""
        return (self.learned or Prior.of(self.content, self.blocks, vectors)).weights(vectors)
