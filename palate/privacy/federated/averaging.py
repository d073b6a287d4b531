"""Federated averaging (McMahan et al. 2017) of the item vectors of an Embedding; users' vectors stay where they are.

In each round a client trains one epoch on its log from the common item vectors, and sends by how much they moved,
times its share of all events. Rows that moved far are cut, which bounds the pull of any client.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from palate.arrays import Doubles, Floats, aligned_copy
from palate.compute.threads import ThreadTeam
from palate.data.interactions import Interactions
from palate.errors import DataError
from palate.models.embedding import Embedding, EmbeddingModel
from palate.models.sgd import LinearDecay
from palate.privacy.federated.group import Again, Group
from palate.privacy.federated.messages import Message
from palate.privacy.federated.work import Known, Part, Totals, totals_width

FAR = 4.0  # by how much a number of an item vector may move in a round
ATTEMPTS = 20


class AveragingWork:
    """A client's side: its users' vectors, and the sums of squares of Adagrad, stay from round to round."""

    def __init__(self, recipe: Embedding, log: Interactions) -> None:
        self.recipe, self.log = recipe, log
        self.totals = Totals.of(log)

    def part(self, what: str, facts: Mapping[str, Any], arrays: tuple[NDArray[Any], ...]) -> Part:
        """Answer "totals", and "round" with the moves of the items and the share of the events, (I + 1, D)."""
        if what == "totals":
            return self.totals.part()
        if what != "round":
            raise DataError(f"{what!r} is asked for; an Embedding client answers totals and round")
        if facts["round"] == 0 or not hasattr(self, "task"):
            self.begin(facts["l2"])
        share = len(self.log) / facts["events"]
        values = np.full((len(arrays[0]) + 1, self.recipe.dim), share)
        values[:-1] *= self.trained(arrays[0], facts["round"]) - arrays[0]
        return Part(values, np.full(len(values), FAR * share), np.full(len(values), FAR))

    def begin(self, l2: float) -> None:
        """Start the users' vectors."""
        self.recipe = replace(self.recipe, l2=l2).resolved_for(1.0)
        rows = self.log.rows.clipped()
        self.task = self.recipe.sgd_task(replace(self.log, weight=rows.weight), self.log.item_weights())

    def trained(self, items: Floats, at: int) -> Doubles:
        """Return the item vectors (I, D) after an epoch from those given."""
        dim = self.recipe.dim
        self.task.items[:, :dim] = items
        rate = LinearDecay(self.recipe.epochs or 1, self.recipe.learning_rate or 0.0, self.recipe.threads).at(at)
        with ThreadTeam(self.recipe.threads) as team:
            for _ in self.task.epoch(team, rate):
                pass
        return self.task.items[:, :dim].astype(np.float64)

    def model(self, facts: Mapping[str, Any], arrays: tuple[NDArray[Any], ...], known: Known) -> EmbeddingModel:
        """Return the model of the items known here."""
        if not hasattr(self, "task"):
            self.begin(facts["l2"])
        items, likes = arrays
        users = aligned_copy(self.task.users[:, : self.recipe.dim])
        own = aligned_copy(np.ascontiguousarray(items[known.rows]))
        hashes = on_known(self.log, known).rows.fingerprints()
        return EmbeddingModel(self.recipe, known.items, self.log.users, users, own, likes[known.rows].copy(), hashes)


def on_known(log: Interactions, known: Known) -> Interactions:
    """Return a log over agreed items as one over the items known here."""
    place = np.full(len(log.items), -1, np.int32)
    place[known.rows] = np.arange(len(known.rows), dtype=np.int32)
    return replace(log, items=known.items, item=place[log.item])


class AveragingTraining:
    """The server's side, over I items."""

    def __init__(self, recipe: Embedding, items: int) -> None:
        self.recipe = recipe
        self.vectors = np.random.default_rng(recipe.seed).standard_normal((items, recipe.dim), np.float32)
        self.vectors *= np.float32(recipe.init_std)

    def run(self, group: Group) -> Message:
        """Train and return the message of the model; a round goes on without those who leave in it."""
        totals: Totals | None = None
        rounds, done, attempts = self.recipe.resolved().epochs or 1, 0, 0
        I, D = self.vectors.shape
        while done < rounds:
            try:
                with group.session(2) as changed:
                    if changed or totals is None:
                        asked, every = Message("totals"), np.full(1, 2.0**43)
                        totals = Totals.read(group.sum(asked, (1, totals_width(I)), every, 64, whole=True))
                        self.recipe = self.recipe.resolved_for(totals.noise)
                    facts = {"round": done, "events": totals.events, "l2": self.recipe.l2}
                    bound = np.full(I + 1, FAR)
                    moves = group.sum(Message("round", facts, (self.vectors,)), (I + 1, D), bound, 32, whole=False)
            except Again as lost:
                attempts += 1
                group.note(f"round {done + 1} is done again: {lost}")
                if attempts == ATTEMPTS:
                    raise
                continue
            self.vectors = (self.vectors + moves[:-1] / max(float(moves[-1, 0]), 1e-6)).astype(np.float32)
            done, attempts = done + 1, 0
            group.note(f"round {done} of {rounds}: {len(group.members)} clients")
        assert totals is not None
        return Message("model", {"l2": self.recipe.l2}, (self.vectors, totals.likes.astype(np.float32)))
