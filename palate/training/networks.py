"""How networks are trained: AdamW, clipping, a falling step, mixed precision on a GPU.

A network here is a dict of named arrays and a function of them; a fit begins and ends with numpy arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from types import ModuleType
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

import numpy as np

from palate.arrays import Floats
from palate.bundles.bundle import Part
from palate.compute.threads import limit_loaded
from palate.errors import MissingExtra, Package, PalateError

if TYPE_CHECKING:
    from torch import Generator, Tensor

M = TypeVar("M")  # model
PACKAGES = Package("torch", "torch", "deep"), Package("safetensors.numpy", "safetensors", "deep")
Arrays: TypeAlias = Mapping[str, Floats]
Weights: TypeAlias = "dict[str, Tensor]"

WARM_STEPS = 100  # over which the step grows to its full size
LAST = 0.1  # of the step is left at the end
CLIP = 1.0  # largest length of a gradient, all weights taken together
REPORTS = 20  # calls of `watch` within an epoch


class Diverged(PalateError):
    """A loss became infinite or no number."""


@dataclass(frozen=True)
class AdamW:
    """How networks are trained.

    learning_rate  of AdamW (Loshchilov and Hutter 2019); grows over 100 steps, then falls in a line to a tenth
    weight_decay   of matrices; vectors have none
    """

    epochs: int
    learning_rate: float
    weight_decay: float
    seed: int
    device: str

    @classmethod
    def of(cls, recipe: object) -> AdamW:
        """Take the fields of a recipe that are named so."""
        return cls(**{each.name: getattr(recipe, each.name) for each in fields(cls)})


@dataclass
class NetworkTask(Generic[M]):
    """A network in training, for the epoch loop: the same seed gives the same weights on the same machine.

    how      its steps
    start    first weights by name; those under `frozen` prefixes are changed by `prepare` alone
    batches  the batches of one epoch, drawn with the generator that is given; each is what `loss_of` takes
    loss_of  the loss of the weights on a batch, a mean; it draws from the generator that is given
    made     makes the model of weights
    samples  in an epoch
    prepare  called with the weights before an epoch
    """

    how: AdamW
    start: Arrays
    batches: Callable[[np.random.Generator], Sequence[Any]]
    loss_of: Callable[[Weights, Any, Generator], Tensor]
    made: Callable[[Arrays], M]
    samples: int
    prepare: Callable[[Weights], None] | None = None
    frozen: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        torch = need_torch()
        self.mean_loss = 0.0
        self.weights = {
            name: torch.tensor(np.asarray(each), device=self.how.device) for name, each in self.start.items()
        }
        own = [name for name in self.weights if not name.startswith(self.frozen or ("\0",))]
        self.trained = [self.weights[name].requires_grad_() for name in own]
        groups = [
            {"params": [each for each in self.trained if each.ndim > 1], "weight_decay": self.how.weight_decay},
            {"params": [each for each in self.trained if each.ndim <= 1], "weight_decay": 0.0},
        ]
        self.optimiser = torch.optim.AdamW(groups, lr=self.how.learning_rate, betas=(0.9, 0.98), fused=True)

    def epoch(self, _: None, number: int) -> Iterator[int]:
        """Go through the batches once; every draw follows from the seed and the epoch. Raises `Diverged`."""
        torch, how = need_torch(), self.how
        rng = np.random.default_rng([how.seed, number])
        torch_rng = torch.Generator(how.device).manual_seed(int(rng.integers(1 << 62)))
        if self.prepare is not None:
            self.prepare(self.weights)
        batches = self.batches(rng)
        losses, each = np.zeros(len(batches)), self.samples / max(1, len(batches))
        reported = 0
        for n, batch in enumerate(batches):
            if n % max(1, len(batches) // REPORTS) == 0:
                yield int(n * each) - reported
                reported = int(n * each)
            share = learning_rate_share(number * len(batches) + n, how.epochs * len(batches))
            for group in self.optimiser.param_groups:
                group["lr"] = how.learning_rate * share
            with torch.autocast(how.device, torch.bfloat16, enabled=how.device != "cpu"):
                loss = self.loss_of(self.weights, batch, torch_rng)
            losses[n] = loss.item()
            if not np.isfinite(losses[n]):
                raise Diverged(f"epoch {number + 1}, batch {n + 1}: the loss is {losses[n]}; lower learning_rate")
            self.optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(self.trained, CLIP)
            self.optimiser.step()
        self.mean_loss = float(losses.mean()) if len(losses) else 0.0  # a log in which nothing follows anything
        yield self.samples - reported

    def loss(self) -> float:
        """Mean over the batches of the last epoch."""
        return self.mean_loss

    def model(self) -> M:
        """Return a model of a copy of the weights."""
        return self.made(self.arrays())

    def arrays(self) -> dict[str, Floats]:
        """Copy the weights."""
        return {name: each.detach().cpu().numpy().copy() for name, each in self.weights.items()}

    def state(self) -> Mapping[str, Part]:
        """Return the weights, and the state of the optimiser as arrays named by the parameter and what it is."""
        kept = self.optimiser.state_dict()["state"]
        named = {f"{n}.{name}": each.cpu().numpy() for n, state in kept.items() for name, each in state.items()}
        return {"weights": self.arrays(), "optimiser": named}

    def resume(self, state: Mapping[str, Any], epochs: int) -> None:
        """Take them up."""
        torch = need_torch()
        with torch.no_grad():
            for name, each in self.weights.items():
                each.copy_(torch.tensor(state["weights"][name]))
        kept: dict[int, dict[str, Tensor]] = {}
        for name, array in state["optimiser"].items():
            n, _, what = name.partition(".")
            kept.setdefault(int(n), {})[what] = torch.tensor(array)
        self.optimiser.load_state_dict({**self.optimiser.state_dict(), "state": kept})


def learning_rate_share(step: int, steps: int) -> float:
    """Share of the learning rate at a step: up in a line, then down in a line."""
    return min(1.0, (step + 1) / WARM_STEPS) * (1 - (1 - LAST) * step / steps)


def need_torch() -> ModuleType:
    """Import torch, or raise `MissingExtra`."""
    try:
        import torch
    except ModuleNotFoundError:
        raise MissingExtra("torch", "deep") from None
    limit_loaded()
    return torch
