"""Private: a recipe fitted with noise, so that the model says next to nothing of any one user.

Closed forms need a Gram matrix of the items and nothing else of a log. It is released once, with noise; what is made
of it is free. See docs/privacy.md for the proofs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

import numpy as np
import polars as pl
from scipy.sparse import csr_array

from palate.arrays import Floats, Ints
from palate.data.catalogue import Catalogue
from palate.data.histories import Histories
from palate.data.interactions import Interactions
from palate.data.ragged import Ragged
from palate.data.vocabulary import Id, Vocabulary
from palate.encoders.encoding import Encoding
from palate.errors import check
from palate.models.base import Model, Recipe, Watch, refuse_empty
from palate.models.embedding import Embedding
from palate.models.guarantee import Guarantee, Release
from palate.models.item_content import check_reading
from palate.models.item_to_item import positives
from palate.models.popularity import Popularity
from palate.models.posterior import Posterior
from palate.models.registry import as_recipe, register
from palate.privacy import sgd
from palate.privacy.fitted import check_private, fitted
from palate.privacy.noise import SeededSource, SystemSource
from palate.privacy.released import Plan, Released, release, release_counts
from palate.privacy.spectrum import Axes

CONTENT_DIM = 256  # numbers of a field of public content
DELTA = 1e-6  # by default: below 1 / n for logs of fewer than a million users


@dataclass(frozen=True, kw_only=True)
class Private(Recipe):
    """A recipe, given as such or as text, with (epsilon, delta)-differential privacy of each user with all events.

    epsilon   the least is the most private
    delta     None: 1e-6; must be well below 1 / the number of users, which is data itself, so that no fit looks it up
    public    the list of items is known to all: that of the catalogue, or of the log without one. False: a noisy list
              of what is chosen often is made from a share of the budget, and ids are text
    fields    public attributes of the items, columns of the catalogue, drawn near each other (not `Embedding`)
    refuse    raise `Hopeless` where the noise hides all but popularity; False: fit what is left
    seed      with insecure_test_noise alone: noise that can be made again protects no user

    A fit uses which items a user likes, each once; weights, order and times of events are not read.
    """

    recipe: str | Recipe = field(default="EASE()", kw_only=False)
    epsilon: float = 1.0
    delta: float | None = None
    public: bool = False
    fields: tuple[str, ...] = ()
    refuse: bool = True
    insecure_test_noise: bool = False
    seed: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "recipe", as_recipe(self.recipe))
        check_private(self.inner)
        check(1e-3 <= self.epsilon <= 30, "epsilon", self.epsilon, "must be from 0.001 to 30")
        check(self.delta is None or 1e-15 <= self.delta <= 1e-3, "delta", self.delta, "must be from 1e-15 to 1e-3")
        object.__setattr__(self, "fields", check_reading(self.fields, None, 0))
        check(not self.fields or self.public, "fields", self.fields, "needs public=True: the items of the catalogue")
        own = not (self.fields and self.by_steps)
        check(
            own, "fields", self.fields, "have no place in the steps of a private Embedding; EASE and IALS take them"
        )
        seeded = self.seed is not None
        rule = "needs insecure_test_noise=True, which protects no user" if seeded else "is needed for test noise"
        check(seeded == self.insecure_test_noise, "seed", self.seed, rule)
        check(self.seed is None or self.seed >= 0, "seed", self.seed, "must be 0 or more")

    @property
    def inner(self) -> Recipe:
        """The recipe that is fitted."""
        return cast("Recipe", self.recipe)

    @property
    def counts_alone(self) -> bool:
        """Whether nothing but the popularity of items is asked for."""
        return isinstance(self.inner, Popularity)

    @property
    def by_steps(self) -> bool:
        """Whether vectors are trained, step by step, in place of a Gram matrix."""
        return isinstance(self.inner, Embedding)

    @property
    def plan(self) -> Plan:
        """How much noise the releases have."""
        delta = DELTA if self.delta is None else self.delta
        return Plan.of(self.epsilon, delta, public=self.public, counts_alone=self.counts_alone)

    def guarantees(self) -> tuple[Guarantee, ...]:
        """Return what is proven of a fit, whatever the log."""
        delta = DELTA if self.delta is None else self.delta
        releases = self.plan.releases(counts_alone=self.counts_alone)
        if self.by_steps:
            releases = sgd.releases(self.plan, self.epsilon, delta)
        return (Guarantee(self.epsilon, delta, releases, public=self.public, insecure=self.insecure_test_noise),)

    def fit(
        self, log: Interactions, catalogue: Catalogue | None = None, *, watch: Watch | None = None
    ) -> PrivateModel:
        """Fit to the log. Raises `Hopeless` where no more than popularity can be learned, unless refuse=False.

        A fit that is refused has read the log as well: it counts in a ledger.
        """
        refuse_empty(log)
        items, content = self.listed(log, catalogue)
        X = likes(log, items)
        released = self.released(X, content)
        own = items if len(released.kept) == len(items) else items.select(released.kept.astype(np.int32))
        return PrivateModel(self, own, (fitted(self.inner, own, released),), *self.guarantees())

    def released(self, X: csr_array, content: Floats | None) -> Released:
        """Release what the recipe is made of, from users' likes X (U, I) and content (I, C) that is public."""
        plan, refuse = self.plan, f"epsilon={self.epsilon:g}" if self.refuse else ""
        source = SystemSource() if self.seed is None else SeededSource(self.seed)
        if self.counts_alone:
            kept, counts = release_counts(X, plan, source)
            return Released(kept, counts, Axes(np.zeros((len(kept), 0)), np.zeros(0)), 1.0)
        if isinstance(self.inner, Embedding):
            noise = self.releases()[-1].noise
            return sgd.release_vectors(X, plan, noise, source, self.inner, refuse=refuse)
        return release(X, plan, source, content, refuse=refuse)

    def listed(self, log: Interactions, catalogue: Catalogue | None) -> tuple[Vocabulary, Floats | None]:
        """Return the items that may be listed, in an order that no user changes, and their content, (I, C)."""
        if not self.public or catalogue is None:
            return in_order(log.items, text=not self.public), None
        if not self.fields:
            return catalogue.items, None
        return catalogue.items, Encoding.of(self.fields, catalogue, CONTENT_DIM, 0)[1].vectors[:, 1:]


def in_order(items: Vocabulary, *, text: bool) -> Vocabulary:
    """Return items in the order of their ids, which no user changes; `text`: ids as text, whatever they all are."""
    spelled = items.ids.cast(pl.String)
    order = spelled.arg_sort()
    return Vocabulary.of(spelled.gather(order)) if text else items.select(order.to_numpy().astype(np.int32))


def likes(log: Interactions, items: Vocabulary) -> csr_array:
    """Return which user likes which of these items, (U, I), 1 where so, columns of each row in order."""
    found = positives(log, binary=True).tocoo()
    row = items.recode(log.items)[found.col]
    known = row >= 0
    ones = np.ones(np.count_nonzero(known), np.float64)
    matrix = csr_array((ones, (found.row[known], row[known])), shape=(len(log.users), len(items)))
    matrix.sort_indices()
    return matrix


@dataclass(frozen=True, eq=False)
class PrivateModel(Model):
    """The model of the recipe, one of `models`, made of what was released, and the guarantee.

    It knows no users and keeps no histories: a user that asks brings the own history along. A bundle holds histories
    where `save` is given a log, outside the guarantee; the command line gives it none.
    """

    recipe: Private
    items: Vocabulary
    models: tuple[Model, ...]
    guarantee: Guarantee = field()

    def fault(self) -> str:
        """Say what is wrong with `models`."""
        same = len(self.models) == 1 and self.models[0].items.ids.equals(self.items.ids)
        return "" if same else "models must be one, over the same items"

    def scores(self, histories: Histories) -> Floats:
        """As the model within says."""
        return self.models[0].scores(histories)

    def item_similarity(self, item: int) -> Floats:
        """As the model within says."""
        return self.models[0].item_similarity(item)

    def contributions(self, past: Ragged, items: Ints) -> Floats:
        """As the model within says."""
        return self.models[0].contributions(past, items)

    def reasons(self, history: Sequence[Id], item: Id, k: int = 5) -> list[tuple[str, float]]:
        """As the model within says."""
        return self.models[0].reasons(history, item, k)

    def posterior(self, history: Histories) -> Posterior | None:
        """As the model within says."""
        return self.models[0].posterior(history)

    @property
    def item_embeddings(self) -> Floats | None:
        """As the model within says."""
        return self.models[0].item_embeddings


register(Private, PrivateModel, holds=(Guarantee, Release))
