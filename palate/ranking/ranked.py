"""Ranked: candidates of several recipes in one pool, ordered by a forest that learned from what users did next."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, NamedTuple, cast

import numpy as np

from palate.arrays import Array, Bools, Doubles, Floats, Ints
from palate.compute.memory import BLOCK_SCORES
from palate.data.catalogue import Catalogue
from palate.data.histories import Histories
from palate.data.interactions import Interactions
from palate.data.ragged import NEVER, Ragged
from palate.data.rankings import Rankings
from palate.data.vocabulary import Id, Vocabulary
from palate.errors import Package, SettingError, check
from palate.kernels.forest import unite
from palate.kernels.topk import nothing
from palate.models.base import Model, Recipe, Watch, refuse_empty
from palate.models.guarantee import Guarantee
from palate.models.registry import as_recipe, register
from palate.ranking.facts import Facts, usual_attributes
from palate.ranking.features import Group, Question, compares, groups
from palate.ranking.forest import LIGHTGBM, Forest
from palate.ranking.lessons import FEWEST, Lesson, by_place, learned
from palate.ranking.queries import HELD_OUT, Queries, drawn
from palate.ranking.stage_data import KeptLabels
from palate.ranking.usual_contexts import UsualContexts
from palate.ranking.values import terms_of

VALID = 0.2  # share of the queries that decide how many trees there are, and whether they order better than one stage
MOST_VALID = 5000  # of them
OTHERS = 50  # candidates of a query that is learned from, beside its answers


@dataclass(frozen=True)
class Ranked(Recipe):
    """Candidates of several recipes, each given as such or as text, in the order of a forest of regression trees.

    The forest (LambdaMART; extra `rank`, which only training needs) is trained on queries: some events of users
    are taken out, the recipes are fitted to the rest, and their candidates are labelled by what these users did;
    a fold of the users at a time, so that what the forest learns from is like what it will order. Then the recipes
    are fitted once more, to the whole log. `palate.ranking.features` lists what the forest sees.
    Where it orders held-out queries no better than the recipes together, or the best of them, that order stands.

    pool        candidates of a list, from all recipes together
    users       users whose newest events are queries, at most; of one whom the recipes have never seen, up to three
    folds       parts of them; each costs one more fit of the recipes, to a log that lacks events of its users alone
    held_out    what is asked for: "events": the newest one of users whose earlier ones the recipes know; "users": a
                next one of users whom they have never seen, as visitors are; "ratio": a random fifth of the events of
                users, where their order does not matter
    gap         events of such a user between those that the recipes know and the one that is asked for, as there are
                between trainings of a service
    value       what an answer counts: "hits" all the same, "weight" of its event, a column of the catalogue as
                "price", or a sum of these as "hits + 0.5 * price", each relative to its mean
    keep_seen   whether lists are to show items of the history again
    attributes  columns of the catalogue whose values are compared, free text by its words; None: all of texts
    """

    recipes: tuple[str | Recipe, ...] = ("SLIST()", "IALS(dim=128)")
    pool: int = 200
    users: int = 20_000
    folds: int = 2
    held_out: str = "events"
    gap: int = 1
    value: str = "hits"
    keep_seen: bool = False
    attributes: tuple[str, ...] | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        check(len(self.recipes) >= 1, "recipes", self.recipes, "must name one recipe at least")
        object.__setattr__(self, "recipes", tuple(as_recipe(each, "recipes") for each in self.recipes))
        check(self.pool >= 1, "pool", self.pool, "must be 1 or more")
        check(self.users >= 1, "users", self.users, "must be 1 or more")
        check(self.folds >= 1, "folds", self.folds, "must be 1 or more")
        check(self.held_out in HELD_OUT, "held_out", self.held_out, f"must be one of {', '.join(HELD_OUT)}")
        check(self.gap >= 0, "gap", self.gap, "must be 0 or more")
        terms_of(self.value)
        check(0 <= self.seed < 2**63, "seed", self.seed, "must be from 0 to 2^63 - 1")

    def needs(self) -> tuple[Package, ...]:
        """Return what the forest and the recipes take."""
        return (LIGHTGBM, *super().needs())

    def fit(
        self, log: Interactions, catalogue: Catalogue | None = None, *, watch: Watch | None = None
    ) -> RankedModel:
        """Fit each recipe to each fold, train the forest, and fit them once more; `watch` follows all fits.

        Raises `SettingError` for an attribute that the catalogue lacks, `MissingExtra` without LightGBM.
        """
        refuse_empty(log)
        names = usual_attributes(catalogue) if self.attributes is None else self.attributes
        order = np.ones(len(self.recipes), np.float32)
        forest = Forest.empty()
        taught, held_out = self._lessons(log, catalogue, names, watch)
        if len(taught) >= FEWEST and held_out:
            forest, order = learned(taught, held_out, self.seed)
        return self._fitted(log, catalogue, names, order, forest, watch)

    def _lessons(
        self, log: Interactions, catalogue: Catalogue | None, names: Sequence[str], watch: Watch | None
    ) -> tuple[list[Lesson], list[Lesson]]:
        """Return what the queries of all folds teach, and those that are held out."""
        folds = self.queries(log, catalogue)
        taught, held_out = list[Lesson](), list[Lesson]()
        order, features = np.ones(len(self.recipes), np.float32), None
        for queries in folds if sum(map(len, folds)) >= FEWEST else []:
            known = log.select(queries.known)
            if not len(queries) or not known.liked.any():
                continue
            bare = self._fitted(known, catalogue, names, order, Forest.empty(), watch)
            features = features or bare.features
            if bare.features == features:  # where only a few events have times of day, a fold may lack them
                more, others = lessons_of(bare, log, queries, self.seed, MOST_VALID // len(folds))
                taught += more
                held_out += others
        return taught, held_out

    def guarantees(self) -> tuple[Guarantee, ...]:
        """Return those of the recipes, each fitted to each fold and to the whole log; the forest has none."""
        return super().guarantees() * (self.folds + 1)

    def _fitted(
        self,
        log: Interactions,
        catalogue: Catalogue | None,
        attributes: Sequence[str],
        order: Floats,
        forest: Forest,
        watch: Watch | None,
    ) -> RankedModel:
        there = None if catalogue is None else catalogue.among(log.items)
        recipes = cast("tuple[Recipe, ...]", self.recipes)
        models = tuple(each.fit(log, there, watch=watch) for each in recipes)
        return RankedModel(self, log.items, models, order, Facts.of(log, log.items, there, attributes), forest)

    def queries(self, log: Interactions, catalogue: Catalogue | None = None) -> list[Queries]:
        """Draw the queries of each fold."""
        return drawn(log, catalogue, self.held_out, self.value, self.users, self.folds, self.gap, self.seed)


class Candidates(NamedTuple):
    """Candidates (C,) of a user, and their features (F, C) and places in the first stages (M, C).

    There are no features, F = 0, for a user without a liked item: places alone order the candidates.
    """

    item: Ints
    columns: Floats
    place: Ints


@dataclass(frozen=True, eq=False)
class RankedModel(Model):
    """models: the first stages, over the same items; facts: what else features read; forest: the order.

    order (M,): weights of the first stages: without trees a candidate's score is log Σ_m order_m / (10 + its place in
    stage m), and the trees add to it.
    """

    recipe: Ranked
    items: Vocabulary
    models: tuple[Model, ...]
    order: Annotated[Floats, Array("models", least=0)]
    facts: Facts
    forest: Forest

    @property
    def sizes(self) -> dict[str, int]:
        """Numbers that the words of its `Array` fields stand for."""
        return {**super().sizes, "models": len(self.models)}

    def fault(self) -> str:
        """Say what is wrong with the parts."""
        if not self.models or not all(each.items.ids.equals(self.items.ids) for each in self.models):
            return "models must be over the same items, one at least"
        self.facts.check(len(self.items))
        self.forest.check(len(self.features))
        return ""

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """The features, in groups."""
        return groups(self.models, self.facts)

    @cached_property
    def comparing(self) -> tuple[Model, ...]:
        """First stages that have a similarity of items."""
        return tuple(each for each in self.models if compares(each))

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the features, (F,)."""
        return tuple(name for group in self.groups for name in group.names)

    @cached_property
    def reads_time(self) -> bool:
        """Whether features read it, or a first stage does."""
        return self.facts.timed or super().reads_time

    def batch_size(self) -> int:
        """Users ranked at once."""
        return max(1, BLOCK_SCORES // (len(self.items) * (len(self.models) + 1)))

    def candidates(self, histories: Histories, allowed: Bools, keep_seen: bool) -> Iterator[Candidates]:
        """Yield the candidates of each history."""
        rows, times = histories.rows, histories.rows.moments
        most = min(self.recipe.pool, len(self.items))
        found = [each.retrieve(histories, most, allowed, keep_seen) for each in self.models]
        for b in range(len(rows)):
            low, high = rows.start[b], rows.start[b + 1]
            past, weight = rows.column[low:high], rows.weight[low:high]
            item, place = unite(np.stack([each.item[b] for each in found]), most)
            score = np.stack([each.score(b, item) for each in found])
            asked = NEVER if histories.asked is None else int(histories.asked[b])
            known = past, weight, times[low:high]
            context = {} if histories.contexts is None else histories.contexts[b]
            question = Question(self.facts, self.comparing, *known, asked, context, item, place, score)
            columns = [group.values(question) for group in self.groups] if len(item) and len(question.liked) else []
            yield Candidates(item, np.concatenate([question.constant(), *columns]), place)

    def ordered(self, candidates: Candidates) -> Doubles:
        """Scores of candidates, (C,)."""
        score = by_place(self.order, candidates.place)
        return score + self.forest.scores(candidates.columns) if len(candidates.columns) else score

    def scores(self, histories: Histories) -> Floats:
        """Score the candidates by the forest, all others below them in the order of the first stage, (B, I)."""
        asked = histories.on(self.items)
        found = self.models[0].scores(asked).astype(np.float32, copy=True)
        everything = np.ones(len(self.items), np.bool_)
        for b, each in enumerate(self.candidates(asked, everything, keep_seen=True)):
            place = np.empty(len(self.items), np.float32)
            place[np.argsort(-found[b], kind="stable")] = np.arange(len(self.items))
            score = self.ordered(each).astype(np.float32)
            found[b] = score.min() - 1 - place / np.float32(len(self.items))
            found[b, each.item] = score
        return found

    def top(self, histories: Histories, k: int, allowed: Bools, keep_seen: bool) -> tuple[Ints, Floats]:
        """Return the best k of the items allowed (I,) for one block: item (B, k) and score (B, k)."""
        if k > self.recipe.pool:
            return super().top(histories, k, allowed, keep_seen)
        item, best = nothing(len(histories), k)
        for b, each in enumerate(self.candidates(histories, allowed, keep_seen)):
            score = self.ordered(each)
            order = np.argsort(-score, kind="stable")[:k]
            item[b, : len(order)], best[b, : len(order)] = each.item[order], score[order]
        return item, best

    def item_similarity(self, item: int) -> Floats:
        """As the first stage says that has a similarity."""
        for each in self.models:
            try:
                return each.item_similarity(item)
            except SettingError:
                continue
        return super().item_similarity(item)

    @property
    def item_embeddings(self) -> Floats | None:
        """Those of the first stage that has some."""
        return next((own for each in self.models if (own := each.item_embeddings) is not None), None)

    def contributions(self, past: Ragged, items: Ints) -> Floats:
        """As the first stage says."""
        return self.models[0].contributions(past, items)

    def reasons(self, history: Sequence[Id], item: Id, k: int = 5) -> list[tuple[str, float]]:
        """As the first stage says that has any."""
        return next((found for each in self.models if (found := each.reasons(history, item, k))), [])

    def similar_users(self, users: Iterable[Id], k: int = 10) -> Rankings:
        """As the first stage says that has a similarity between users."""
        asked = list(users)
        for each in self.models:
            try:
                return each.similar_users(asked, k)
            except SettingError:
                continue
        return super().similar_users(asked, k)


def lessons_of(
    model: RankedModel, log: Interactions, queries: Queries, seed: int, most_valid: int
) -> tuple[list[Lesson], list[Lesson]]:
    """Return what queries teach whose answers are among the candidates, and those that are held out, whole.

    Of the first, candidates that are no answer are drawn: from fewer of them a forest learns as well, in less time.
    """
    draw, taught, held_out = np.random.default_rng(seed), list[Lesson](), list[Lesson]()
    first = len(queries) - min(VALID * len(queries), most_valid)
    for n, (each, wanted, worth) in enumerate(answered(model, log, queries)):
        label = (each.item[:, None] == wanted) @ worth
        if not label.any() or not len(each.columns):  # there is nothing to learn
            continue
        lesson = Lesson.of(each.columns, label, each.place)
        if n >= first:
            held_out.append(lesson)
        else:
            taught.append(lesson.part((label > 0) | (draw.random(len(label)) < OTHERS / len(label))))
    return taught, held_out


def answered(model: RankedModel, log: Interactions, queries: Queries) -> Iterator[tuple[Candidates, Ints, Doubles]]:
    """Yield the candidates of each query, and the items that it asks for with what they are worth.

    Items are rows of the model, -1 for an unknown one.
    """
    everything = np.ones(len(model.items), np.bool_)
    row = model.items.recode(log.items)
    answers, step = queries.answers(log), model.batch_size()
    for low in range(0, len(queries), step):
        asked = queries.histories(log, low, min(low + step, len(queries))).on(model.items)
        for each in model.candidates(asked, everything, model.recipe.keep_seen):
            wanted, worth = next(answers)
            yield each, row[wanted], worth


register(Ranked, RankedModel, holds=(Facts, KeptLabels, UsualContexts, Forest))
