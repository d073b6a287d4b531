"""Influence on models that are made of others: it leaves each of them, and what is counted beside them."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple, cast

from palate.models.base import Model, Recipe
from palate.models.blend import Blend, BlendModel
from palate.privacy.influence import Left, Logs, leave
from palate.privacy.receipts import How, Removal, worst
from palate.ranking.facts import Facts
from palate.ranking.ranked import Ranked, RankedModel
from palate.ranking.stage_data import StageData
from palate.ranking.staged import Pipeline, PipelineModel
from palate.ranking.stages import Stage


@leave.register
def _(recipe: Blend, model: BlendModel, logs: Logs) -> Left:
    """Each of the models; the weights between them stay."""
    models, removals = parts_of(model.models, logs)
    kept = f"see parts; {len(models)} weights between the models, learned from all users together, stay"
    how = "approximate" if len(models) > 1 else "exact"
    return Left(replace(model, models=models), whole(recipe, cast(How, how), removals, kept))


@leave.register
def _(recipe: Ranked, model: RankedModel, logs: Logs) -> Left:
    """Each of the first stages, and the counts of the items; the forest that orders candidates stays."""
    models, removals = parts_of(model.models, logs)
    counted = Facts.of(logs.after, model.items, None, ())
    facts = replace(counted, prices=model.facts.prices, attributes=model.facts.attributes)
    trees = "see parts; the forest, which learned from users' answers, stays until the next training"
    removal = whole(recipe, "retrain", removals, trees)
    return Left(replace(model, models=models, facts=facts), removal)


@leave.register
def _(recipe: Pipeline, model: PipelineModel, logs: Logs) -> Left:
    """Take them out of the model behind the stages, and of the counts that the stages read."""
    models, removals = parts_of(model.models, logs)
    data = model.data
    if data is not None:
        reading = (_Reads(reads_vectors=data.vectors.shape[1] > 0),)
        counted = StageData.of(cast("tuple[Stage, ...]", reading), model.items, logs.after, None, own=False)
        data = replace(counted, attributes=data.attributes)
    return Left(replace(model, models=models, data=data), whole(recipe, "exact", removals, "see parts"))


class _Reads(NamedTuple):
    """What a stage says of itself where its data are collected."""

    reads_vectors: bool
    attributes: tuple[str, ...] = ()


def parts_of(models: tuple[Model, ...], logs: Logs) -> tuple[tuple[Model, ...], tuple[Removal, ...]]:
    """Take the users out of each of several models over the same items."""
    left = [leave(each.recipe, each, logs) for each in models]
    return tuple(each.model for each in left), tuple(each.removal for each in left)


def whole(recipe: Recipe, own: How, parts: tuple[Removal, ...], measure: str) -> Removal:
    """Say how the users left a model by how they left its parts: the largest distance."""
    known = [each.distance for each in parts if each.distance is not None]
    distance = max(known) if len(known) == len(parts) else None
    return Removal(type(recipe).__name__, worst([own, *(each.how for each in parts)]), distance, measure, parts)
