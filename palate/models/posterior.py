"""What a model of vectors does not know of a user: a Gaussian about the vector that the history gives."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg.lapack import dposv, dpotrf, dtrtrs

from palate.arrays import Bools, Doubles, Floats, Longs


@dataclass(frozen=True, eq=False)
class Posterior:
    """N(x̂, (2A)⁻¹) of a user's vector x, A = Λ + VᵀV: what is left open where scores are x·q_i.

    The fold-in minimises L(x) = (x - x̂)ᵀ A (x - x̂) + constant (Hu, Koren and Volinsky 2008, eq. 3). With L as minus
    the logarithm of a density, the covariance is the inverse of its Hessian 2A: Laplace's approximation, as in
    Chapelle and Li 2011, alg. 3, and exact here.

    diagonal (D,)  Λ, above 0; rows (N, D)  V, √|w| q of the events; items (I, D)
    cold (I,)      items whose own vectors are open, too; None for none; spread: standard deviation of their scores
    """

    diagonal: Doubles
    rows: Doubles
    items: Floats
    cold: Bools | None = None
    spread: float = 0.0

    @property
    def numbers(self) -> int:
        """Normal numbers that one draw takes."""
        events, dim = self.rows.shape
        return int(dim if events >= dim else events + dim)

    def deviations(self, normal: Doubles | Floats) -> Doubles:
        """Turn independent normal numbers (M, `numbers`) into draws of x - x̂, (M, D).

        Of N events and D dimensions the fewer say how large a system is solved. With N < D, z + V'ε with the
        covariance A is solved for (Papandreou and Yuille 2010), by (Λ + VᵀV)⁻¹ = Λ⁻¹ - Λ⁻¹Vᵀ (I + VΛ⁻¹Vᵀ)⁻¹ VΛ⁻¹.
        """
        V, (N, D) = self.rows, self.rows.shape
        if N >= D:  # A = LLᵀ: L⁻ᵀ z has the covariance A⁻¹
            A = V.T @ V
            A.flat[:: D + 1] += self.diagonal
            drawn = dtrtrs(dpotrf(A, lower=1)[0], normal.T, lower=1, trans=1)[0].T
        else:
            noise = normal[:, :D] * np.sqrt(self.diagonal) + normal[:, D:] @ V
            drawn = noise / self.diagonal
            if N:
                across = V / self.diagonal
                K = across @ V.T
                K.flat[:: N + 1] += 1.0
                drawn -= dposv(K, across @ noise.T)[1].T @ across
        return np.asarray(drawn * np.sqrt(0.5))

    def scores(self, rows: Longs, count: int, random: np.random.Generator) -> Floats:
        """Draw `count` times by how much the scores of items (P,) may be off, together, (count, P)."""
        vectors = self.deviations(random.standard_normal((count, self.numbers), np.float32))
        found = vectors.astype(np.float32) @ self.items[rows].T
        if self.cold is not None and self.spread:
            own = np.flatnonzero(self.cold[rows])
            found[:, own] += np.float32(self.spread) * random.standard_normal((count, len(own)), np.float32)
        return np.asarray(found)
