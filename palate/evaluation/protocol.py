"""The standard protocol: full catalogue, seen items removed, binary relevance, means over users."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import numpy as np
import polars as pl

from palate.arrays import Bools, Ints
from palate.data.catalogue import Catalogue, as_catalogue
from palate.data.histories import Histories
from palate.data.interactions import Interactions
from palate.data.ragged import Ragged
from palate.data.splits import Part, Split
from palate.data.vocabulary import Id, Vocabulary
from palate.errors import DataError, SettingError, check, require, whole
from palate.evaluation.intervals import RESAMPLES
from palate.evaluation.lists import ListMetric, Lists, of_lists
from palate.evaluation.metrics import coverage, gini, novelty, per_user
from palate.evaluation.report import Report, Scores
from palate.kernels.clock import clock
from palate.kernels.hits import find_hits, first_mentions
from palate.models.bars import followed
from palate.models.base import Model, Recipe, Watch
from palate.models.guards import Executor
from palate.models.registry import as_recipe
from palate.models.settings import brief
from palate.models.weights import unread

LOG = logging.getLogger("palate.evaluation")
BLOCK_USERS = 1 << 14  # users ranked at once
POPULAR_SHARE = 0.2  # of the items of train, the most chosen

Hidden: TypeAlias = Iterable[str] | Mapping[str, float]  # event types, or days by event type
SEEN = "items of the history removed"
STANDARD = (
    f"full catalogue, {SEEN}, binary relevance, ties by the lower item row",
    "log2 discount, ideal over min(k, relevant), Recall over all relevant, mean over users",
    f"95% bootstrap intervals over users, {RESAMPLES:,} resamples",
    f"popular items: the {POPULAR_SHARE:.0%} with the most train events; tail items: the others of train",
)


def evaluate(
    model: Model | Recipe | str,
    split: Split,
    k: int | Sequence[int] = (10, 20),
    *,
    part: Part = "test",
    catalogue: Catalogue | None = None,
    only: Iterable[Id] | None = None,
    relevant: Iterable[str] | None = None,
    keep_seen: bool = False,
    hide: Hidden | None = None,
    metrics: Iterable[ListMetric] = (),
    watch: Watch | None = None,
    progress: bool = False,
    executor: Executor | None = None,
) -> Report:
    """Measure a model on the test (or validation) part; a recipe is fitted on train first, `watch` follows the fit.

    model      or a recipe, as such or as text: "IALS(dim=32)"
    catalogue  the catalogue of the items, or a frame of them, for recipes that read it
    only       ids of the items that are ranked; None ranks all that the model knows
    relevant   event types, as ["purchase"]: only their items are relevant; None takes those of all events
    keep_seen  items of the history may be recommended, and are relevant where the part has them
    hide       event types, or days by event type: of the items of the history only theirs are removed, and for so
               many days; the others as with `keep_seen`
    metrics    of your own, beside the standard ones: functions as those of `palate.evaluation.lists`
    progress   whether to draw a bar of the fit
    executor   a cluster that fits and ranks, as `palate.cluster.RayExecutor`; None does so in this process

    Raises `SettingError` for a bad k, an unknown event type and for what is no model or no split, `DataError` for a
    part that is missing or asks nothing, `MissingExtra` for a recipe whose packages are not installed.
    """
    subject = ready(model)
    exam = Exam.of(split, part, relevant=relevant, keep_seen=keep_seen, hide=hide)
    with followed("fitting", watch, progress and isinstance(subject, Recipe)) as following:
        named = {"catalogue": catalogue, "only": only, "metrics": metrics, "watch": following}
        return exam.grade(subject, k, executor=executor, **named)  # type: ignore[arg-type]


@dataclass(frozen=True, eq=False)
class Exam:
    """What a part of a split asks of any model: B users with what is known of them and what would be right.

    histories (B); relevant: B rows of distinct rows of `items`, never empty; popular (len(items),) marks the head;
    keep_seen, hide: as `Model.recommend` takes them; rules: what the protocol says first.
    """

    split: Split
    part: Part
    items: Vocabulary
    histories: Histories
    relevant: Ragged
    popular: Bools
    counts: dict[str, int]
    keep_seen: bool
    hide: Sequence[str] | Mapping[str, float] | None
    rules: tuple[str, ...]

    @classmethod
    def of(
        cls,
        split: Split,
        part: Part = "test",
        *,
        relevant: Iterable[str] | None = None,
        keep_seen: bool = False,
        hide: Hidden | None = None,
    ) -> Exam:
        """Read the questions out of a split, as `evaluate` says; users without a relevant item are counted."""
        if not isinstance(split, Split):
            rule = "it must be a Split, as split_ratio(log) or Split.of(train, test) makes it"
            raise SettingError(f"split is a {type(split).__name__}; {rule}")
        log = split.part(part)
        types, hidden = as_types(relevant), as_hidden(hide)
        wanted = log.select(log.liked if types is None else log.liked & log.histories().of_types(types, "relevant"))
        histories = split.history(part).histories(wanted.users.ids)
        if len(wanted):  # a user asks when the first of these events comes
            histories = wanted.asking(histories, np.minimum(wanted.start[:-1], len(wanted) - 1))
        past = histories.on(wanted.items)
        known = past.rows.where(_removed(past, keep_seen, hidden))
        none = known.where(np.zeros(len(known.column), np.bool_))
        distinct = _new_to(none, wanted)
        answers = _new_to(known, wanted)
        asked = np.flatnonzero(answers.lengths)
        if not len(asked):
            raise DataError(
                f"split ({split.kind}): no user of the {part} part has a relevant item that is not in the history"
            )
        counts = dict(split.dropped)
        counts["relevant items that are in the history"] = len(distinct.column) - len(answers.column)
        counts["users without a relevant item"] = len(log.users) - len(asked)
        return cls(
            split,
            part,
            wanted.items,
            histories.gather(asked),
            answers.rows(asked),
            _popular(split.train, wanted.items),
            {reason: count for reason, count in counts.items() if count},
            keep_seen,
            hidden,
            _rules(types, keep_seen, hidden),
        )

    def grade(
        self,
        subject: Model | Recipe | str,
        k: int | Sequence[int] = (10, 20),
        *,
        catalogue: Catalogue | None = None,
        only: Iterable[Id] | None = None,
        metrics: Iterable[ListMetric] = (),
        watch: Watch | None = None,
        executor: Executor | None = None,
    ) -> Report:
        """Rank for all users and measure; a recipe is fitted on the split's train part first."""
        cuts = tuple(whole("k", each) for each in (k if isinstance(k, Iterable) and not isinstance(k, str) else (k,)))
        check(0 < len(cuts) == len(set(cuts)), "k", k, "needs different numbers, 1 or more")
        began = clock()
        given, content = as_subject(subject), as_catalogue(catalogue)
        model = self._fitted(given, content, watch, executor) if isinstance(given, Recipe) else given
        fit_seconds = clock() - began if isinstance(given, Recipe) else None
        ranked = None if only is None else Vocabulary.series(only, "only")
        histories = model.histories(self.histories)
        item, recommend_seconds = self._rank(model, histories, max(cuts), ranked, executor)
        here = np.append(self.items.recode(model.items), np.int32(-1))[item]
        hits = find_hits(here, self.relevant.start, self.relevant.column, len(self.items))
        events = np.append(self.split.train.item_counts(), 0)[self.split.train.items.recode(model.items)]
        measured = tuple(metrics)
        vectors = model.item_embeddings if measured else None
        lists = Lists(item, model.items, events, vectors, content, histories.rows, hits, self.relevant.lengths)
        scores = Scores(per_user(hits, self.relevant.lengths, cuts) | of_lists(measured, lists, cuts))
        ndcg = f"NDCG@{cuts[0]}"
        LOG.info("%s on the %s part: %s %.4f", brief(model.recipe), self.part, ndcg, scores[ndcg])
        return Report(
            name=type(model.recipe).__name__,
            model=model,
            cuts=cuts,
            users=self.histories.users,
            scores=scores,
            of_lists=self._of_all_lists(lists, cuts),
            groups=self._by_history(scores) | self._by_item(hits, here, cuts),
            protocol=(
                *self.rules,
                f"split: {self.split.kind}",
                f"part: {self.part}; catalogue: {len(model.items) if ranked is None else len(ranked):,} items",
            ),
            counts=self.counts,
            notes=tuple(each for each in [unread(model.recipe, self.split.train)] if each),
            fit_seconds=fit_seconds,
            recommend_seconds=recommend_seconds,
        )

    def _fitted(
        self, recipe: Recipe, catalogue: Catalogue | None, watch: Watch | None, executor: Executor | None
    ) -> Model:
        if executor is None:
            return recipe.fit(self.split.train, catalogue, watch=watch)
        fitted: Model = executor.fit(recipe, self.split.train, catalogue, watch=watch)
        return fitted

    def _rank(
        self, model: Model, histories: Histories, depth: int, only: pl.Series | None, executor: Executor | None
    ) -> tuple[Ints, float]:
        """Rows of the model's items (B, depth), -1 past the end of a list, and the seconds for a thousand users."""
        if executor is not None:
            began = clock()
            rows = executor.rank(model, histories, depth, only=only, keep_seen=self.keep_seen, hide=self.hide)
            return rows, (clock() - began) * 1000 / len(histories)
        item = np.full((len(histories), depth), -1, np.int32)
        rank = partial(model.recommend, k=depth, only=only, keep_seen=self.keep_seen, hide=self.hide)
        rank(histories.block(0, 1))  # what is made once is outside the clock
        began = clock()
        for low in range(0, len(histories), BLOCK_USERS):
            block = histories.block(low, min(low + BLOCK_USERS, len(histories)))
            found = rank(block).item
            item[low : low + BLOCK_USERS, : found.shape[1]] = found
        return item, (clock() - began) * 1000 / len(histories)

    def _of_all_lists(self, lists: Lists, cuts: Sequence[int]) -> dict[str, float]:
        """Coverage, Gini and novelty at each k; also the coverage of items that are new since train, if there are."""
        places = {k: lists.cut(k).item for k in cuts}
        shown = {k: np.bincount(item[item >= 0], minlength=len(lists.items)) for k, item in places.items()}
        new = self.split.train.items.recode(lists.items) < 0
        return (
            {f"coverage@{k}": coverage(shown[k]) for k in cuts}
            | ({f"coverage of new@{k}": coverage(shown[k][new]) for k in cuts} if new.any() else {})
            | {f"Gini@{k}": gini(shown[k]) for k in cuts}
            | {f"novelty@{k}": novelty(shown[k], lists.events) for k in cuts}
        )

    def _by_history(self, scores: Scores) -> dict[str, Scores]:
        """Split the users at the median length of a history; those without one are their own group."""
        length = self.histories.rows.lengths
        middle = int(np.median(length[length > 0])) if length.any() else 0
        groups = {
            "no history": length == 0,
            f"history of 1 to {middle} events": (length > 0) & (length <= middle),
            f"history over {middle} events": (length > 0) & (length > middle),
        }
        return {
            name: Scores({metric: values[kept] for metric, values in scores.per_user.items()})
            for name, kept in groups.items()
            if kept.any()
        }

    def _by_item(self, hits: Bools, here: Ints, cuts: Sequence[int]) -> dict[str, Scores]:
        """Count only popular, tail or new items as relevant, among the users who have one; new are not in train."""
        user = np.repeat(np.arange(len(self.relevant)), self.relevant.lengths)
        groups = {}
        new = self.split.train.items.recode(self.items) < 0
        kinds = {"popular items": self.popular, "tail items": ~self.popular & ~new, "new items": new}
        for name, of_kind in kinds.items():
            relevant = np.bincount(user[of_kind[self.relevant.column]], minlength=len(self.relevant))
            asked = relevant > 0
            if asked.any():
                groups[name] = Scores(per_user((hits & of_kind[here])[asked], relevant[asked], cuts))
        return groups


def as_subject(value: object) -> Model | Recipe:
    """Return what is measured: a model, or a recipe, given as such or as text. Raises `SettingError`."""
    if isinstance(value, Model | Recipe | str):
        return value if isinstance(value, Model) else as_recipe(value, "model")
    found = f"the class {value.__name__}" if isinstance(value, type) else f"a {type(value).__name__}"
    raise SettingError(f"model is {found}; it must be a model or a recipe, as IALS() or its text")


def ready(value: object) -> Model | Recipe:
    """Return what is measured, as `as_subject` does; raises `MissingExtra` where a fit would."""
    subject = as_subject(value)
    if isinstance(subject, Recipe):
        require(subject.needs())
    return subject


def as_types(types: Iterable[str] | None) -> Sequence[str] | None:
    """Return event types that can be read several times."""
    return types if types is None or isinstance(types, str) else tuple(types)


def as_hidden(hide: Hidden | None) -> Sequence[str] | Mapping[str, float] | None:
    """Return event types, or days by event type, that can be read several times."""
    return hide if isinstance(hide, Mapping) else as_types(hide)


def _removed(past: Histories, keep_seen: bool, hide: Hidden | None) -> Bools:
    """Which events of the histories remove their items from the lists, (N,)."""
    check(hide is None or not keep_seen, "hide", hide, "keep_seen keeps all items of a history")
    return np.full(len(past.rows.column), not keep_seen) if hide is None else past.of_types(hide, "hide")


def _rules(relevant: Sequence[str] | None, keep_seen: bool, hide: Hidden | None) -> tuple[str, ...]:
    """Return the rules of the protocol."""
    seen = "items of the history kept" if keep_seen else SEEN
    if hide is not None:
        named = [f"{name} (for {hide[name]:g} days)" if isinstance(hide, Mapping) else name for name in hide]
        seen = f"items of the history removed after {', '.join(named) or 'no'} events"
    more = () if relevant is None else (f"relevant: items of {', '.join(relevant)} events",)
    return (STANDARD[0].replace(SEEN, seen), *STANDARD[1:], *more)


def _new_to(known: Ragged, log: Interactions) -> Ragged:
    """Each user's distinct items that are not in the user's known row."""
    rows = log.rows
    first = first_mentions(rows.start, rows.column, known.start, known.column, len(log.items))
    return rows.where(first)


def _popular(train: Interactions, items: Vocabulary) -> Bools:
    """Which of `items` are among the most chosen of train, (len(items),)."""
    counts = train.item_counts()
    head = np.zeros(len(counts) + 1, np.bool_)  # the last place is for items that train does not have
    head[np.argsort(-counts, kind="stable")[: max(1, round(POPULAR_SHARE * len(counts)))]] = True
    return np.asarray(head[train.items.recode(items)])
