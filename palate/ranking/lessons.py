"""How to order candidates, learned from queries whose answers are known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from palate.arrays import Doubles, Floats, Ints
from palate.ranking.forest import Forest, grow

FEWEST = 50  # queries that a forest is trained on
TOP = 10  # places whose NDCG decides
SURE = 2.0  # standard errors by which a forest must order held-out queries better than the first stages do


class Lesson(NamedTuple):
    """Candidates of a query: features (F, C), what each is worth as an answer (C,), places in the stages (M, C)."""

    columns: Floats
    label: Doubles
    place: Ints


def learned(taught: Sequence[Lesson], held_out: Sequence[Lesson], seed: int) -> tuple[Forest, Floats]:
    """Train a forest, and say how to order without one, (M,); what is held out decides when it is good enough.

    The forest is empty where it orders the held-out queries no better. Else it is trained once more, on all queries.
    """
    stages = len(held_out[0].place)
    ways = [np.ones(stages, np.float32), *np.eye(stages, dtype=np.float32)]
    by_way = [np.array([gain(by_place(way, each.place), each.label) for each in held_out]) for way in ways]
    best = int(np.argmax([each.mean() for each in by_way]))
    lessons = [*taught, *held_out]
    prior = [by_place(ways[best], each.place) for each in lessons]
    sizes = np.array([len(each.label) for each in lessons])
    rows = np.concatenate([each.columns for each in lessons], axis=1)
    labels = np.concatenate([each.label for each in lessons])
    every = rows, labels, sizes, np.concatenate(prior)
    forest = grow(*every, len(held_out), seed)
    asked = zip(held_out, prior[-len(held_out) :], by_way[best], strict=True)
    more = np.array([gain(start + forest.scores(q.columns), q.label) - before for q, start, before in asked])
    sure = more.mean() > SURE * more.std() / np.sqrt(len(more))
    return (grow(*every, 0, seed, len(forest)) if sure else Forest.empty()), ways[best]


def by_place(order: Floats, place: Ints) -> Doubles:
    """Scores (C,) by places (M, C) in lists of weights (M,): log Σ_m order_m / (10 + place), Cormack et al. 2009."""
    return np.asarray(np.log(order @ (1 / (TOP + place))), np.float64)


def gain(score: Doubles, label: Doubles) -> float:
    """NDCG at the first `TOP` places of one query times the mean worth of its answers; label (C,)."""
    first = label[np.argsort(-score, kind="stable")[:TOP]]
    best = -np.sort(-label)[:TOP]
    discount = 1 / np.log2(2 + np.arange(len(first)))
    return float(first @ discount / (best @ discount) * label[label > 0].mean())
