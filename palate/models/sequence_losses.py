"""Losses of networks that guess the next item, by the scores of the targets and of the items drawn beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from palate.training.networks import need_torch

if TYPE_CHECKING:
    from torch import Tensor

LOSSES = ("softmax", "gbce")


def softmax(right: Tensor, wrong: Tensor, place: Tensor, items: int) -> Tensor:
    """Mean cross-entropy of N targets among I items, of which K were drawn without regard to the target.

    right (N,): scores of the targets; wrong (N, K) of the items drawn; place (N,): which of these is the target, -1
    for none. Those drawn stand for all others (Bengio and Senécal 2008): with R = log((I - 1) / K'), K' the drawn but
    the target, log(Σ exp(wrong + R) + exp(right)) - right is the cross-entropy of (right - R, wrong).
    """
    torch = need_torch()
    inside = place >= 0
    count = (wrong.shape[1] - inside.to(wrong.dtype)).clamp(min=1)
    others = float(np.log(max(1, items - 1))) - count.log()
    logits = torch.cat([(right - others)[:, None], wrong], 1)
    with torch.no_grad():  # a probability of 0 has a slope of 0: nothing else needs to know
        rows = inside.nonzero()[:, 0]
        logits[rows, 1 + place[rows]] = -1e9
    loss: Tensor = torch.nn.functional.cross_entropy(logits, torch.zeros_like(place))
    return loss


def gbce(right: Tensor, wrong: Tensor, itself: Tensor, items: int, calibration: float) -> Tensor:
    """Generalised binary cross-entropy: −[β log σ(right) + Σ log(1 − σ(wrong))] / (K + 1), the mean over N targets.

    right (N,) and wrong (N, K) as in `softmax`; itself (N, K): which of the drawn is the target. With
    β = α (t (1 − 1/α) + 1/α), α = K / (I − 1) the share of the other items that is drawn and t the calibration, the
    probabilities of a model trained on a sample are too high by as much as BCE's at t = 0, and right at t = 1 (Petrov
    and Macdonald 2023, "gSASRec").
    """
    functional = need_torch().nn.functional
    K = drawn(itself)
    alpha = K / max(1, items - 1)
    beta = alpha * (calibration * (1 - 1 / alpha) + 1 / alpha)
    wrongs = functional.softplus(wrong).masked_fill(itself, 0.0).sum(-1)
    loss: Tensor = ((beta * functional.softplus(-right) + wrongs) / (K + 1)).mean()
    return loss


def drawn(itself: Tensor) -> Tensor:
    """Items drawn that are not the target, (N,), 1 where there are none."""
    count: Tensor = (~itself).sum(-1).clamp(min=1)
    return count
