"""A recipe with stages behind it, and its model: what is ranked offline is what the service shows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import cast

import numpy as np

from palate.arrays import Bools, Floats, Ints
from palate.data.catalogue import Catalogue
from palate.data.histories import Histories
from palate.data.interactions import Interactions
from palate.data.ragged import Ragged
from palate.data.rankings import Rankings
from palate.data.vocabulary import Id, Vocabulary
from palate.errors import check
from palate.kernels.topk import nothing
from palate.models.base import Model, Progress, Recipe, Watch
from palate.models.guarantee import Guarantee
from palate.models.posterior import Posterior
from palate.models.registry import as_recipe, register
from palate.ranking.context import history_of, offline
from palate.ranking.item_index import ItemIndex
from palate.ranking.slate import Slate, finite
from palate.ranking.stage_data import KeptLabels, StageData
from palate.ranking.stages import Stage, as_stage, pool_of, run


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

        def watching(progress: Progress) -> bool | None:
            model = None if progress.model is None else self.behind(progress.model, log, catalogue)
            return None if watch is None else watch(replace(progress, model=model))

        model = cast("Recipe", self.recipe).fit(log, catalogue, watch=watch and watching)
        return self.behind(model, log, catalogue)

    def behind(self, model: Model, log: Interactions, catalogue: Catalogue | None = None) -> PipelineModel:
        """Put the stages behind a model of the recipe, fitted to the log.

        Behind a private model they read its counts, none of the log. Raises `SettingError` where a stage reads an
        attribute that the catalogue lacks, or vectors that a private model lacks.
        """
        stages, own = cast("tuple[Stage, ...]", self.stages), model.item_embeddings is not None
        if not stages:
            data = None
        elif model.guarantee is None:
            data = StageData.of(stages, model.items, log, catalogue, own)
        else:
            data = StageData.released(stages, model, catalogue)
        return PipelineModel(self, model.items, (model,), data)


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

    @cached_property
    def guarantee(self) -> Guarantee | None:
        """That of the model: stages add nothing that was read of users."""
        return self.retriever.guarantee

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

    def posterior(self, history: Histories) -> Posterior | None:
        """As the model says."""
        return self.retriever.posterior(history)

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


register(Pipeline, PipelineModel, holds=(StageData, KeptLabels))
