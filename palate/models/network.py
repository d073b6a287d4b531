"""What the networks share: a recipe gives a function of weights and padded histories, a model the weights."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from palate.arrays import Floats, ItemFloats, Longs, all_finite
from palate.data.histories import Histories
from palate.data.ragged import Ragged
from palate.data.vocabulary import Vocabulary
from palate.errors import NotFinite, Package, check
from palate.models.base import Model, Recipe
from palate.models.event_inputs import no_types
from palate.models.factors import cosines, lengths
from palate.training.networks import PACKAGES, Arrays, Weights, need_torch

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Numbers: TypeAlias = Any  # an array of numpy, or a tensor
ROWS = 512  # histories that go through a network at once
EVENTS = 1 << 15  # of them, with what they are padded by


class Inputs(NamedTuple):
    """B padded histories, as arrays of numpy or as tensors: the events of row b are its first `length[b]`, 1 or more.

    item (B, T) int64; length (B,) int64; weight (B, T) float32; time (B, T) int64, as in `Ragged`
    event (B, T) int64: 1 more than the row of the type among those of the model, 0 for one that it does not know
    """

    item: Numbers
    length: Numbers
    weight: Numbers
    time: Numbers
    event: Numbers

    def tensors(self, device: str | torch.device = "cpu") -> Inputs:
        """Return them as tensors on a device."""
        return Inputs(*(need_torch().as_tensor(each, device=device) for each in self))


class NetworkRecipe(Recipe):
    """A recipe whose model is a network; `device` is "cpu" or "cuda"."""

    device: str

    def needs(self) -> tuple[Package, ...]:
        """Return what a fit, its checkpoints and a saved model take."""
        return (*PACKAGES, *super().needs())

    @abstractmethod
    def seen(self, rows: Ragged) -> Ragged:
        """Return the events of the histories that the network looks at."""

    @abstractmethod
    def shapes(self, weights: Arrays, items: int) -> Mapping[str, tuple[int, ...]]:
        """Return the shapes that weights of these names must have over this many items."""

    @abstractmethod
    def forward(self, w: Weights, inputs: Inputs) -> Tensor:
        """Score every item, (B, I)."""


@dataclass(frozen=True, eq=False)
class NetworkModel(Model):
    """items that go in are answered by scores that come out; popularity (I,): the answer to an empty history.

    event_types: names of the types that the network tells apart; none where it reads none
    """

    recipe: NetworkRecipe
    items: Vocabulary
    popularity: ItemFloats
    event_types: Vocabulary = field(default_factory=no_types, kw_only=True)

    @abstractmethod
    def run(self, inputs: Inputs) -> Floats:
        """Scores (B, I) of `NetworkRecipe.forward`."""

    def scores(self, histories: Histories) -> Floats:
        """Return what the network says, (B, I); a user without a history gets the popularity."""
        rows = self.recipe.seen(histories.on(self.items).typed(self.event_types))
        scores = np.tile(self.popularity, (len(rows), 1))
        for some, inputs in padded(rows):
            scores[some] = self.run(inputs)
        if not all_finite(scores):
            raise NotFinite(f"{type(self).__name__}: scores are not finite: its weights are too large")
        return scores


@dataclass(frozen=True, eq=False)
class TorchModel(NetworkModel):
    """weights: the network's arrays by name, `items` (I, D) among them."""

    weights: Arrays

    def fault(self) -> str:
        """Say what is wrong with `weights`."""
        found = {name: each.shape for name, each in self.weights.items()}
        wanted = self.recipe.shapes(self.weights, len(self.items))
        for name in dict.fromkeys([*wanted, *found]):
            if found.get(name) != wanted.get(name):
                return f"weights.{name} has the shape {found.get(name)}; it must be {wanted.get(name)}"
        wrong = [name for name, each in self.weights.items() if each.dtype != np.float32]
        return f"weights.{wrong[0]} holds {self.weights[wrong[0]].dtype}; it must hold float32" if wrong else ""

    @property
    def device(self) -> str:
        """Where it answers: on the recipe's device, or on the processor of a machine that has not that."""
        return self.recipe.device if need_torch().cuda.is_available() else "cpu"

    @cached_property
    def tensors(self) -> Weights:
        """The weights on the device."""
        torch, device = need_torch(), self.device
        return {name: torch.tensor(np.asarray(each), device=device) for name, each in self.weights.items()}

    def run(self, inputs: Inputs) -> Floats:
        """Scores (B, I) by torch."""
        with need_torch().inference_mode():
            return np.asarray(self.recipe.forward(self.tensors, inputs.tensors(self.device)).cpu().numpy())

    def item_similarity(self, item: int) -> Floats:
        """Cosine of one item's vector with all, (I,)."""
        E = np.asarray(self.weights["items"])
        return cosines(E, lengths(E), item)


def padded(rows: Ragged) -> Iterator[tuple[Longs, Inputs]]:
    """Rows that are not empty, those of about one length together: which they are, and what goes in."""
    length, moments, event = rows.lengths, rows.moments, rows.types.astype(np.int64) + 1
    asked = np.argsort(length, kind="stable")[np.count_nonzero(length == 0) :]
    high = len(asked)
    while high:
        longest = int(length[asked[high - 1]])
        low = max(0, high - max(1, min(ROWS, EVENTS // longest)))
        some, high = asked[low:high], low
        place = np.arange(longest)
        start = rows.start[some, None]
        at = np.where(place < length[some, None], start + place, start)
        yield some, Inputs(rows.column[at].astype(np.int64), length[some], rows.weight[at], moments[at], event[at])


def check_device(device: str) -> None:
    """Raise `SettingError` for a device that is unknown, or that this machine has not."""
    check(device in ("cpu", "cuda"), "device", device, "is 'cpu' or 'cuda'")
    check(device == "cpu" or need_torch().cuda.is_available(), "device", device, "this machine has no GPU for torch")
