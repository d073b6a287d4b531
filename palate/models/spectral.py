"""First vectors for a network: items that stand near each other in histories begin near each other."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array, diags_array

from palate.arrays import Floats
from palate.compute.svd import leading, unit
from palate.data.interactions import Interactions
from palate.models.sequences import Sequences, Tables

LONGEST = 200  # events of a sequence: a longer history is cut


def near_vectors(log: Interactions, dim: int, *, decay: float = 0.7, seed: int = 0) -> Floats:
    """Return unit vectors (I, dim) of the items: the leading axes of who stands near whom.

    Two events d places apart in a history count decay^d; each pair of items is divided by the roots of their totals.
    """
    P = Sequences.of(log, LONGEST).inputs(Tables.of(LONGEST, alpha=1.0, whole_decay=decay))
    I = len(P.diagonal)
    near = csr_array((P.value, P.column, P.start), shape=(I, I))
    near.setdiag(0)
    root = diags_array((near.sum(axis=1) + 1) ** -0.5)
    A = csr_array(root @ near @ root)
    vectors = unit(leading(lambda Q: A @ Q, I, dim, seed))
    noise = np.random.default_rng(seed).standard_normal((I, dim), np.float32) / np.sqrt(dim)
    return unit(vectors + np.float32(0.01) * noise)  # so that items without neighbours differ
