"""Thompson sampling: a list by scores that are drawn, as far as the model leaves them open, and how likely it was."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from zlib import crc32

import numpy as np

from palate.arrays import Doubles, Floats, Longs
from palate.errors import NoPosterior
from palate.kernels.topk import select_top
from palate.models.posterior import Posterior
from palate.ranking.context import Context
from palate.ranking.request import ListRequest, Source
from palate.ranking.slate import CODE, Slate

POOL = 150  # best items by the model whose scores are drawn, at least
COLD = 30  # cold-start items among them
DRAWS = 32  # that a propensity is counted in, at most
PLACES = 4_000  # of the lists of all draws together
STAGED = 200  # of them, where stages put each in order


def posterior_of(context: Context) -> Posterior:
    """Return what the model leaves open of the user. Raises `NoPosterior` for a model that does not say."""
    found = context.retriever.posterior(context.past)
    if found is None:
        name = type(context.retriever.recipe).__name__
        rule = "a model with a posterior, such as IALS or a Hybrid of it, must answer"
        raise NoPosterior(f"explore: method 'thompson' with a model of {name}: {rule}")
    return found


def pool_size(k: int) -> int:
    """Items of the model whose scores are drawn for a list of k."""
    return max(POOL, 2 * k)


@dataclass(frozen=True, eq=False)
class Draws:
    """A pool with drawn scores: the first draw is that of the list, the others tell how likely it was.

    own (N,)  places of the pool with items of the model, the others stay; drawn (1 + M, N)  their scores
    """

    pool: Slate
    own: Longs
    drawn: Floats

    @classmethod
    def of(
        cls,
        pool: Slate,
        source: Source,
        request: ListRequest,
        context: Context,
        posterior: Posterior,
        *,
        staged: bool,
    ) -> Draws:
        """Draw for a request; staged  whether stages follow. The same user, `seed` or time, and pool: the same draws.

        Thompson 1933; Chapelle and Li 2011, alg. 1, with `strength` as their α: standard deviations, times it.
        """
        asked = request.exploring
        assert asked is not None
        own = np.flatnonzero(pool.source == CODE[source])
        rows = context.index.row[pool.position[own]].astype(np.int64)
        moment = context.now % (1 << 63) if asked.seed is None else asked.seed
        random = np.random.default_rng([crc32((request.user_id or "").encode()), moment])
        most = STAGED if staged else PLACES
        count = 1 + min(DRAWS, max(1, most // request.k))
        deviation = posterior.scores(rows, count, random)
        return cls(pool, own, pool.score[own].astype(np.float32) + np.float32(asked.strength) * deviation)

    def slate(self, n: int = 0) -> Slate:
        """Return the pool in the order of a draw."""
        order = np.argsort(-self.drawn[n], kind="stable")
        position, score = self.pool.position.copy(), self.pool.score.copy()
        position[self.own], score[self.own] = position[self.own][order], self.drawn[n, order]
        return Slate(position, score, self.pool.source)

    def propensities(self, k: int, staged: Callable[[Slate], Slate] | None) -> Doubles:
        """Probability that the item at each of the first k places stands there, (min(k, N),).

        It is (1 + c) / (1 + M), where c of M further draws have the item there. In the mean its inverse is that of
        the probability p, less a share (1 - p)^(1 + M) of it. staged  puts each draw in order, if stages follow
        """
        if staged is not None:
            every = [staged(self.slate(n)).position[:k] for n in range(len(self.drawn))]
            there = np.array([np.pad(each, (0, k - len(each)), constant_values=-1) for each in every])
            return np.asarray(np.mean(there == there[0], axis=0))
        own, found = self.own[self.own < k], np.ones(min(k, len(self.pool)))
        if len(own):
            best, _ = select_top(self.drawn, np.ones(len(self.own), np.bool_), len(own))
            found[own] = np.mean(best == best[0], axis=0)
        return found
