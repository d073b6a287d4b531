"""The one loop that trains networks: AdamW, clipping, a falling step, mixed precision on a GPU, checkpoints.

A network here is a dict of named arrays and a function of them; a fit begins and ends with numpy arrays.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

import numpy as np

from palate.arrays import AnyArray, Floats
from palate.bundles.bundle import About, read_bundle, write_bundle
from palate.compute.threads import limit_loaded
from palate.data.interactions import Interactions
from palate.errors import BundleError, MissingExtra, Package, PalateError, check
from palate.kernels.clock import clock
from palate.models.base import Model, Progress, Recipe, Watch

if TYPE_CHECKING:
    from torch import Generator, Tensor
    from torch.optim import Optimizer

M = TypeVar("M", bound=Model)
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
class Task(Generic[M]):
    """What is trained.

    start    first weights by name; those under `frozen` prefixes are changed by `prepare` alone
    batches  the batches of one epoch, drawn with the generator that is given; each is what `loss` takes
    loss     of the weights on a batch, a mean; it draws from the generator that is given
    model    of weights, when an epoch is over
    samples  in an epoch
    prepare  called with the weights before an epoch
    """

    start: Arrays
    batches: Callable[[np.random.Generator], Sequence[Any]]
    loss: Callable[[Weights, Any, Generator], Tensor]
    model: Callable[[Arrays], M]
    samples: int
    prepare: Callable[[Weights], None] | None = None
    frozen: tuple[str, ...] = ()


@dataclass(frozen=True)
class Training:
    """How it is trained.

    learning_rate  of AdamW (Loshchilov and Hutter 2019); grows over 100 steps, then falls in a line to a tenth
    weight_decay   of matrices; vectors have none
    checkpoint     a folder, written after each epoch; a fit that finds one there goes on from it, to the same result
    key            says what is fitted to what: a checkpoint of another fit is refused
    """

    epochs: int
    learning_rate: float
    weight_decay: float
    seed: int
    device: str
    checkpoint: str | None
    key: str

    @classmethod
    def of(cls, recipe: Recipe, log: Interactions, *others: AnyArray | None) -> Training:
        """Take the fields of a recipe, which has those of this class but the key; `others` are fitted to as well."""
        settings = recipe.settings()
        crc = 0
        for column in (
            each for each in (log.start, log.item, log.weight, log.timestamp, *others) if each is not None
        ):
            crc = zlib.crc32(np.ascontiguousarray(column).data, crc)
        named = {name: value for name, value in settings.items() if name not in ("checkpoint", "device")}
        key = f"{type(recipe).__name__} {named} on {log!r}, crc32 {crc:08x}"
        return cls(**{each.name: settings[each.name] for each in fields(cls) if each.name != "key"}, key=key)  # type: ignore[arg-type]


def train(task: Task[M], how: Training, watch: Watch | None = None) -> M:
    """Train and return the model of the last epoch: that before Ctrl-C, or the one at which `watch` says stop.

    The same seed gives the same weights on the same machine. Raises `Diverged` for a loss that is no number.
    """
    run = Run.begun(task, how)
    began, before = clock(), run.epoch

    def report(done: float, loss: float | None = None, model: M | None = None) -> bool:
        """Say how many epochs are done; returns whether to stop."""
        if watch is None:
            return False
        rate = (done - before) * task.samples / (clock() - began)
        epoch = run.epoch + (loss is None)
        return watch(Progress(epoch, how.epochs, done / how.epochs, rate, loss, model)) is True

    model = task.model(run.arrays()) if run.epoch else None
    try:
        while run.epoch < how.epochs:
            loss = run.one_epoch(task, how, report)
            model = task.model(run.arrays())
            stop = report(run.epoch, loss, model)
            run.save(how)  # afterwards: an epoch that was not reported is trained again
            if stop:
                break
    except KeyboardInterrupt:
        if model is None:
            raise
    assert model is not None
    return model


@dataclass
class Run:
    """A fit under way: the weights on their device, the optimiser, and how many epochs are done."""

    weights: Weights
    optimiser: Optimizer
    epoch: int

    @classmethod
    def begun(cls, task: Task[M], how: Training) -> Run:
        """Begin afresh, or where the checkpoint ends."""
        torch = need_torch()
        kept = _checkpoint(how)
        first: Arrays = task.start if kept is None else kept["weights"]
        weights = {name: torch.tensor(np.asarray(first[name]), device=how.device) for name in task.start}
        trained = {name: each for name, each in weights.items() if not name.startswith(task.frozen or ("\0",))}
        for each in trained.values():
            each.requires_grad_()
        groups = [
            {"params": [each for each in trained.values() if each.ndim > 1], "weight_decay": how.weight_decay},
            {"params": [each for each in trained.values() if each.ndim <= 1], "weight_decay": 0.0},
        ]
        optimiser = torch.optim.AdamW(groups, lr=how.learning_rate, betas=(0.9, 0.98), fused=True)
        if kept is None:
            return cls(weights, optimiser, 0)
        for name, each in trained.items():
            if name in kept["mean"]:
                optimiser.state[each] = {
                    "step": torch.tensor(kept["steps"][name][0], device=how.device),
                    "exp_avg": torch.tensor(kept["mean"][name], device=how.device),
                    "exp_avg_sq": torch.tensor(kept["square"][name], device=how.device),
                }
        return cls(weights, optimiser, kept["epoch"])

    def one_epoch(self, task: Task[M], how: Training, report: Callable[[float], object]) -> float:
        """Go through the batches once; returns the mean loss. Every draw follows from the seed and the epoch."""
        torch = need_torch()
        rng = np.random.default_rng([how.seed, self.epoch])
        torch_rng = torch.Generator(how.device).manual_seed(int(rng.integers(1 << 62)))
        if task.prepare is not None:
            task.prepare(self.weights)
        batches = task.batches(rng)
        trained = [each for each in self.weights.values() if each.requires_grad]
        losses = np.zeros(len(batches))
        for n, batch in enumerate(batches):
            for group in self.optimiser.param_groups:
                group["lr"] = how.learning_rate * learning_rate_share(
                    self.epoch * len(batches) + n, how.epochs * len(batches)
                )
            with torch.autocast(how.device, torch.bfloat16, enabled=how.device != "cpu"):
                loss = task.loss(self.weights, batch, torch_rng)
            losses[n] = loss.item()
            if not np.isfinite(losses[n]):
                raise Diverged(f"epoch {self.epoch + 1}, batch {n + 1}: the loss is {losses[n]}; lower learning_rate")
            self.optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(trained, CLIP)
            self.optimiser.step()
            if n % max(1, len(batches) // REPORTS) == 0:
                report(self.epoch + n / len(batches))
        self.epoch += 1
        return float(losses.mean()) if len(losses) else 0.0  # a log in which nothing comes after anything

    def arrays(self) -> dict[str, Floats]:
        """Copy the weights."""
        return {name: each.detach().cpu().numpy().copy() for name, each in self.weights.items()}

    def save(self, how: Training) -> None:
        """Write the checkpoint, if one is asked for; a crash meanwhile leaves the one before."""
        if how.checkpoint is None:
            return
        moments = {name: self.optimiser.state[each] for name, each in self.weights.items() if each.requires_grad}
        moments = {name: state for name, state in moments.items() if state}
        parts = {
            "weights": self.arrays(),
            "mean": {name: state["exp_avg"].cpu().numpy() for name, state in moments.items()},
            "square": {name: state["exp_avg_sq"].cpu().numpy() for name, state in moments.items()},
            "steps": {name: state["step"].cpu().numpy()[None] for name, state in moments.items()},
        }
        write_bundle(how.checkpoint, parts, {"fit": how.key, "epoch": self.epoch})


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


def _checkpoint(how: Training) -> About | None:
    """Read what was kept, None if there is nothing; raises `SettingError` for another fit's."""
    if how.checkpoint is None or not (Path(how.checkpoint) / "manifest.json").exists():
        return None
    bundle = read_bundle(how.checkpoint)
    kept = bundle.about.get("fit")
    if kept is None:
        raise BundleError(f"{how.checkpoint}: a bundle, but not a checkpoint of a fit")
    check(kept == how.key, "checkpoint", how.checkpoint, f"was written by another fit ({kept}), not {how.key}")
    return {**bundle.parts, "epoch": bundle.about["epoch"]}
