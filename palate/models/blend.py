"""Blend: the scores of several models added up, with weights learned from what users did next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, cast

import numpy as np

from palate.arrays import Array, Bools, Doubles, Floats, Ints
from palate.data.catalogue import Catalogue
from palate.data.histories import Histories
from palate.data.interactions import Interactions
from palate.data.ragged import Ragged
from palate.data.vocabulary import Id, Vocabulary
from palate.errors import check
from palate.kernels.places import mean_places
from palate.models.base import Model, Recipe, Watch, refuse_empty
from palate.models.guarantee import Guarantee
from palate.models.registry import as_recipe, register


@dataclass(frozen=True, kw_only=True)
class Blend(Recipe):
    """Several recipes, each given as such or as text; a score is Σ_m weight_m rank_score_m.

    The rank score of an item is -log r, r its place in the model's ranking for the user. Equal scores share the mean
    of their places, so scores of any scale blend. The weights are those, 0 or more, that make held-out events most
    likely under a softmax: the last event of `users` users, or of all with two or more events. Each recipe is
    fitted to the rest, then once more to the whole log. All rank the same items, those of the log: of a catalogue's
    others nothing is read.
    """

    recipes: tuple[str | Recipe, ...] = ("SLIST()", "Transformer()")
    users: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        check(len(self.recipes) >= 1, "recipes", self.recipes, "must name one recipe at least")
        object.__setattr__(self, "recipes", tuple(as_recipe(each, "recipes") for each in self.recipes))
        check(self.users >= 1, "users", self.users, "must be 1 or more")
        check(0 <= self.seed < 2**63, "seed", self.seed, "must be from 0 to 2^63 - 1")

    def fit(self, log: Interactions, catalogue: Catalogue | None = None, *, watch: Watch | None = None) -> BlendModel:
        """Fit each recipe twice; `watch` follows one fit after the other."""
        refuse_empty(log)
        recipes = cast("tuple[Recipe, ...]", self.recipes)

        def fitted(to: Interactions) -> tuple[Model, ...]:
            known = None if catalogue is None else catalogue.among(to.items)
            return tuple(each.fit(to, known, watch=watch) for each in recipes)

        held_out = self.held_out(log)
        weights = np.ones(len(recipes), np.float32)
        if held_out.any() and log.liked[~held_out].any() and len(recipes) > 1:
            weights = learned(self.questions(fitted(log.select(~held_out)), log, held_out))
        return BlendModel(self, log.items, fitted(log), weights)

    def guarantees(self) -> tuple[Guarantee, ...]:
        """Return those of the recipes, each fitted twice; the weights between models have none."""
        return super().guarantees() * (2 if len(self.recipes) > 1 else 1)

    def held_out(self, log: Interactions) -> Bools:
        """Mark the last event of weight above 0, (N,), of some users who have another one."""
        liked = np.flatnonzero(log.liked)
        user = log.user[liked]
        last = np.append(user[1:] != user[:-1], True) & np.insert(user[1:] == user[:-1], 0, False)
        able = liked[last]
        chosen = np.random.default_rng(self.seed).permutation(len(able))[: self.users]
        mask = np.zeros(len(log), np.bool_)
        mask[able[chosen]] = True
        return mask

    def questions(self, models: Sequence[Model], log: Interactions, held_out: Bools) -> tuple[Doubles, Bools]:
        """Rank scores of the models (Q, M, I) and answers (Q, I) for held-out events that are new to their user."""
        items, users = models[0].items, log.user[held_out]
        histories = log.select(~held_out).histories(log.users.ids.gather(users)).on(items)
        wanted = items.recode(log.items)[log.item[held_out]]
        answers = np.zeros((len(users), len(items)), np.bool_)
        answers[np.arange(len(users)), wanted] = wanted >= 0
        seen = marked(histories)
        answers &= ~seen
        kept = answers.any(axis=1)
        stacked = [rank_scores(each.scores(histories), seen)[kept] for each in models]
        return np.stack(stacked, axis=1).astype(np.float64), answers[kept]


def learned(asked: tuple[Doubles, Bools]) -> Floats:
    """Weights (M,), 0 or more, that make the answers (Q, I) most likely; a convex problem."""
    from scipy.optimize import minimize  # takes a while, which only blends shall cost

    rank_scores, answers = asked
    if not len(rank_scores):
        return np.ones(rank_scores.shape[1], np.float32)
    right = rank_scores.transpose(0, 2, 1)[answers]  # (Q, M)

    def cost(weights: Doubles) -> tuple[float, Doubles]:
        scores = np.einsum("qmi,m->qi", rank_scores, weights)
        odds = np.exp(scores - scores.max(axis=1, keepdims=True))
        total = odds.sum(axis=1)
        likely = np.log(odds[answers] / total).mean()
        slope = np.einsum("qmi,qi->qm", rank_scores, odds / total[:, None]) - right
        return -float(likely), slope.mean(axis=0)

    best = minimize(
        cost, np.ones(rank_scores.shape[1]), jac=True, method="L-BFGS-B", bounds=[(0, None)] * rank_scores.shape[1]
    )
    return np.asarray(best.x, np.float32)


def rank_scores(scores: Floats, seen: Bools) -> Floats:
    """-log r of each item, (B, I), r its place among those not `seen` (B, I), where equal scores share the mean."""
    without_minus_0 = np.add(scores, np.float32(0), dtype=np.float32, order="C")
    return np.asarray(-np.log(mean_places(without_minus_0.view(np.uint32), seen)), np.float32)


def marked(histories: Histories) -> Bools:
    """Whether an item is in a history, (B, I)."""
    rows = histories.rows
    seen = np.zeros((len(rows), len(histories.items)), np.bool_)
    seen[np.repeat(np.arange(len(rows)), rows.lengths), rows.column] = True
    return seen


@dataclass(frozen=True, eq=False)
class BlendModel(Model):
    """models, all over `items`, and weights (M,) of their levels."""

    recipe: Blend
    items: Vocabulary
    models: tuple[Model, ...]
    weights: Annotated[Floats, Array("models")]

    @property
    def sizes(self) -> dict[str, int]:
        """Numbers that the words of its `Array` fields stand for."""
        return {**super().sizes, "models": len(self.models)}

    def fault(self) -> str:
        """Say what is wrong with `models`."""
        same = all(each.items.ids.equals(self.items.ids) for each in self.models)
        return "" if self.models and same else "models must be over the same items, one at least"

    def scores(self, histories: Histories) -> Floats:
        """Return Σ_m weight_m level_m, (B, I)."""
        asked = histories.on(self.items)
        seen = marked(asked)
        return sum(
            (
                weight * rank_scores(each.scores(asked), seen)
                for weight, each in zip(self.weights, self.models, strict=True)
            ),
            np.zeros(seen.shape, np.float32),
        )

    def item_similarity(self, item: int) -> Floats:
        """As the first of the models says."""
        return self.models[0].item_similarity(item)

    def contributions(self, past: Ragged, items: Ints) -> Floats:
        """Parts of the models by their weights, (N, J).

        Places are no sums, and scores are of any scale: the parts of a model are shares of what all of them say of an
        item, for or against it.
        """
        found = np.zeros((len(past.column), len(items)), np.float32)
        for weight, each in zip(self.weights, self.models, strict=True):
            parts = each.contributions(past, items)
            whole = np.abs(parts).sum(axis=0, dtype=np.float64)
            found += np.divide(weight * parts, whole, out=np.zeros(parts.shape), where=whole > 0)
        return found

    def reasons(self, history: Sequence[Id], item: Id, k: int = 5) -> list[tuple[str, float]]:
        """As the first of the models says that has any."""
        return next((found for each in self.models if (found := each.reasons(history, item, k))), [])


register(Blend, BlendModel, renamed={"people": "users"})
