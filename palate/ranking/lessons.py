"""How to order candidates, learned from queries whose answers are known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from palate.arrays import Bools, Doubles, Floats, Ints
from palate.ranking.forest import Forest, grow

FEWEST = 50  # queries that a forest is trained on
TOP = 10  # places whose NDCG decides
SURE = 2.0  # standard errors by which an order must be better than a simpler one to stand in its place


class Lesson(NamedTuple):
    """Candidates of a query: features (F, C), what each is worth as an answer (C,), places in the stages (M, C).

    by_way (M + 1,): gains of the orders without a forest, `ways`, over all candidates, also where some are left out
    """

    columns: Floats
    label: Doubles
    place: Ints
    by_way: Doubles

    @classmethod
    def of(cls, columns: Floats, label: Doubles, place: Ints) -> Lesson:
        """Make one of all candidates."""
        by_way = [gain(by_place(way, place), label) for way in ways(len(place))]
        return cls(columns, label, place, np.array(by_way))

    def part(self, kept: Bools) -> Lesson:
        """Return the lesson of some of the candidates (C,)."""
        return Lesson(self.columns[:, kept], self.label[kept], self.place[:, kept], self.by_way)


def ways(stages: int) -> list[Floats]:
    """Weights (M,) of stages that may order without a forest: all of them together, and each alone."""
    return [np.ones(stages, np.float32), *np.eye(stages, dtype=np.float32)]


def learned(taught: Sequence[Lesson], held_out: Sequence[Lesson], seed: int) -> tuple[Forest, Floats]:
    """Train a forest, and say how to order without one, (M,); what is held out decides when it is good enough.

    The forest is empty where it orders the held-out queries no better. Else it is trained once more, on all queries,
    with as many more trees as there are more of them.
    """
    lessons = [*taught, *held_out]
    best = best_way(np.stack([each.by_way for each in lessons]))
    way = ways(len(lessons[0].place))[best]
    prior = [by_place(way, each.place) for each in lessons]
    sizes = np.array([len(each.label) for each in lessons])
    rows = np.concatenate([each.columns for each in lessons], axis=1)
    labels = np.concatenate([each.label for each in lessons])
    every = rows, labels, sizes, np.concatenate(prior)
    forest = grow(*every, len(held_out), seed)
    asked = zip(held_out, prior[-len(held_out) :], strict=True)
    more = np.array([gain(start + forest.scores(q.columns), q.label) - q.by_way[best] for q, start in asked])
    if not _sure(more):
        return Forest.empty(), way
    return grow(*every, 0, seed, round(len(forest) * len(lessons) / len(taught))), way


def best_way(gains: Doubles) -> int:
    """Choose one of the `ways` by its gains, (Q, M + 1): the stages together, unless one alone is surely better."""
    alone = 1 + int(np.argmax(gains[:, 1:].mean(axis=0)))
    return alone if _sure(gains[:, alone] - gains[:, 0]) else 0


def _sure(more: Doubles) -> bool:
    """Whether what queries gain, (Q,), is more than chance."""
    return bool(more.mean() > SURE * more.std() / np.sqrt(len(more)))


def by_place(order: Floats, place: Ints) -> Doubles:
    """Scores (C,) by places (M, C) in lists of weights (M,): log Σ_m order_m / (10 + place), Cormack et al. 2009."""
    return np.asarray(np.log(order @ (1 / (TOP + place))), np.float64)


def gain(score: Doubles, label: Doubles) -> float:
    """NDCG at the first `TOP` places of one query times the mean worth of its answers; label (C,)."""
    first = label[np.argsort(-score, kind="stable")[:TOP]]
    best = -np.sort(-label)[:TOP]
    discount = 1 / np.log2(2 + np.arange(len(first)))
    return float(first @ discount / (best @ discount) * label[label > 0].mean())
