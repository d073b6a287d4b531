"""Losses of one sample, a positive and K negatives, and their slopes by the scores, in vector registers.

No score or slope is written alone: a vector read after it would have to wait until all earlier stores, rows of
items among them, have left for the cache.
"""

from collections.abc import Callable, Sequence
from typing import TypeAlias

from numba import types

from palate.kernels.compile import emitted
from palate.kernels.llvm import Builder, Context, Kind, Value
from palate.kernels.simd import I32, WIDTH, SimdVector, exp, load, log, numbered, splat
from palate.kernels.vectors import element, pointer

SOFTMAX, LOGISTIC, BPR = 0, 1, 2
NEVER = -1e30  # a score whose exponential is 0
AT_ONCE = 64  # factors of at most 2: their product is far from overflow

Result: TypeAlias = tuple[SimdVector, Sequence[SimdVector]]  # the loss in every lane, and the slopes


def softmax(s: Sequence[SimdVector], positive: SimdVector, K: SimdVector) -> Result:
    """-s₀ + log(e^s₀ + Σ e^s_k), where each s_k comes with log K q_k taken off: Bengio and Senécal 2008, sec. III."""
    top = s[0]
    for x in s[1:]:
        top = top.max(x)
    top = top.top()
    e = [exp(x - top) for x in s]
    total = _sum(e).total()
    slopes = [x / total for x in e]
    slopes[0] = slopes[0] - positive
    return log(total) + top - s[0].lane(0), slopes


def logistic(s: Sequence[SimdVector], positive: SimdVector, K: SimdVector) -> Result:
    """-log σ(s₀) - Σ log σ(-s_k): the founding formula."""
    sign = positive * -2.0 + 1.0
    loss, slopes = softplus([s[0] * sign, *s[1:]])
    return loss, [slopes[0] * sign, *slopes[1:]]


def bpr(s: Sequence[SimdVector], positive: SimdVector, K: SimdVector) -> Result:
    """-Σ log σ(s₀ - s_k) / K: Rendle et al. 2009, sec. 4.1."""
    own = s[0].lane(0)
    loss, slopes = softplus([s[0] - own + positive * NEVER, *(x - own for x in s[1:])])
    share = [g / K for g in slopes]
    return loss / K, [share[0] - positive * _sum(share).total(), *share[1:]]


def softplus(x: Sequence[SimdVector]) -> Result:
    """Sum of log(1 + e^x), and its slopes σ(x).

    log(1 + e^x) = max(x, 0) + log(1 + e^-|x|), and factors 1 + e^-|x| <= 2 share one logarithm.
    """
    e = [exp(-y.max(-y)) for y in x]
    value = _sum([y.max(0.0) for y in x])
    for low in range(0, len(e), AT_ONCE):
        product = e[low] + 1.0
        for y in e[low + 1 : low + AT_ONCE]:
            product = product * (y + 1.0)
        value = value + log(product)
    return value.total(), [(y < 0.0).where(f, f * 0.0 + 1.0) / (f + 1.0) for y, f in zip(x, e, strict=True)]


def _sum(parts: Sequence[SimdVector]) -> SimdVector:
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


FORMULAS: dict[int, Callable[[Sequence[SimdVector], SimdVector, SimdVector], Result]] = {
    SOFTMAX: softmax,
    LOGISTIC: logistic,
    BPR: bpr,
}


@emitted
def sample_slopes(
    typing_context: Context,
    loss: Value,
    s: Value,
    g: Value,
    rows: Value,
    slot: Value,
    log_kq: Value,
    negatives: Value,
    scale: Value,
    factor: Value,
    width: Value,
) -> Value:
    """Return the loss of u·p s (width,) times `scale`, and write `factor` times its slopes by the scores to g.

    The positive comes first, then K negatives; `width` is a multiple of 16, and what lies behind counts as
    -infinity. rows[slot] (width,) are the items, whose log_kq the softmax takes off.
    """

    def generate(context: Context, builder: Builder, signature: Kind, arguments: Value) -> Value:
        kinds, code, size = signature.args, loss.literal_value, width.literal_value
        scores, slopes, table = (pointer(context, builder, kinds[n], arguments[n]) for n in (1, 2, 5))
        items = element(context, builder, kinds[3], arguments[3], arguments[4])
        K, by, factors = (splat(builder, arguments[n]) for n in (6, 7, 8))
        K = K.resized(I32)
        firsts = range(0, size, WIDTH)
        positive = (numbered(builder, 0) < 1).where(by * 0.0 + 1.0, 0.0)
        parts = []
        for first in firsts:
            x = load(builder, scores(first)) * by
            if code == SOFTMAX:
                q = load(builder, items(first)).gather(table(0))
                x = x - ((numbered(builder, 0) > 0).where(q, 0.0) if first == 0 else q)
            parts.append((numbered(builder, first) > K).where(NEVER, x))
        value, moves = FORMULAS[code](parts, positive, K.as_float())
        for first, move in zip(firsts, moves, strict=True):
            (move * factors).store(slopes(first))
        return value.first()

    signature = types.float32(loss, s, g, rows, types.int64, log_kq, types.int64, types.float32, types.float32, width)
    return signature, generate
