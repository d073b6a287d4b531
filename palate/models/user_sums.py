"""iALS where the users are apart: each place solves its own, and the items are solved by sums over all places.

An epoch is that of `palate.models.ials`, with the same steps. For the items, conjugate gradients run where the sums
come together; each step takes one sum A p_i = Σ_u |w| (x_u·p_i) x_u of all places, (I, D).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from palate.arrays import AnyArray, Doubles, Floats, aligned_copy
from palate.compute.threads import ThreadTeam
from palate.data.ragged import Ragged
from palate.kernels.least_squares import residuals, row_solver
from palate.kernels.rows import gather, group_rows

BLOCK = 2048  # rows of a matrix product


@dataclass(frozen=True, eq=False)
class UserSums:
    """The events of one place: rows of its U users, columns of all I items, weights in units of the training.

    ridge (U,) is λ of the users; threads share the rows of a sum.
    """

    rows: Ragged
    columns: Ragged
    ridge: Floats
    threads: int

    @classmethod
    def of(cls, rows: Ragged, items: int, ridge: Floats, threads: int) -> UserSums:
        """Group the events by item, too."""
        start, order = group_rows(rows.column, items)
        user = np.repeat(np.arange(len(rows), dtype=np.int32), rows.lengths)
        return cls(rows, Ragged(start, gather(user, order), gather(rows.weight, order)), ridge, threads)

    def liked(self, users: Floats) -> Doubles:
        """Return b_i = Σ_u max(w, 0) x_u of each item, (I, D); users (U, D)."""
        nothing = np.zeros((len(self.columns), users.shape[1]), np.float32)
        return -self.summed(nothing, users, self.columns.weight)

    def applied(self, users: Floats, p: Floats) -> Doubles:
        """Return A p_i = Σ_u |w| (x_u·p_i) x_u, (I, D)."""
        return self.summed(p, users, -np.abs(self.columns.weight))

    def residual(self, users: Floats, items: Floats) -> Doubles:
        """Return b - A q, (I, D), summed event by event: the difference of the two sums would lose digits."""
        return -self.summed(items, users, self.columns.weight)

    def summed(self, side: Floats, users: Floats, weight: Floats) -> Doubles:
        """Return Σ_u (|w| x_u·p_i - max(w, 0)) x_u of each item; of weights below 0 that is Σ_u |w| (x_u·p_i) x_u."""
        out = np.zeros(side.shape)
        start, user = self.columns.start, self.columns.column
        given, held = np.ascontiguousarray(side), aligned_copy(users)

        def work(_: int, first: int, last: int) -> float:
            low, high = np.searchsorted(start[:-1], [first, last])  # threads get equal numbers of events
            residuals(given[low:high], held, start[low : high + 1], user, weight, out[low:high])
            return 0.0

        self.shared(work, len(user) + 1)
        return out

    def solved(self, users: Floats, items: Floats, spectrum: Floats, steps: int) -> Floats:
        """Return better vectors of the users, (U, D), after so many steps from where they are."""
        x, held = aligned_copy(users), aligned_copy(items)
        start = self.rows.start
        solve = row_solver(x.shape[1])
        columns = start, self.rows.column, self.rows.weight, np.ascontiguousarray(spectrum), self.ridge, x[:0]

        def work(_: int, first: int, last: int) -> float:
            low, high = np.searchsorted(start[:-1], [first, last])
            solve(x, held, *columns, steps, low, high)
            return 0.0

        self.shared(work, len(self.rows.column) + 1)
        return x

    def shared(self, work: Callable[[int, int, int], float], total: int) -> None:
        """Divide the positions below `total` among the threads."""
        with ThreadTeam(self.threads) as team:
            team.run(work, 0, total)


def gram_of(vectors: Floats) -> Doubles:
    """Return vectorsᵀ vectors, (D, D), block by block."""
    total = np.zeros(2 * vectors.shape[1:])
    for low in range(0, len(vectors), BLOCK):
        block = vectors[low : low + BLOCK].astype(np.float64)
        total += block.T @ block
    return total


@dataclass(frozen=True, eq=False)
class Turned:
    """Items (I, D) solved, and turned by `turn` (D, D) so that α Σ q qᵀ is `spectrum` (D,)."""

    items: Floats
    turn: Floats
    spectrum: Floats


def solved_items(
    items: Floats,
    gram: Doubles,
    unseen_weight: float,
    ridge: Floats,
    steps: int,
    residual: Callable[[Floats, Floats], Doubles],
    apply: Callable[[Floats], AnyArray],
) -> Turned:
    """Improve items (I, D) by the Gram matrix of all users, (D, D), and the penalties λ of the items, (I,).

    residual returns b - A q, summed over all places, for q and the axes by which users shall be turned first
    apply    returns A p
    """
    values, axes = principal(gram)
    diagonal = (unseen_weight * values).astype(np.float32) + ridge[:, None]
    x = items @ axes
    x = descended(x, residual(x, axes) - diagonal * x, diagonal, lambda p: apply(p) + diagonal * p, steps)
    values, turn = principal(gram_of(x))
    return Turned(x @ turn, turn, (unseen_weight * values).astype(np.float32))


def principal(gram: Doubles) -> tuple[Doubles, Floats]:
    """Return the eigenvalues of a Gram matrix (D, D), the largest first and none below 0, and its axes."""
    values, axes = np.linalg.eigh((gram + gram.T) / 2)
    return np.maximum(values[::-1], 0), np.ascontiguousarray(axes[:, ::-1], np.float32)


def descended(x: Floats, r: Doubles, diagonal: Floats, apply: Callable[[Floats], AnyArray], steps: int) -> Floats:
    """Return x (I, D) after steps of conjugate gradients from the residual r, as `kernels.least_squares` has them."""
    x, p = x.astype(np.float64), r / diagonal
    rz = np.einsum("id,id->i", r, p)
    whole, going = rz, np.ones(len(x), np.bool_)
    for step in range(steps):
        Ap = apply(p.astype(np.float32))
        curve = np.einsum("id,id->i", p, Ap)
        going = going & (curve > 0)
        length = np.divide(rz, curve, out=np.zeros_like(rz), where=going)
        x = x + length[:, None] * p
        if step + 1 < steps:
            r = r - length[:, None] * Ap
            before, rz = rz, np.einsum("id,id->i", r, r / diagonal)
            going = going & (rz > 1e-12 * whole)
            more = np.divide(rz, before, out=np.zeros_like(rz), where=going)
            p = np.where(going[:, None], r / diagonal + more[:, None] * p, 0)
    return x.astype(np.float32)
