"""Autoencoder: a variational autoencoder over histories, begun from its linear closed form.

Liang, Krishnan, Hoffman, Jebara 2018 (Mult-VAE), with the composite prior, the strength of the prior by user and
the alternating updates of Shenbin, Alekseev, Tutubalina, Malykh, Nikolenko 2020 (RecVAE).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from palate.arrays import Floats
from palate.compute.svd import leading
from palate.data.catalogue import Catalogue
from palate.data.interactions import Interactions
from palate.data.ragged import Ragged
from palate.errors import check
from palate.kernels.positives import first_positives
from palate.models.base import Watch, refuse_empty
from palate.models.item_to_item import positives
from palate.models.network import Inputs, NetworkRecipe, TorchModel, check_device
from palate.models.onnx import ExportedModel
from palate.models.registry import register
from palate.training.checkpoint import Checkpoint
from palate.training.loop import fit
from palate.training.networks import AdamW, Arrays, NetworkTask, Weights, need_torch

if TYPE_CHECKING:
    from torch import Generator, Tensor

EXACT = 50_000  # items: a larger catalogue is sampled
SAMPLE = 8192  # items drawn for a batch then
SHARES = (0.15, 0.75, 0.1)  # of the parts of the prior: standard normal, the encoder of the last epoch, a wide normal
WIDE = 10.0  # log variance of the last
CERTAIN = -6.0  # log variance of every latent number at first
SCALE = 10.0  # of scores at first: those of the closed form are about 0 to 1


@dataclass(frozen=True, kw_only=True)
class Autoencoder(NetworkRecipe):
    """Settings of the network and its training; an item of a history with weight above 0 counts 1, others 0.

    The encoder gives a history x the normal distribution q(z|x), the decoder a softmax over all items. What is made
    large is a bound of the likelihood of the items that are left out of the input at random:
    E_q [Σ_left-out log softmax(Wz + b)] - β n KL(q, prior), n the events of a user, whose weight is 1/√n.

    dim         latent numbers
    hidden      width of the encoder's gated block, which is added to its linear part
    l2          of the linear autoencoder that it begins with
    beta        strength of the prior, for each event
    encoder_passes  through the log in each epoch, before the decoder's one; 0: the encoder stays as it began
    negatives   items drawn for each batch; None: all, up to 50,000 items
    batch       events of a batch
    dropout     share of a history's items that are left out of the input, to be guessed
    device, checkpoint  as in Transformer
    """

    dim: int = 512
    hidden: int = 256
    l2: float = 150.0
    beta: float = 0.001
    encoder_passes: int = 0
    negatives: int | None = None
    epochs: int = 16
    batch: int = 8192
    learning_rate: float = 0.001
    weight_decay: float = 0.0
    dropout: float = 0.7
    seed: int = 0
    device: str = "cpu"
    checkpoint: str | None = None
    reads_weights: ClassVar[bool] = False

    def __post_init__(self) -> None:
        for name in ("dim", "hidden", "epochs", "batch"):
            check(getattr(self, name) >= 1, name, getattr(self, name), "must be 1 or more")
        check(
            self.negatives is None or self.negatives >= 1, "negatives", self.negatives, "must be 1 or more, or None"
        )
        check(self.encoder_passes >= 0, "encoder_passes", self.encoder_passes, "must be 0 or more")
        for name in ("l2", "learning_rate"):
            check(0 < getattr(self, name) < np.inf, name, getattr(self, name), "must be above 0")
        for name in ("beta", "weight_decay"):
            check(0 <= getattr(self, name) < np.inf, name, getattr(self, name), "must be 0 or more")
        check(0 < self.dropout < 1, "dropout", self.dropout, "must be above 0, below 1")
        check(0 <= self.seed < 2**63, "seed", self.seed, "must be from 0 to 2^63 - 1")
        check(self.device in ("cpu", "cuda"), "device", self.device, "is 'cpu' or 'cuda'")

    def fit(
        self, log: Interactions, catalogue: Catalogue | None = None, *, watch: Watch | None = None
    ) -> AutoencoderModel:
        """Fit to the log. Ctrl-C ends it with the weights of the last full epoch. Raises `MissingExtra`."""
        refuse_empty(log)
        check_device(self.device)
        recipe = self.resolved(log)
        popularity = log.item_weights()
        rows = self.seen(log.rows)

        def loss(weights: Weights, batch: Batch, rng: Generator) -> Tensor:
            return bound_loss(weights, recipe, batch, rng)

        def model(weights: Arrays) -> AutoencoderModel:
            kept = {name: each for name, each in weights.items() if not name.startswith("old.")}
            return AutoencoderModel(recipe, log.items, popularity, kept)

        task = NetworkTask(
            AdamW.of(recipe),
            start=first_weights(recipe, log),
            batches=lambda rng: batches(rows, recipe, rng),
            loss_of=loss,
            made=model,
            samples=len(rows.column) * (1 + self.encoder_passes),
            prepare=remember,
            frozen=("old.",),
        )
        return fit(task, nullcontext(), recipe.epochs, watch=watch, checkpoint=Checkpoint.of(recipe, log))

    def resolved(self, log: Interactions) -> Autoencoder:
        """Put a number in place of None."""
        if self.negatives is not None:
            return self
        return replace(self, negatives=len(log.items) if len(log.items) <= EXACT else SAMPLE)

    def seen(self, rows: Ragged) -> Ragged:
        """Return each liked item once."""
        return rows.where(first_positives(rows.start, rows.column, rows.liked) > 0)

    def shapes(self, weights: Arrays, items: int) -> dict[str, tuple[int, ...]]:
        """Return the shapes that weights must have over this many items."""
        I, D, H = items, self.dim, self.hidden
        encoder = {"items": (I, D), "in": (D, 2 * H), "out": (H, D), "spread": (D, D), "certain": (D,)}
        return {"items": (I, D), "bias": (I,)} | {f"encoder.{name}": shape for name, shape in encoder.items()}

    def forward(self, w: Weights, inputs: Inputs) -> Tensor:
        """Score every item by the mean of the history's distribution, (B, I)."""
        item, length = inputs.item, inputs.length
        place = need_torch().arange(item.shape[1], device=item.device)
        mean, _ = encode(w, "encoder", item, (place < length[:, None]).to(w["items"].dtype))
        scores: Tensor = mean @ w["items"].T + w["bias"]
        return scores


@dataclass(frozen=True, eq=False)
class AutoencoderModel(TorchModel):
    """A fitted Autoencoder."""

    recipe: Autoencoder


@dataclass(frozen=True, eq=False)
class Batch:
    """item (B, T), inside (B, T): whether a place holds an event; half: which part of the network learns."""

    half: Literal["encoder", "decoder"]
    item: np.typing.NDArray[np.int64]
    inside: np.typing.NDArray[np.bool_]


def batches(rows: Ragged, recipe: Autoencoder, rng: np.random.Generator) -> Sequence[Batch]:
    """Make the batches of an epoch: the encoder's passes, then the decoder's; users of about one length together."""
    halves: list[Literal["encoder", "decoder"]] = ["encoder"] * recipe.encoder_passes
    halves.append("decoder")
    made = []
    for half in halves:
        length = rows.lengths
        order = np.argsort(length * (1 + rng.random(len(length)) / 2))
        order = order[length[order] > 1]  # one to see, one to guess
        cuts = np.flatnonzero(np.diff(np.cumsum(length[order]) // recipe.batch)) + 1
        groups = [group for group in np.split(order, cuts) if len(group)]
        for n in rng.permutation(len(groups)):
            size = length[groups[n], None]
            place = np.arange(int(size.max()))
            inside = place < size
            start = rows.start[groups[n], None]
            made.append(Batch(half, rows.column[np.where(inside, start + place, start)].astype(np.int64), inside))
    return made


def first_weights(recipe: Autoencoder, log: Interactions) -> dict[str, Floats]:
    """Return the leading axes of the linear autoencoder, with nothing added by the gated block.

    That of ridge regression is V f Vᵀ with f = σ² / (σ² + l2), X = U σ Vᵀ; an item is not to speak for itself, which
    divides its column by 1 - (V f Vᵀ)_ii (Steck 2019, eq. 8: EASE, where no axis is left out).
    """
    X = positives(log, binary=True)
    I, D, H = X.shape[1], recipe.dim, recipe.hidden
    rng = np.random.default_rng(recipe.seed)
    axes = leading(lambda Q: X.T @ (X @ Q), I, D, recipe.seed)  # V σ, (I, D)
    squares = np.einsum("id,id->d", axes, axes)  # σ²
    axes /= np.sqrt(np.maximum(squares + recipe.l2, 1e-12))  # V √f
    itself = np.einsum("id,id->i", axes, axes)
    encoder = {
        "items": axes,
        "in": rng.standard_normal((D, 2 * H), np.float32) / np.float32(np.sqrt(D)),
        "out": np.zeros((H, D), np.float32),
        "spread": np.zeros((D, D), np.float32),
        "certain": np.full(D, CERTAIN, np.float32),
    }
    return {
        **{f"encoder.{name}": each for name, each in encoder.items()},
        **{f"old.{name}": each for name, each in encoder.items()},
        "items": np.asarray(SCALE * axes / (1 - itself)[:, None], np.float32),
        "bias": np.zeros(I, np.float32),
    }


def remember(w: Weights) -> None:
    """Keep the encoder as it is, for the prior of the epoch that begins."""
    with need_torch().no_grad():
        for name in [name for name in w if name.startswith("old.")]:
            w[name].copy_(w[name.replace("old.", "encoder.")])


def encode(w: Weights, of: str, item: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and log variance (B, D) of q(z|x) by the encoder `of`, for x of these items and weights (B, T)."""
    functional = need_torch().nn.functional
    h = (functional.embedding(item, w[f"{of}.items"]) * weight[..., None]).sum(1)  # (B, D)
    even = h * (h.square().mean(-1, keepdim=True) + 1e-6).rsqrt()
    value, gate = (even @ w[f"{of}.in"]).chunk(2, -1)  # (B, H) each
    mean = h + (value * functional.silu(gate)) @ w[f"{of}.out"]
    return mean, even @ w[f"{of}.spread"] + w[f"{of}.certain"]


def bound_loss(w: Weights, recipe: Autoencoder, batch: Batch, rng: Generator) -> Tensor:
    """Return minus the bound, a mean over users of weight √n: see `Autoencoder`."""
    torch = need_torch()
    device = w["items"].device
    item, inside = torch.as_tensor(batch.item, device=device), torch.as_tensor(batch.inside, device=device)
    shown = inside & (torch.rand(item.shape, generator=rng, device=device) >= recipe.dropout)
    wanted = inside & ~shown
    n = inside.sum(1).to(w["items"].dtype)
    if batch.half == "decoder":
        with torch.no_grad():
            z, _ = encode(w, "encoder", item, shown.to(n.dtype))
        cost = reconstruction(w, recipe, z, item, inside, wanted, rng)
    else:
        mean, log_variance = encode(w, "encoder", item, shown.to(n.dtype))
        noise = torch.randn(mean.shape, generator=rng, device=device, dtype=mean.dtype)
        z = mean + (log_variance / 2).exp() * noise
        held = {name: each.detach() for name, each in w.items() if not name.startswith("encoder.")}
        cost = reconstruction(held, recipe, z, item, inside, wanted, rng)
        with torch.no_grad():
            old = encode(held, "old", item, inside.to(n.dtype))
        cost = cost + recipe.beta * n * divergence(z, mean, log_variance, *old)
    loss: Tensor = (cost / n.sqrt()).sum() / n.sqrt().sum()
    return loss


def reconstruction(
    w: Weights, recipe: Autoencoder, z: Tensor, item: Tensor, inside: Tensor, wanted: Tensor, rng: Generator
) -> Tensor:
    """-Σ log softmax over the items `wanted` (B, T) of each user, (B,), among all that were not shown."""
    torch = need_torch()
    I = len(w["items"])
    K = min(recipe.negatives or I, I)
    drawn = torch.randperm(I, generator=rng, device=z.device)[:K]
    own = torch.zeros((len(z), I + 1), dtype=torch.bool, device=z.device)
    own[torch.arange(len(z), device=z.device)[:, None], torch.where(inside, item, I)] = True
    known = own[:, drawn]  # (B, K): left to `right`
    wrong = (z @ w["items"][drawn].T + w["bias"][drawn]).masked_fill(known, -1e9).logsumexp(-1)
    others = (I - own[:, :I].sum(1)).clamp(min=1).log() - (K - known.sum(1)).clamp(
        min=1
    ).log()  # the drawn stand for all
    right = torch.einsum("bd,btd->bt", z, w["items"][item]) + w["bias"][item]  # (B, T)
    all_of_them = torch.logaddexp(wrong + others, right.masked_fill(~wanted, -1e9).logsumexp(-1))
    cost: Tensor = ((all_of_them[:, None] - right) * wanted).sum(1)
    return cost


def divergence(z: Tensor, mean: Tensor, log_variance: Tensor, old_mean: Tensor, old_log_variance: Tensor) -> Tensor:
    """Return log q(z) - log prior(z), (B,): what KL(q, prior) is in the mean over z (Shenbin et al. 2020, eq. 8)."""
    torch = need_torch()
    nothing = torch.zeros_like(z)
    parts = ((nothing, nothing), (old_mean, old_log_variance), (nothing, nothing + WIDE))
    prior = torch.stack([normal(z, *part) + float(np.log(share)) for part, share in zip(parts, SHARES, strict=True)])
    cost: Tensor = (normal(z, mean, log_variance) - prior.logsumexp(0)).sum(-1)
    return cost


def normal(z: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """Log density of a normal distribution of log variance `log_variance`."""
    density: Tensor = -0.5 * ((z - mean).square() * (-log_variance).exp() + log_variance + float(np.log(2 * np.pi)))
    return density


register(Autoencoder, AutoencoderModel, ExportedModel)
