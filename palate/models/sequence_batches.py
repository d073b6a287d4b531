"""Histories cut into sequences, and sequences grouped into batches: what a sequence network learns from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from palate.arrays import Floats, Ints, Longs
from palate.data.interactions import Interactions
from palate.data.vocabulary import Vocabulary
from palate.models.event_inputs import no_types
from palate.models.network import Inputs


@dataclass(frozen=True, eq=False)
class SequenceBatches:
    """Sequences of at least two events: start (P,), length (P,) within item, weight, time and event (N,)."""

    item: Ints
    weight: Floats
    time: Longs
    event: Longs
    start: Longs
    length: Longs

    @classmethod
    def of(cls, log: Interactions, longest: int, types: Vocabulary | None = None) -> SequenceBatches:
        """Cut so that each event but the first of a history is a target once, with up to `longest` inputs.

        types  the event types that a network tells apart, None for none
        """
        rows = log.histories().typed(no_types() if types is None else types).where(log.liked)
        left = rows.left
        start = np.flatnonzero((rows.place % longest == 0) & (left > 1))
        event = rows.types.astype(np.int64) + 1
        return cls(rows.column, rows.weight, rows.moments, event, start, np.minimum(longest + 1, left[start]))

    @property
    def targets(self) -> int:
        """Events that are guessed."""
        return int((self.length - 1).sum())

    def batches(self, events: int, rng: np.random.Generator) -> list[tuple[Inputs, Ints]]:
        """Make inputs and targets (B, T) of batches of about this many events, -1 after the end of a sequence.

        Sequences of similar length share a batch; the batches come in random order.
        """
        order = np.argsort(self.length * (1 + rng.random(len(self.length)) / 4))
        groups = np.split(order, np.flatnonzero(np.diff(np.cumsum(self.length[order]) // events)) + 1)
        return [self.batch(groups[n]) for n in rng.permutation(len(groups)) if len(groups[n])]

    def batch(self, rows: Longs) -> tuple[Inputs, Ints]:
        """Make inputs and targets (B, T) of these pieces."""
        start, length = self.start[rows, None], self.length[rows, None]
        place = np.arange(int(length.max(initial=1)))
        at = np.minimum(start + place, len(self.item) - 1)
        target = np.where(place < length, self.item[at], np.int32(-1))[:, 1:]
        at = at[:, :-1]
        item = np.where(target < 0, np.int32(-1), self.item[at]).astype(np.int64)
        return Inputs(item, length[:, 0] - 1, self.weight[at], self.time[at], self.event[at]), target
