"""Federated EASE: the Gram matrix is a sum over users: one round gives that of all logs together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from palate.arrays import Floats
from palate.data.interactions import Interactions
from palate.errors import DataError
from palate.models.ease import EASE, PENALTY, gram_weights
from palate.models.item_to_item import DenseItemModel, positives
from palate.models.penalties import mean_size, preferred
from palate.privacy.federated.group import Again, Group
from palate.privacy.federated.messages import Message
from palate.privacy.federated.words import ROUNDING
from palate.privacy.federated.work import Known, Part

WHOLE = np.full(1, 2.0**31 - ROUNDING)  # the bound in whose steps whole numbers stay what they are
ATTEMPTS = 20


class EaseWork:
    """A client's side: X (U, I), 1 where a user likes an item."""

    def __init__(self, recipe: EASE, log: Interactions) -> None:
        self.recipe, self.X = recipe, positives(log, binary=True)

    def part(self, what: str, facts: Mapping[str, Any], arrays: tuple[NDArray[Any], ...]) -> Part:
        """Answer "gram": XᵀX, its lower triangle, row by row, (1, I (I + 1) / 2)."""
        if what != "gram":
            raise DataError(f"{what!r} is asked for; an EASE client answers gram")
        gram = (self.X.T @ self.X).toarray()
        return Part(gram[np.tril_indices(len(gram))][None, :].astype(np.float64), WHOLE, WHOLE)

    def model(self, facts: Mapping[str, Any], arrays: tuple[NDArray[Any], ...], known: Known) -> DenseItemModel:
        """Return the model of the items known here."""
        weights, likes = arrays
        own = np.ascontiguousarray(weights[np.ix_(known.rows, known.rows)])
        return DenseItemModel(replace(self.recipe, l2=facts["l2"]), known.items, likes[known.rows].copy(), own)


class EaseTraining:
    """The server's side, over I items."""

    def __init__(self, recipe: EASE, items: int) -> None:
        self.recipe, self.items = recipe, items

    def run(self, group: Group) -> Message:
        """Sum up the Gram matrices of all who are here, and return the message of the model."""
        for attempt in range(ATTEMPTS):
            try:
                with group.session(1):
                    triangle = group.sum(
                        Message("gram"), (1, self.items * (self.items + 1) // 2), WHOLE, 32, whole=False
                    )
                break
            except Again as lost:
                group.note(f"the round is done again: {lost}")
                if attempt == ATTEMPTS - 1:
                    raise
        gram = np.zeros((self.items, self.items), np.float32)
        gram[np.tril_indices(self.items)] = triangle[0]
        likes = gram.diagonal().copy()
        l2 = self.recipe.l2 or penalty(gram)
        gram[np.diag_indices(self.items)] += np.float32(l2)
        weights, _ = gram_weights(gram, l2)
        return Message("model", {"l2": l2}, (weights, likes))


def penalty(gram: Floats) -> float:
    """Return the penalty that follows a Gram matrix, its lower triangle (I, I), as `models.ease.fitting_l2` does."""
    items = gram.diagonal().astype(np.float64)
    squares = 2 * float(gram.sum(dtype=np.float64)) - float(items.sum())  # Σ over users of their number of items²
    users = squares / float(items.sum())
    return preferred(PENALTY * float(np.sqrt(users * mean_size(items))))
