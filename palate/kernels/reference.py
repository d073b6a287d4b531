"""What the training kernels compute, in float64 numpy: slow, readable, and compared with them in the tests.

Each loss takes the score s of one positive, the scores (N,) of its negatives and their weights a (N,). Drawn one by
one, K a positive, a is 1 / (K q) for the softmax (the logQ correction), 1 for the logistic loss and 1 / K for BPR;
for a shared sample see blocks.py.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np

from palate.arrays import Doubles, Longs


class Slopes(NamedTuple):
    """A loss and its derivatives by the score of the positive and by those of the negatives (N,)."""

    value: float
    positive: float
    negatives: Doubles


class Gradient(NamedTuple):
    """A loss and its gradient by the user u (D,) and by the items, one row each."""

    value: float
    user: Doubles
    items: Doubles


Loss: TypeAlias = Callable[[float, Doubles, Doubles], Slopes]


def softmax(s: float, negatives: Doubles, a: Doubles) -> Slopes:
    """-s + log(e^s + Σ a_k e^s_k): Bengio and Senécal 2008, sec. III; Yi et al. 2019, eq. 3."""
    top = max(s, negatives.max(initial=s))
    own, others = np.exp(s - top), a * np.exp(negatives - top)
    total = own + others.sum()
    return Slopes(float(np.log(total) + top - s), float(own / total - 1), others / total)


def logistic(s: float, negatives: Doubles, a: Doubles) -> Slopes:
    """-log σ(s) - Σ a_k log σ(-s_k): the founding formula."""
    value = np.logaddexp(0, -s) + a @ np.logaddexp(0, negatives)
    return Slopes(float(value), -sigmoid(np.array(-s)).item(), a * sigmoid(negatives))


def bpr(s: float, negatives: Doubles, a: Doubles) -> Slopes:
    """-Σ a_k log σ(s - s_k): Rendle et al. 2009, sec. 4.1."""
    slopes = a * sigmoid(negatives - s)
    return Slopes(float(a @ np.logaddexp(0, negatives - s)), -float(slopes.sum()), slopes)


def sigmoid(x: Doubles) -> Doubles:
    """1 / (1 + e^-x)."""
    return np.asarray(np.exp(-np.logaddexp(0, -x)))


def of_sample(
    loss: Loss, u: Doubles, items: Doubles, a: Doubles, weight: float = 1, scale: float = 1, l2: float = 0
) -> Gradient:
    """Gradient of w [loss + l2/2 (|u|² + |p_0|²)], scores being `scale` u·p.

    items (1 + N, D): the positive p_0, then the negatives of weights a (N,); the gradient has the same rows.
    """
    scores = scale * items @ u
    value, positive, negatives = loss(scores[0], scores[1:], a)
    slope = weight * scale * np.append(positive, negatives)  # (1 + N,)
    by_items = np.outer(slope, u)
    by_items[0] += weight * l2 * items[0]
    penalty = l2 / 2 * (u @ u + items[0] @ items[0])
    return Gradient(weight * (value + penalty), slope @ items + weight * l2 * u, by_items)


def of_user(
    loss: Loss,
    u: Doubles,
    items: Doubles,
    own: Longs,
    weight: Doubles,
    sample: Longs,
    a: Doubles,
    scale: float = 1,
    l2: float = 0,
) -> Gradient:
    """Sum of `of_sample` over one user's positives `own` (n,) of weights (n,), against a shared sample (S,).

    own, sample name rows of items (I, D); the sample has weights a (S,), and the user's own items in it do not
    count. The gradient is by u and by all I items.
    """
    free = ~np.isin(sample, own)
    value, by_user, by_items = 0.0, np.zeros_like(u), np.zeros_like(items)
    for item, w in zip(own, weight, strict=True):
        rows = np.append(item, sample[free])
        part = of_sample(loss, u, items[rows], a[free], w, scale, l2)
        value += part.value
        by_user += part.user
        np.add.at(by_items, rows, part.items)
    return Gradient(value, by_user, by_items)
