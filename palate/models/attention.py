"""Causal attention over the events of histories: states of what comes next, by functions of named weights.

Norms before each block, gated blocks, and a bias of attention by distance and by the time between events: see
`palate.models.transformer`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

from palate.data.ragged import NEVER
from palate.models.network import Inputs
from palate.training.networks import Weights, need_torch

if TYPE_CHECKING:
    from torch import Generator, Tensor

Drop: TypeAlias = "Callable[[Tensor], Tensor]"
Both: TypeAlias = "tuple[Tensor, Tensor]"  # keys and values (B, H, P, D / H) of a layer

KNOTS = (0.0, 60.0, 3600.0, 86_400.0, 2_592_000.0)  # seconds between events, at which attention may turn


class Shape(Protocol):
    """What attention asks of a recipe."""

    @property
    def dim(self) -> int:
        """Numbers of a state."""

    @property
    def layers(self) -> int:
        """Layers, each of attention and a gated block."""

    @property
    def heads(self) -> int:
        """Heads of each layer."""

    @property
    def window(self) -> int:
        """Events that an event attends to, itself the last."""


def item_vectors(w: Weights, item: Tensor) -> Tensor:
    """Vectors of length 1 of items of any shape, (..., D): their own, and that of their content, if there is any."""
    functional = need_torch().nn.functional
    x = functional.embedding(item, w["items"])
    if "content" in w:
        x = x + functional.embedding(item, w["content"]) @ w["reading"]
    vectors: Tensor = functional.normalize(x, dim=-1)
    return vectors


class Past(NamedTuple):
    """Events of B histories that were read: time (B, P), and what each layer keeps of them."""

    time: Tensor
    layers: tuple[Both, ...]


def states(
    w: Weights, shape: Shape, inputs: Inputs, past: Past | None = None, drop: Drop | None = None
) -> tuple[Tensor, Past]:
    """Return unit vectors (B, T, D) of what comes after each event, and what was read.

    An event sees itself and what is before it; so whatever is put behind the end of a history changes nothing.
    `past` holds the events before the first column, at least the last window - 1 of them.
    """
    torch = need_torch()
    functional = torch.nn.functional
    drop = drop or (lambda x: x)
    x = item_vectors(w, inputs.item.clamp(min=0)) * shape.dim**0.5  # (B, T, D)
    if "types" in w:
        x = x + functional.embedding(inputs.event, w["types"])
    if "kinds" in w:
        x = x + functional.embedding((inputs.weight[..., None] > w["between"]).sum(-1), w["kinds"])
    x = drop(x)
    time = inputs.time if past is None else torch.cat([past.time, inputs.time], 1)
    rising = log_gap_features(inputs.time, time) if "0.attend.gap" in w else None
    kept = []
    for n in range(shape.layers):
        before = None if past is None else past.layers[n]
        y, both = attend(w, shape, n, norm(x, w[f"{n}.attend.norm"]), rising, before)
        x = x + drop(y)
        kept.append(both)
        value, gate = (norm(x, w[f"{n}.feed.norm"]) @ w[f"{n}.feed.in"]).chunk(2, -1)  # (B, T, 2D) each
        x = x + drop((value * functional.silu(gate)) @ w[f"{n}.feed.out"])
    return functional.normalize(x, dim=-1), Past(time, tuple(kept))


def log_gap_features(time: Tensor, before: Tensor) -> Tensor:
    """Return how far the logarithm of the time from each event (B, S) to each (B, T) is above that of each knot.

    (B, T, S, K), 0 where a time is not known; a weight for each makes any line that turns at the knots.
    """
    torch = need_torch()
    known = ((time > NEVER)[:, :, None] & (before > NEVER)[:, None, :])[..., None]
    seconds = (time[:, :, None] - before[:, None, :]).clamp(min=0).to(torch.float32)[..., None] / 1e6
    knots = torch.tensor(KNOTS, device=time.device)
    above: Tensor = torch.where(known, (seconds.log1p() - knots.log1p()).clamp(min=0), 0.0)
    return above


def attend(w: Weights, shape: Shape, n: int, x: Tensor, rising: Tensor | None, past: Both | None) -> Any:
    """Attention of layer n over each event's window, (B, T, D), and all keys and values, (B, H, P + T, D / H)."""
    torch = need_torch()
    B, T, D = x.shape
    H = shape.heads
    q, k, v = (x @ w[f"{n}.attend.in"]).view(B, T, 3, H, D // H).permute(2, 0, 3, 1, 4)  # (B, H, T, D / H)
    if past is not None:
        k, v = torch.cat([past[0], k], 2), torch.cat([past[1], v], 2)
    S = k.shape[2]
    back = torch.arange(S - T, S, device=x.device)[:, None] - torch.arange(S, device=x.device)  # (T, S)
    seen = (back >= 0) & (back < shape.window)
    bias = w[f"{n}.attend.distance"][back.clamp(0, shape.window - 1)].permute(2, 0, 1)  # (H, T, S)
    if rising is not None:
        bias = bias + (rising @ w[f"{n}.attend.gap"]).permute(0, 3, 1, 2)  # (B, H, T, S)
    bias = bias.masked_fill(~seen, -torch.inf).to(q.dtype)
    mixed = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=bias.expand(B, -1, -1, -1))
    mixed = mixed.transpose(1, 2).reshape(B, T, D)
    return mixed @ w[f"{n}.attend.out"], (k, v)


def norm(x: Tensor, gain: Tensor) -> Tensor:
    """Give x the mean square gain² (Zhang and Sennrich 2019)."""
    normed: Tensor = x * (x.square().mean(-1, keepdim=True) + 1e-6).rsqrt() * gain
    return normed


def dropped(x: Tensor, share: float, rng: Generator) -> Tensor:
    """Leave out this share of the numbers, and make the others larger by as much (Srivastava et al. 2014).

    Four chances of 16 bits come of each number drawn: on a processor that takes a tenth of `bernoulli_`.
    """
    if not share:
        return x
    torch = need_torch()
    words = torch.empty(-(-x.numel() // 4), dtype=torch.int64, device=x.device).random_(-(2**63), None, generator=rng)
    chance = words.view(torch.int16)[: x.numel()].view(x.shape)
    kept: Tensor = (chance >= round((share - 0.5) * 2**16)).to(x.dtype)
    return x * kept.mul_(1 / (1 - share))
