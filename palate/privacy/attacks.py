"""Attacks: what a curious reader of a model finds out of a user whose history, or a part of it, is known.

Each attack gives a user a number, the higher, the more the model seems to have learned of that user. How much higher
than in models without the user is told by shadow models: models of the same recipe that others could train, too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy.sparse import csr_array

from palate.arrays import Bools, Doubles, Floats, Ints, Longs
from palate.data.histories import Histories
from palate.data.interactions import Interactions
from palate.data.ragged import Ragged
from palate.data.vocabulary import Vocabulary
from palate.models.base import Model
from palate.models.item_to_item import positives

FEWEST = 4  # items of a user: two that are known, two that are asked for
SHOWN = 20  # items of a list
BLOCK = 1000  # users at once
LISTS, WEIGHTS, RECONSTRUCTION, ATTRIBUTE = range(4)
ATTACKS = ("membership, by lists", "membership, by weights", "reconstruction", "attribute")


@dataclass(frozen=True, eq=False)
class Targets:
    """U users of whom an attacker knows something, by rows of the items of a log.

    whole   the items that each likes, (U,) rows
    half    a random half of them
    rarest  the least chosen of them, (U,)
    hidden  one of the other half, (U,); decoy (U,): an item about as popular, which the user does not like
    """

    items: Vocabulary
    whole: Ragged
    half: Ragged
    rarest: Ints
    hidden: Ints
    decoy: Ints

    @classmethod
    def of(cls, log: Interactions, users: Longs, draw: np.random.Generator) -> Targets:
        """Draw what is known of these users, by their rows, each with `FEWEST` liked items at least."""
        X = positives(log, binary=True)
        counts = np.asarray(X.sum(axis=0))
        order = np.argsort(counts, kind="stable")
        place = np.argsort(order)
        rows = [draw.permutation(X.indices[X.indptr[user] : X.indptr[user + 1]]) for user in users]
        hidden = np.array([row[-1] for row in rows], np.int32)
        decoy = np.array([_decoy(row, order, place) for row in rows], np.int32)
        rarest = np.array([row[np.argmin(counts[row])] for row in rows], np.int32)
        return cls(log.items, ragged(rows), ragged([row[: len(row) // 2] for row in rows]), rarest, hidden, decoy)

    def __len__(self) -> int:
        return len(self.rarest)

    def block(self, low: int, high: int) -> Targets:
        """Return users `[low, high)`."""
        whole, half = (each.block(low, high) for each in (self.whole, self.half))
        return Targets(self.items, whole, half, self.rarest[low:high], self.hidden[low:high], self.decoy[low:high])

    def asked(self, rows: Ragged) -> Histories:
        """Return rows as histories that a model takes."""
        return Histories(pl.Series(np.arange(len(rows))), self.items, rows)


def _decoy(row: Ints, order: Longs, place: Longs) -> int:
    """Return the item nearest in popularity to the last of a row that is not in it; that one where all are."""
    own, wanted = set(row.tolist()), int(place[row[-1]])
    steps = (wanted + sign * far for far in range(1, len(order)) for sign in (1, -1))
    return next((int(order[n]) for n in steps if 0 <= n < len(order) and int(order[n]) not in own), int(row[-1]))


def ragged(rows: list[Ints]) -> Ragged:
    """Return rows of items, each of weight 1."""
    column = np.concatenate(rows).astype(np.int32)
    return Ragged(np.cumsum([0, *map(len, rows)], dtype=np.int64), column, np.ones(len(column), np.float32))


def numbers(model: Model, targets: Targets) -> Doubles:
    """Return what each of the `ATTACKS` makes of each user, (4, U); none is given the ids of users."""
    parts = [_numbers(model, targets.block(low, low + BLOCK)) for low in range(0, len(targets), BLOCK)]
    return np.concatenate(parts, axis=1)


def _numbers(model: Model, targets: Targets) -> Doubles:
    alone = Ragged(np.arange(len(targets) + 1), targets.rarest, np.ones(len(targets), np.float32))
    by_whole, by_half, by_one = (over(model, targets, rows) for rows in (targets.whole, targets.half, alone))
    each, own = np.arange(len(targets)), matrix(targets.whole, len(targets.items))
    return np.stack(
        [
            in_lists(model, targets, own),
            (by_whole * own).sum(axis=1) / own.sum(axis=1),
            rebuilt(by_one, own, targets.rarest),
            by_half[each, targets.hidden] - by_half[each, targets.decoy],
        ]
    )


def strength(model: Model, log: Interactions) -> Doubles:
    """Return how far a model scores the liked items of each user above the others, by all of them, sorted, (U,).

    In standard deviations of the user's scores; users without a liked item that the model knows are left out.
    """
    row = model.items.codes(log.items.ids)[log.item]
    known = log.liked & (row >= 0)
    own = np.zeros((len(log.users), len(model.items)), np.bool_)
    own[log.user[known], row[known]] = True
    scores = model.scores(model.histories(log.histories())).astype(np.float64)
    many = own.sum(axis=1)
    above = (scores * own).sum(axis=1) / np.maximum(many, 1) - scores.mean(axis=1)
    return np.sort((above / np.maximum(scores.std(axis=1), 1e-12))[many > 0])


def over(model: Model, targets: Targets, rows: Ragged) -> Floats:
    """Scores by the items of the targets, (B, I); the least one for an item that the model does not list."""
    scores = model.scores(model.histories(targets.asked(rows)))
    row = model.items.codes(targets.items.ids)
    return np.asarray(np.where(row >= 0, scores[:, row], scores.min(axis=1, keepdims=True)))


def matrix(rows: Ragged, items: int) -> Bools:
    """Return rows as a matrix, (B, I)."""
    found = csr_array((np.ones(len(rows.column), np.bool_), rows.column, rows.start), shape=(len(rows), items))
    return np.asarray(found.toarray())


def in_lists(model: Model, targets: Targets, own: Bools) -> Doubles:
    """Discounted gain of the own items (B, I) in the list that the known half gets, (B,)."""
    shown = model.recommend(targets.asked(targets.half), SHOWN).item
    row = np.append(targets.items.codes(model.items.ids), -1)[shown]  # -1 is no item
    hit = np.take_along_axis(own, np.maximum(row, 0), axis=1) & (row >= 0)
    return np.asarray(hit @ (1 / np.log2(np.arange(shown.shape[1]) + 2)))


def rebuilt(scores: Floats, own: Bools, known: Ints) -> Doubles:
    """Share of the other own items (B, I) among as many best ones by one known item, (B,)."""
    scores[np.arange(len(scores)), known] = -np.inf
    wanted = own.sum(axis=1) - 1
    found = np.empty(len(scores))
    for b, count in enumerate(wanted.tolist()):
        found[b] = own[b, np.argpartition(-scores[b], count - 1)[:count]].mean()
    return found


def calibrated(scores: Doubles, shadows: Doubles, member: Bools) -> Doubles:
    """Return the logarithm of the likelihood ratio of membership, (A, U), but for a factor the same for all users.

    scores (A, U) of the model; shadows (M, A, U), member (M, U): which shadow models have which users. The numbers of
    a user are Gaussian in models with and without, of own means and one variance (Carlini et al. 2022, with few
    shadow models). A user who is in all of them, or in none, is told by nothing.
    """
    many, few = member.sum(axis=0), (~member).sum(axis=0)
    inside = (shadows * member[:, None]).sum(axis=0) / np.maximum(many, 1)
    outside = (shadows * ~member[:, None]).sum(axis=0) / np.maximum(few, 1)
    return np.asarray(np.where((many > 0) & (few > 0), (inside - outside) * (scores - (inside + outside) / 2), 0.0))
