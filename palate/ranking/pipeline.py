"""A list from a request and a context: candidates, stages and rules, in this order; and its recipe."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import cast

import numpy as np

from palate.arrays import Bools, Floats, Ints
from palate.bundles.bundle import Part
from palate.bundles.nesting import flat
from palate.data.catalogue import Catalogue
from palate.data.histories import Histories
from palate.data.interactions import Interactions
from palate.data.ragged import Ragged
from palate.data.rankings import Rankings
from palate.data.vocabulary import Id, Vocabulary
from palate.errors import check
from palate.kernels.topk import nothing
from palate.models.base import Model, Progress, Recipe, Watch
from palate.models.registry import as_recipe, register
from palate.ranking.context import Context, history_of, offline
from palate.ranking.explain import because, reason, why_empty
from palate.ranking.filling import Filling
from palate.ranking.item_index import ItemIndex
from palate.ranking.request import (
    SOURCES,
    ListItem,
    ListRequest,
    RecommendationList,
    Source,
    read_cursor,
    write_cursor,
)
from palate.ranking.slate import Eligible, Slate, finite
from palate.ranking.stage_data import KeptLabels, StageData
from palate.ranking.stages import Stage, as_stage, pool_of, run


def recommend(request: ListRequest, context: Context) -> RecommendationList:
    """Make the list: candidates go through the stages of the model, then the rules of the request hold.

    Raises `ConditionError`, `SettingError` or `DataError` for what cannot be asked.
    """
    shown = [] if request.cursor is None else read_cursor(request.cursor)
    eligible = Eligible.of(request, context, shown)
    slate = Filling(request, context, eligible).slate(pinning=not shown)
    sources: dict[Source, int] = {SOURCES[code]: count for code, count in Counter(slate.source.tolist()).items()}
    numbers = context.index.number[slate.position].tolist()
    return RecommendationList(
        tuple(_items(slate, request, context)),
        context.about,
        write_cursor([*shown, *numbers]) if len(slate) == request.k else None,
        None if len(slate) else why_empty(request, context, bool(shown)),
        sources,
        tuple(_warnings(request, context)) if request.conditions or request.cap or request.stages else (),
    )


def _items(slate: Slate, request: ListRequest, context: Context) -> Iterator[ListItem]:
    ids, scores, codes = context.index.ids(slate.position), slate.score.tolist(), slate.source.tolist()
    for item_id, score, code, named in zip(ids, scores, codes, because(slate, context), strict=True):
        source = SOURCES[code]
        yield ListItem(item_id, score, source, reason(source, named, request), named)


def _warnings(request: ListRequest, context: Context) -> Iterator[str]:
    attributes = context.masks.attributes
    named = [("filter", request.filter or ""), *(("boost", rule.condition) for rule in request.boost)]
    for name, condition in [*named, *(("share", rule.condition) for rule in request.share)]:
        yield from (f"{name}: {note}" for note in (attributes.notes(condition) if condition else ()))
    for cap in request.cap:
        note = attributes.unknown(cap.attribute)
        yield from () if note is None else (f"cap: {note}",)
    for stage in cast("tuple[Stage, ...]", request.stages):
        yield from (f"{type(stage).__name__.lower()}: {note}" for note in stage.notes(context))


# A recipe with stages behind it


@dataclass(frozen=True)
class Pipeline(Recipe):
    """A recipe and the stages that its candidates go through, each given as such or as text.

    Models of it rank, offline and in the service, by the same stages: of a user's `pool` best candidates, the largest
    pool that a stage asks for, each stage makes another slate, and the list is the first k of the last one.
    """

    recipe: str | Recipe
    stages: tuple[str | Stage, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "recipe", as_recipe(self.recipe))
        check(isinstance(self.stages, Sequence | Stage), "stages", self.stages, "must be stages, one or several")
        several = [self.stages] if isinstance(self.stages, str | Stage) else self.stages
        object.__setattr__(self, "stages", tuple(map(as_stage, several)))

    def fit(
        self, log: Interactions, catalogue: Catalogue | None = None, *, watch: Watch | None = None
    ) -> PipelineModel:
        """Fit the recipe; `watch` sees its models with the stages behind them."""
        stages = cast("tuple[Stage, ...]", self.stages)

        def staged(model: Model) -> PipelineModel:
            own = model.item_embeddings is not None
            data = StageData.of(stages, model.items, log, catalogue, own) if stages else None
            return PipelineModel(self, model.items, (model,), data)

        def watching(progress: Progress) -> bool | None:
            model = None if progress.model is None else staged(progress.model)
            return None if watch is None else watch(replace(progress, model=model))

        return staged(cast("Recipe", self.recipe).fit(log, catalogue, watch=watch and watching))


@dataclass(frozen=True, eq=False)
class PipelineModel(Model):
    """The model of the recipe, one of `models`, and the stages of the recipe behind it, with what they read."""

    recipe: Pipeline
    items: Vocabulary
    models: tuple[Model, ...]
    data: StageData | None = None

    def fault(self) -> str:
        """Say what is wrong with `models` or `data`."""
        if self.data is not None:
            self.data.check(len(self.items))
        same = len(self.models) == 1 and self.models[0].items.ids.equals(self.items.ids)
        return "" if same else "models must be one, over the same items"

    @property
    def retriever(self) -> Model:
        """The model that candidates come from."""
        return self.models[0]

    @property
    def stages(self) -> tuple[Stage, ...]:
        """Stages that candidates go through, in their order."""
        return cast("tuple[Stage, ...]", self.recipe.stages)

    def scores(self, histories: Histories) -> Floats:
        """Score every item by the model, before the stages, (B, I)."""
        return self.retriever.scores(histories)

    def top(self, histories: Histories, k: int, allowed: Bools, keep_seen: bool) -> tuple[Ints, Floats]:
        """Return the best k after the stages: item (B, k) and score (B, k)."""
        stages = self.stages
        if not stages:
            return self.retriever.top(histories, k, allowed, keep_seen)
        pool = min(pool_of(stages, k), len(self.items))
        row, score = self.retriever.top(histories, pool, allowed, keep_seen)
        item, best = nothing(len(row), k)
        context = offline(self, self._index, allowed, self.data)
        for b in range(len(row)):
            there = row[b] >= 0
            slate = Slate.of(row[b, there].astype(np.int64), finite(score[b, there]), "personal")
            own = context.of(history_of(histories.block(b, b + 1)))
            last = run(stages, slate, own, k).take(slice(k))
            item[b, : len(last)], best[b, : len(last)] = last.position, last.score
        return item, best

    @cached_property
    def _index(self) -> ItemIndex:
        """Index of the items, the same for every block of users."""
        return ItemIndex.of_model(self.items)

    def batch_size(self) -> int:
        """Users ranked at once."""
        return self.retriever.batch_size()

    def item_similarity(self, item: int) -> Floats:
        """As the model says."""
        return self.retriever.item_similarity(item)

    def contributions(self, past: Ragged, items: Ints) -> Floats:
        """As the model says."""
        return self.retriever.contributions(past, items)

    def reasons(self, history: Sequence[Id], item: Id, k: int = 5) -> list[tuple[str, float]]:
        """As the model says."""
        return self.retriever.reasons(history, item, k)

    def similar_users(self, users: Iterable[Id], k: int = 10) -> Rankings:
        """As the model says."""
        return self.retriever.similar_users(users, k)

    @property
    def cold_items(self) -> Bools | None:
        """As the model says."""
        return self.retriever.cold_items

    @property
    def item_embeddings(self) -> Floats | None:
        """As the model says; else those that the stages compare."""
        own = self.retriever.item_embeddings
        return self.data.vectors if own is None and self.data is not None and self.data.vectors.size else own

    def with_items(self, catalogue: Catalogue) -> Model:
        """Return a model that also ranks the items of a catalogue; itself where it knows items by events alone."""
        model = self.retriever.with_items(catalogue)
        if model is self.retriever:
            return self
        data = None if self.data is None else self.data.extended(model.items, catalogue)
        return PipelineModel(self.recipe, model.items, (model,), data)

    def written(self) -> tuple[dict[str, Part], dict[str, object]]:
        """Return the parts and the manifest of the model, within those of the pipeline."""
        own, manifest = self.retriever.written()
        parts = {f"0.{name}": part for name, part in own.items() if name != "items"}
        kept = dict(flat("data", self.data))
        return {"items": self.items, **kept, **parts}, self.manifest() | {"models": [manifest]}


register(Pipeline, PipelineModel, holds=(StageData, KeptLabels))
