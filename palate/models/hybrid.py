"""Vectors of items with a prior from their content: items with events and items without in one list.

The prior of an item's vector is N(W z_i, σ² I): without events the vector is W z_i, and each event moves it away.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Annotated

import numpy as np

from palate.arrays import Array, Bools, Floats, Ints, Longs, aligned, aligned_copy
from palate.data.catalogue import Catalogue
from palate.data.histories import Histories
from palate.data.interactions import Interactions
from palate.data.ragged import Ragged
from palate.data.rankings import Rankings
from palate.data.vocabulary import Id, Vocabulary
from palate.encoders.encoding import Encoding
from palate.errors import check
from palate.models.base import Progress, Recipe, Watch
from palate.models.blend import parsed
from palate.models.content import ContentBased, check_reading, read_items
from palate.models.embedding import Embedding, EmbeddingModel
from palate.models.ials import IALS, AlsState, IALSModel
from palate.models.prior import Prior
from palate.store.bundles import Part
from palate.store.nesting import flat

WITHOUT = 2  # epochs before the vectors tell what content is worth


@dataclass(frozen=True, kw_only=True)
class Hybrid(Recipe):
    """A recipe of vectors, `IALS(...)` or `Embedding(...)`, given as such or as it prints itself, with a prior.

    With `IALS` the prior is part of the objective, κ Σ_i |q_i - W z_i|² beside the rest, and W gets its best value in
    closed form in each epoch. With `Embedding` vectors of n units of weight are drawn to W z_i after the training, by
    κ / (n + κ).

    fields    what is read: a column of the catalogue, or "column:encoder"; none: all but pictures and sounds
    dim       numbers of a field at most; None: the more, the more items have events, 128 to 768
    strength  κ
    """

    base: str | Recipe = field(default="IALS(dim=128)", kw_only=False)
    fields: tuple[str, ...] = ()
    dim: int | None = None
    strength: float = 3.0
    seed: int = 0

    def __post_init__(self) -> None:
        recipe = self.of_vectors()
        rule = "must be IALS(...) or Embedding(...)"
        check(isinstance(recipe, IALS | Embedding), "base", self.base, rule)
        object.__setattr__(self, "base", repr(recipe))
        check_reading(self)
        check(0 < self.strength < np.inf, "strength", self.strength, "must be above 0")

    def of_vectors(self) -> Recipe:
        """Return the recipe of the vectors."""
        return self.base if isinstance(self.base, Recipe) else parsed(self.base, "base")

    def settings(self) -> dict[str, object]:
        """Return the settings by name, the base as it prints itself."""
        return {name: getattr(self, name) for name in ("base", "fields", "dim", "strength", "seed")}

    def fit(
        self, log: Interactions, catalogue: Catalogue | None = None, *, watch: Watch | None = None
    ) -> HybridModel:
        """Fit to the log and the catalogue. Raises `DataError` without one."""
        items, encoding, encoded = read_items(log, catalogue, self.fields, self.dim, self.seed, watch)
        content = encoded.vectors[: len(log.items)]

        def whole(base: IALSModel | EmbeddingModel, prior: Prior | None) -> HybridModel:
            known = prior or Prior.of(content, encoding.blocks, base.item_vectors)
            weights = known.weights(base.item_vectors)
            bare = HybridModel(self, base.items, (base,), encoding, encoded.terms.block(0, len(base.items)), weights)
            return bare.over(items, np.arange(len(items), dtype=np.int32), encoded.vectors, encoded.terms)

        recipe = self.of_vectors()
        if isinstance(recipe, Embedding):
            return self.drawn(whole(recipe.fit(log, watch=watch), None), content)
        assert isinstance(recipe, IALS)
        work = ContentGuidedAls.of(recipe, log).with_content(content, encoding.blocks, self.strength)

        def seen(progress: Progress) -> bool | None:
            assert watch is not None
            base = progress.model
            model = whole(base, work.prior) if isinstance(base, IALSModel) else None
            return watch(replace(progress, model=model))

        return whole(recipe.alternate(work, log, None if watch is None else seen), work.prior)

    def drawn(self, model: HybridModel, content: Floats) -> HybridModel:
        """Draw the vectors of items with events to what their content (I, E) says."""
        base = model.base
        met = slice(0, len(content))
        trust = (base.popularity[met] / (base.popularity[met] + np.float32(self.strength)))[:, None]
        vectors = aligned_copy(base.item_vectors)
        vectors[met] = trust * vectors[met] + (1 - trust) * (content @ model.weights)
        return replace(model, models=(replace(base, item_vectors=vectors),))


@dataclass
class ContentGuidedAls(AlsState):
    """Alternating least squares in which content (I, E) draws the vectors of the items, from the third epoch on."""

    content: Floats = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    blocks: Longs = field(default_factory=lambda: np.zeros(0, np.int64))
    strength: float = 0.0
    rounds: int = 0
    prior: Prior | None = None

    def with_content(self, content: Floats, blocks: Longs, strength: float) -> ContentGuidedAls:
        """Return the same at its beginning, drawn so."""
        ridge = self.item_ridge + np.float32(strength)
        return replace(self, content=content, blocks=blocks, strength=strength, item_ridge=ridge)

    def prior_term(self, side: Floats) -> Floats:
        """Return κ W z_i for the items, once their vectors say what content is worth."""
        if side is not self.items:
            return side[:0]
        self.rounds += 1
        if self.rounds <= WITHOUT:
            return side[:0]
        if self.prior is None:
            self.prior = Prior.of(self.content, self.blocks, side)
        return aligned_copy(np.float32(self.strength) * (self.content @ self.prior.weights(side)))

    def loss(self) -> float:
        """Objective a unit of weight, κ |q_i - W z_i|² in place of κ |q_i|²."""
        if self.prior is None:
            return super().loss()
        expected = self.content @ self.prior.weights(self.items)
        more = self.strength * float(np.vdot(expected, expected - 2 * self.items))
        return super().loss() + more / float(np.abs(self.rows.weight).sum(dtype=np.float64))


@dataclass(frozen=True, eq=False)
class HybridModel(ContentBased):
    """models (1,): the vectors of all items; terms: I rows; weights (E, D): W."""

    recipe: Hybrid
    items: Vocabulary
    models: tuple[IALSModel | EmbeddingModel, ...]
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
    def base(self) -> IALSModel | EmbeddingModel:
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
        """Return the model over more items, these first; of rows (N,), items without events get W z, z from content."""
        base = self.base
        more = len(items) - len(base.items)
        popularity = np.pad(base.popularity, (0, more))
        vectors = aligned(len(items), base.item_vectors.shape[1])
        vectors[: len(base.items)] = base.item_vectors
        new = popularity[row] == 0
        vectors[row[new]] = content[new] @ self.weights
        wider = replace(base, items=items, item_vectors=vectors, popularity=popularity)
        return replace(self, items=items, models=(wider,), terms=terms)

    def written(self) -> tuple[dict[str, Part], dict[str, object]]:
        """Return the parts of the base by number, and its own."""
        parts, manifest = self.base.written()
        own = {f"0.{name}": part for name, part in parts.items() if name != "items"}
        for name in ("items", "encoding", "terms", "weights"):
            own |= dict(flat(name, getattr(self, name)))
        return own, self.manifest() | {"models": [manifest]}
