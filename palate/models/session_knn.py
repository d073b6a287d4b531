"""SessionKNN: the sessions of the log that are most like a history vote for what comes next.

Jannach, Ludewig 2017, "When Recurrent Neural Networks meet the Neighborhood for Session-Based Recommendation";
Garg et al. 2019, "Sequence and Time Aware Neighborhood for Session-based Recommendations" (STAN); Ludewig, Mauro,
Latifi, Jannach 2019, "Performance Comparison of Neural and Non-Neural Approaches to Session-based Recommendation"
(VSTAN).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated, ClassVar

import numpy as np
from scipy.sparse import csr_array

from palate.arrays import Array, Floats, Ints, Longs
from palate.data.catalogue import Catalogue
from palate.data.histories import Histories
from palate.data.interactions import Interactions
from palate.data.ragged import Ragged
from palate.data.vocabulary import Vocabulary
from palate.errors import check
from palate.kernels.positives import newest_only
from palate.kernels.rows import slice_rows
from palate.kernels.sequences import recency
from palate.kernels.sessions import nearest_sessions, shared, vote
from palate.models.base import Model, Recipe, Watch, refuse_empty
from palate.models.item_to_item import FAINT
from palate.models.neighbours import arrays
from palate.models.registry import register
from palate.models.weights import check_half_life, faded


@dataclass(frozen=True, kw_only=True)
class SessionKNN(Recipe):
    """A session s of the log is like a history by Σ_j decay^back_j idf_j over the items j that both hold.

    back_j liked events came after j in the history; idf_j = log(1 + S / S_j), S_j of the S sessions holding j. The
    `neighbours` most alike vote: each gives every item i of its own its similarity · near^distance, where distance
    is the places between i and the newest item in common. The sum is divided by S_i^beta. A session is what a user
    liked; an event of weight 0 or less counts as seen, and for nothing else.

    sample          the newest sessions that hold an item of the history are looked at, so many for each item
    beta            more, fewer popular items
    half_life_days  a session counts half for each half-life between its end and the newest event of the log
    longest         newest events that are kept of a user, and read of a history
    """

    neighbours: int = 500
    sample: int = 200
    decay: float = 0.5
    near: float = 0.7
    beta: float = 0.3
    half_life_days: float | None = None
    longest: int = 200
    reads_weights: ClassVar[bool] = False

    def __post_init__(self) -> None:
        for name in ("neighbours", "sample", "longest"):
            check(getattr(self, name) >= 1, name, getattr(self, name), "must be 1 or more")
        for name in ("decay", "near"):
            check(0 < getattr(self, name) <= 1, name, getattr(self, name), "must be above 0, at most 1")
        check(0 <= self.beta < np.inf, "beta", self.beta, "must be 0 or more")
        check_half_life(self.half_life_days)

    def fit(
        self, log: Interactions, catalogue: Catalogue | None = None, *, watch: Watch | None = None
    ) -> SessionKNNModel:
        """Keep the sessions of the log, in the order of their ends."""
        refuse_empty(log)
        fading = faded(replace(log, weight=np.ones_like(log.weight)), self.half_life_days)
        kept = log.rows.where(log.liked)
        known = np.flatnonzero(kept.lengths)
        last = kept.start[1:][known] - 1  # of each session
        order = np.argsort(kept.moments[last], kind="stable")
        sessions = kept.rows(known[order])
        newest = sessions.where(sessions.left <= self.longest)
        importance = fading[log.liked][last][order]
        users = log.users.select(known[order].astype(np.int32))
        return SessionKNNModel(self, log.items, users, newest.start, newest.column, importance)

    def inputs(self, past: Ragged) -> Floats:
        """Return decay^back of each event of one history, (H,); 0 for one not liked, or whose item comes again."""
        read = np.flatnonzero(past.liked)[-self.longest :]
        item, start = past.column[read], np.array([0, len(read)])
        found = np.zeros(len(past.column), np.float32)
        found[read] = newest_only(start, item, recency(start, np.ones(len(read), np.bool_), self.decay))
        return found


@dataclass(frozen=True, eq=False)
class SessionKNNModel(Model):
    """Liked items of the `users` trained on, the session that ended first at first.

    start (U + 1,), column (N,): their items, oldest first; importance (U,): what a session counts beside a new one
    """

    recipe: SessionKNN
    items: Vocabulary
    users: Vocabulary
    start: Annotated[Longs, Array("users+1", starts="events")]
    column: Annotated[Ints, Array("events", below="items")]
    importance: Annotated[Floats, Array("users", least=0)]

    @property
    def sizes(self) -> dict[str, int]:
        """Numbers that the words of its `Array` fields stand for."""
        return {**super().sizes, "users": len(self.users)}

    @cached_property
    def holders(self) -> tuple[Longs, Ints]:
        """Sessions that hold each item, once each: start (I + 1,), and the sessions in their order."""
        ones = np.ones(len(self.column), np.float32)
        matrix = csr_array((ones, self.column, self.start), (len(self.users), len(self.items)), copy=True)
        matrix.sum_duplicates()
        first, holder, _ = arrays(matrix.T.tocsr())
        return first, holder

    @cached_property
    def counts(self) -> Floats:
        """Number of sessions that hold each item, (I,)."""
        return np.diff(self.holders[0]).astype(np.float32)

    @cached_property
    def rarity(self) -> Floats:
        """log(1 + S / S_j) of each item, (I,)."""
        return np.log1p(len(self.users) / np.maximum(self.counts, 1)).astype(np.float32)

    @cached_property
    def share(self) -> Floats:
        """What is left of the votes for each item, (I,)."""
        return np.maximum(self.counts, 1) ** np.float32(-self.recipe.beta)

    def kept(self, rows: Ints) -> dict[str, object]:
        """Return the fields with data of users, for only these rows of `users`."""
        start, event = slice_rows(self.start, rows.astype(np.int64))
        return {**super().kept(rows), "start": start, "column": self.column[event]}

    def nearest(self, past: Ragged) -> tuple[Ints, Ints, Floats, Floats]:
        """Return the sessions most like one history, the item that ties each, their similarity; shares of events."""
        share = self.recipe.inputs(past) * self.rarity[past.column]
        room = self.recipe.sample, self.recipe.neighbours
        session, event, like = nearest_sessions(*self.holders, self.importance, past.column, share, *room)
        return session, past.column[event], like, share

    def scores(self, histories: Histories) -> Floats:
        """Sum the votes of the sessions, (B, I), where there are none by popularity."""
        rows = histories.on(self.items).rows
        votes = np.zeros((len(rows), len(self.items)), np.float32)
        for b in range(len(rows)):
            session, anchor, like, _ = self.nearest(rows.block(b, b + 1))
            vote(self.start, self.column, session, anchor, like, self.recipe.near, votes[b])
        votes *= self.share
        votes += self.counts * (FAINT / max(1, self.counts.max(initial=0)))
        votes[rows.positives == 0] = self.counts
        return votes

    def contributions(self, past: Ragged, items: Ints) -> Floats:
        """Exact parts of the scores, (N, J): what an event adds to the similarity of the sessions."""
        session, anchor, _, share = self.nearest(past)
        counted = np.flatnonzero(share)
        held = shared(self.start, self.column, session, past.column[counted])
        found = np.zeros((len(past.column), len(items)), np.float32)
        for n, own in zip(counted, held, strict=True):
            votes, part = np.zeros(len(self.items), np.float32), share[n] * own * self.importance[session]
            vote(self.start, self.column, session, anchor, part, self.recipe.near, votes)
            found[n] = votes[items] * self.share[items]
        return found


register(SessionKNN, SessionKNNModel)
