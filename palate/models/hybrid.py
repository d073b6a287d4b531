"""Vectors of items with a prior from their content: items with events and items without in one list.

The prior of an item's vector is N(W z_i, σ² I): without events the vector is W z_i, and each event moves it away.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Annotated, cast

import numpy as np

from palate.arrays import Array, Bools, Floats, Ints, aligned, aligned_copy
from palate.data.catalogue import Catalogue
from palate.data.histories import Histories
from palate.data.interactions import Interactions
from palate.data.ragged import Ragged
from palate.data.rankings import Rankings
from palate.data.vocabulary import Id, Vocabulary
from palate.encoders.encoding import Encoding
from palate.encoders.pretrained import packages_of
from palate.errors import Package, check
from palate.models.base import Progress, Recipe, Retrieved, Watch
from palate.models.factors import FactorModel, FactorRecipe
from palate.models.item_content import CONTENT, ContentBased, check_reading, read_items
from palate.models.posterior import Posterior
from palate.models.prior import ContentPrior
from palate.models.registry import as_recipe, register


@dataclass(frozen=True, kw_only=True)
class Hybrid(Recipe):
    """A recipe of vectors, `IALS(...)` or `Embedding(...)`, with a prior; the base may be given as text.

    With `IALS` the prior is part of the objective, κ Σ_i |q_i - W z_i|² beside the rest, and W gets its best value in
    closed form in each epoch. With `Embedding` vectors of n units of weight are drawn to W z_i after the training, by
    κ / (n + κ).

    fields    what is read: a column of the catalogue, or "column:encoder"; none: all but pictures and sounds
    dim       numbers of a field at most; None: the more, the more items have events, 128 to 768
    strength  κ
    """

    base: str | FactorRecipe = field(default="IALS(dim=128)", kw_only=False)
    fields: tuple[str, ...] = ()
    dim: int | None = None
    strength: float = 3.0
    seed: int = 0

    def __post_init__(self) -> None:
        base = as_recipe(self.base, "base")
        check(isinstance(base, FactorRecipe), "base", self.base, "must be IALS(...) or Embedding(...)")
        object.__setattr__(self, "base", base)
        object.__setattr__(self, "fields", check_reading(self.fields, self.dim, self.seed))
        check(0 < self.strength < np.inf, "strength", self.strength, "must be above 0")

    def needs(self) -> tuple[Package, ...]:
        """Return what the encoders of the fields import."""
        return (*super().needs(), *packages_of(self.fields))

    def fit(
        self, log: Interactions, catalogue: Catalogue | None = None, *, watch: Watch | None = None
    ) -> HybridModel:
        """Fit to the log and the catalogue. Raises `DataError` without one."""
        items, encoding, encoded = read_items(log, catalogue, self.fields, self.dim, self.seed, watch)
        base = cast(FactorRecipe, self.base)
        prior = ContentPrior(encoded.vectors[: len(log.items)], encoding.blocks, self.strength)

        def whole(vectors: FactorModel) -> HybridModel:
            weights = prior.weights(vectors.item_vectors)
            terms = encoded.terms.block(0, len(log.items))
            bare = HybridModel(self, log.items, (vectors,), encoding, terms, weights)
            wide = bare.over(items, np.arange(len(items), dtype=np.int32), encoded.vectors, encoded.terms)
            return wide if base.takes_prior else wide.drawn(prior)

        def seen(progress: Progress) -> bool | None:
            assert watch is not None
            model = whole(progress.model) if isinstance(progress.model, FactorModel) else None
            return watch(replace(progress, model=model))

        follow = None if watch is None else seen
        if base.takes_prior:
            return whole(base.fit_with_prior(log, prior, watch=follow))
        return whole(cast(FactorModel, base.fit(log, watch=follow)))


@dataclass(frozen=True, eq=False)
class HybridModel(ContentBased):
    """models (1,): the vectors of all items; terms: I rows; weights (E, D): W."""

    recipe: Hybrid
    items: Vocabulary
    models: tuple[FactorModel, ...]
    encoding: Encoding
    terms: Ragged
    weights: Annotated[Floats, Array("content", "dim")]

    @property
    def sizes(self) -> dict[str, int]:
        """Numbers that the words of its `Array` fields stand for."""
        return {**super().sizes, "dim": self.base.item_vectors.shape[1]}

    def fault(self) -> str:
        """Say what is wrong with `models` or `terms`."""
        if len(self.models) != 1 or not self.base.items.ids.equals(self.items.ids):
            return "models must be one, over the same items"
        return super().fault()

    @property
    def base(self) -> FactorModel:
        """The model of vectors."""
        return self.models[0]

    @property
    def cold_items(self) -> Bools:
        """Items without events, (I,)."""
        return np.asarray(self.base.popularity == 0)

    def content_profile(self, histories: Histories) -> Floats:
        """Return what the histories look for in the row of an item, (B, E)."""
        users = self.base.vectors(histories.on(self.items)) * np.float32(self.base.scale)
        return np.asarray(users @ self.weights.T, np.float32)

    def scores(self, histories: Histories) -> Floats:
        """Return those of the vectors, (B, I)."""
        return self.base.scores(histories)

    def batch_size(self) -> int:
        """Users ranked at once."""
        return self.base.batch_size()

    def top(self, histories: Histories, k: int, allowed: Bools, keep_seen: bool) -> tuple[Ints, Floats]:
        """Return the best k of the items allowed (I,) for one block: item (B, k) and score (B, k)."""
        return self.base.top(histories, k, allowed, keep_seen)

    def retrieve(self, histories: Histories, k: int, allowed: Bools, keep_seen: bool) -> Retrieved:
        """Return the best k of the items allowed (I,) for one block, and what scores others beside them."""
        return self.base.retrieve(histories, k, allowed, keep_seen)

    @property
    def item_embeddings(self) -> Floats:
        """The item vectors, (I, D)."""
        return self.base.item_vectors

    def posterior(self, history: Histories) -> Posterior | None:
        """Return that of the vectors; items without events may lie off what their content says, too."""
        found = self.base.posterior(history)
        if found is None or not self.cold_items.any():
            return found
        spread = self.base.cold_spread(history.on(self.items), self.recipe.strength)
        return replace(found, cold=self.cold_items, spread=spread)

    def item_similarity(self, item: int) -> Floats:
        """Cosine of one item's vector with all, (I,)."""
        return self.base.item_similarity(item)

    def contributions(self, past: Ragged, items: Ints) -> Floats:
        """Return the parts of the scores of the vectors, (N, J)."""
        return self.base.contributions(past, items)

    def similar_users(self, users: Iterable[Id], k: int = 10) -> Rankings:
        """Best k users for each of these by the cosine of their vectors, themselves left out."""
        return self.base.similar_users(users, k)

    def with_items(self, catalogue: Catalogue) -> HybridModel:
        """Return the model with the items of another catalogue ranked too; those without events are read anew."""
        items = self.items.union(catalogue.items)
        encoded = self.encoding.encode(catalogue)
        row = items.recode(catalogue.items)
        index = np.arange(len(items))
        index[row] = len(self.items) + np.arange(len(catalogue))
        terms = self.terms.joined(encoded.terms).rows(index)
        return self.over(items, row, encoded.vectors, terms)

    def over(self, items: Vocabulary, row: Ints, content: Floats, terms: Ragged) -> HybridModel:
        """Return the model over more items; of rows (N,), items without events get W z of their content (N, E)."""
        base = self.base
        more = len(items) - len(base.items)
        popularity = np.pad(base.popularity, (0, more))
        vectors = aligned(len(items), base.item_vectors.shape[1])
        vectors[: len(base.items)] = base.item_vectors
        new = popularity[row] == 0
        vectors[row[new]] = content[new] @ self.weights
        wider = replace(base, items=items, item_vectors=vectors, popularity=popularity)
        return replace(self, items=items, models=(wider,), terms=terms)

    def drawn(self, prior: ContentPrior) -> HybridModel:
        """Return the model with the vectors of items with events drawn to what their content says."""
        base = self.base
        known = slice(0, len(prior.content))
        trust = (base.popularity[known] / (base.popularity[known] + np.float32(prior.strength)))[:, None]
        vectors = aligned_copy(base.item_vectors)
        vectors[known] = trust * vectors[known] + (1 - trust) * (prior.content @ self.weights)
        return replace(self, models=(replace(base, item_vectors=vectors),))


register(Hybrid, HybridModel, holds=CONTENT)
