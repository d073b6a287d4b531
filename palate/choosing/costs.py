"""What a recipe costs on this machine: seconds of a fit, memory, milliseconds of a list, before it is fitted.

A formula for each recipe says how work grows with the log; its constant was measured on the reference machine, one
thread, kernels compiled. A calibration scales all of them to this machine, and each fit that ended scales its recipe.
Seconds are those of a CPU: how much longer a fit takes because of other work on the machine is `Costs.load`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from palate.choosing.facts import LogFacts
from palate.models.base import Recipe

if TYPE_CHECKING:  # each is imported when its recipe is first asked for
    from palate.models.autoencoder import Autoencoder
    from palate.models.blend import Blend
    from palate.models.content import Content
    from palate.models.ease import EASE
    from palate.models.embedding import Embedding
    from palate.models.hybrid import Hybrid
    from palate.models.ials import IALS
    from palate.models.item_knn import ItemKNN
    from palate.models.session_knn import SessionKNN
    from palate.models.slist import SLIST
    from palate.models.transformer import Transformer
    from palate.ranking.ranked import Ranked
    from palate.ranking.staged import Pipeline

REFERENCE = 0.02  # CPU seconds of the calibration's work on the reference machine
ROUNDS = 5
BOUNDS = 0.2, 5.0  # of the factor that a calibration or a trial gives
SEVERAL = 3  # recipes with trials that say what others cost here
KEPT = 3  # newest trials of a recipe whose median scales it
UNKNOWN = 1e-5  # seconds for an event, of recipes without a formula
STARTED = 0.02  # seconds of any fit: kernels are loaded, events are counted
SYSTEMS = 2.6e8  # bytes of the small systems that are solved at once
WALKED = 1e8  # bytes of walks over pairs of items
NETWORKS = {"minilm": 5e-3, "efficientnet": 7e-2, "aisfx": 2.0}  # seconds of an item
A_QUERY = {
    "events": 1.3e-3,
    "ratio": 1.3e-3,
    "users": 6e-3,
}  # seconds of a user whom a second stage of two learns from
TORCH = 3.0  # seconds until it is imported
SMALL = 0.05  # seconds below which a measurement says nothing of growth
BUSY = 1.0, 20.0  # bounds of how many times as long a fit takes as its CPU does
LOADS = 5  # newest trials whose median is the load


class Cost(NamedTuple):
    """CPU seconds of a fit, bytes at its peak beyond those of the log, milliseconds of a list of one user."""

    seconds: float
    memory: float
    list_ms: float


Formula = Callable[..., Cost]  # of a recipe of its own class, and a log
Of = Callable[[object, LogFacts], Cost]  # of any recipe


def _popularity(_: object, log: LogFacts) -> Cost:
    return Cost(2e-8 * log.events, 8 * log.items, 0.1)


def _item_knn(recipe: ItemKNN, log: LogFacts) -> Cost:
    table = log.items * recipe.neighbours * 8
    return Cost(6e-9 * log.squares + 1.2e-5 * log.items, 3.5 * table + 16 * log.events, _scan(log))


def _ease(recipe: EASE, log: LogFacts) -> Cost:
    if recipe.neighbours is None:
        work = log.items**2 * min(log.items, log.users)
        return Cost(2.5e-11 * work, (8 if log.users > log.items / 2 else 4) * log.items**2, _scan(log))
    found = _local(recipe.neighbours, 6e-9 * log.squares, log)
    return found._replace(memory=found.memory + SYSTEMS)


def _slist(recipe: SLIST, log: LogFacts) -> Cost:
    squares = min(log.squares, log.events * recipe.longest)
    pairs = 1e-7 * squares * (2 if recipe.walk else 1)
    if recipe.neighbours is None:
        return Cost(pairs + 2.5e-11 * log.items**3, 12 * log.items**2, _scan(log))
    walk = bool(recipe.walk)
    found = _local(recipe.neighbours, pairs + 6e-5 * log.items * walk, log)
    return found._replace(memory=found.memory + 14 * min(squares, log.items**2) + WALKED * walk)


def _session_knn(recipe: SessionKNN, log: LogFacts) -> Cost:
    return Cost(1e-7 * log.events, 24 * log.events, _scan(log) + 1e-4 * min(recipe.neighbours, log.users))


def _local(neighbours: int, pairs: float, log: LogFacts) -> Cost:
    """Item-to-item weights from the nearest items only; where pairs are few, items have fewer neighbours."""
    pairs_each = log.squares / log.items
    systems = 1.5e-10 * log.items * neighbours**3 * pairs_each / (pairs_each + 200)
    return Cost(pairs + systems, 14 * log.items * neighbours, _scan(log))


def _ials(recipe: IALS, log: LogFacts) -> Cost:
    rows, dim = log.users + log.items, recipe.dim
    step = 5e-11 * rows * dim**2 + 9e-10 * log.events * dim
    return Cost(recipe.epochs * recipe.steps * step, 11 * rows * dim + 24 * log.events, _products(dim, log))


def _embedding(recipe: Embedding, log: LogFacts) -> Cost:
    settled = recipe.resolved()
    assert settled.negatives is not None
    assert settled.epochs is not None
    sampled: float = settled.negatives * log.events
    if settled.loss == "softmax":  # one sample for a block of users
        sampled = 1.2e-1 * log.users * min(settled.negatives, log.items) + 4 * log.events
    return Cost(
        1e-9 * settled.epochs * settled.dim * sampled,
        16 * (log.users + log.items) * settled.dim,
        1 + _products(settled.dim, log),
    )


def _content(recipe: Content, log: LogFacts) -> Cost:
    dim = 768 * _fields(recipe, log)
    solve = 4e-9 * log.events * dim + 5e-11 * dim**3
    return Cost(_encode(recipe, log) + solve, 8 * (log.items + log.without) * dim, 3.0)


def _hybrid(recipe: Hybrid, log: LogFacts, of: Of) -> Cost:
    assert not isinstance(recipe.base, str)  # texts are read when a recipe is built
    base, dim = of(recipe.base, log), 768 * _fields(recipe, log)
    prior = 2e-9 * log.items * dim * recipe.base.dim + 5e-11 * dim**3
    seconds = _encode(recipe, log) + base.seconds + prior
    return Cost(seconds, base.memory + 8 * (log.items + log.without) * dim, base.list_ms + 0.2)


def _fields(recipe: Content | Hybrid, log: LogFacts) -> int:
    return len(recipe.fields) or max(1, len(log.content))


def _encode(recipe: Content | Hybrid, log: LogFacts) -> float:
    """Seconds to read the items; those that networks read are kept for later fits, which costs are learned from."""
    networks = sum(NETWORKS.get(each.rpartition(":")[2], 0.0) for each in recipe.fields)
    return (log.items + log.without) * (1e-4 * _fields(recipe, log) + networks)


def _infinite_ae(_: object, log: LogFacts) -> Cost:
    users, items = log.users, log.items
    work = 2e-11 * users**3 + 6e-11 * users**2 * items
    return Cost(work, 4 * users * (users + 2 * items), 0.5 + 1e-6 * users * items)


def _autoencoder(recipe: Autoencoder, log: LogFacts) -> Cost:
    start = 1e-10 * log.items**2 * min(log.items, log.users)
    epoch = 4e-10 * log.users * log.items * recipe.dim
    return Cost(TORCH + start + recipe.epochs * epoch, 12 * log.items**2 + 4e8, 1 + 7e-4 * log.items)


def _transformer(recipe: Transformer, log: LogFacts) -> Cost:
    epochs = recipe.epochs or float(np.clip(1.5e6 / max(1, log.events), 3, 30))
    return Cost(TORCH + 1e-4 * epochs * log.events * recipe.dim / 128, 6e8 + 16 * log.items * recipe.dim, 2.5)


def _blend(recipe: Blend, log: LogFacts, of: Of) -> Cost:
    parts = [of(each, log) for each in recipe.recipes]
    asked = min(recipe.users, log.users) * log.items * len(parts)
    seconds = 2 * sum(each.seconds for each in parts) + 1.6e-7 * asked
    memory = sum(each.memory for each in parts) + 12 * asked
    return Cost(seconds, memory, 2 * sum(each.list_ms for each in parts) + 1e-4 * log.items)


def _ranked(recipe: Ranked, log: LogFacts, of: Of) -> Cost:
    parts = [of(each, log) for each in recipe.recipes]
    queries = min(recipe.users, log.users)
    of_queries = A_QUERY[recipe.held_out] * queries * (len(parts) / 2) ** 2
    seconds = (1 + recipe.folds) * sum(each.seconds for each in parts) + of_queries + 1
    memory = sum(each.memory for each in parts) + 400 * queries * recipe.pool
    return Cost(seconds, memory, 2 + sum(each.list_ms for each in parts))


def _pipeline(recipe: Pipeline, log: LogFacts, of: Of) -> Cost:
    return of(recipe.recipe, log)


def _scan(log: LogFacts) -> float:
    return 0.2 + 8e-6 * log.items


def _products(dim: int, log: LogFacts) -> float:
    return 0.15 + 1.3e-7 * log.items * dim


FORMULAS: dict[str, Formula] = {
    "Autoencoder": _autoencoder,
    "Content": _content,
    "EASE": _ease,
    "Embedding": _embedding,
    "IALS": _ials,
    "InfiniteAE": _infinite_ae,
    "ItemKNN": _item_knn,
    "Popularity": _popularity,
    "SessionKNN": _session_knn,
    "SLIST": _slist,
    "Transformer": _transformer,
}


COMBINED: dict[str, Formula] = {"Blend": _blend, "Hybrid": _hybrid, "Pipeline": _pipeline, "Ranked": _ranked}


def formula(recipe: object, log: LogFacts, of: Of | None = None) -> Cost:
    """Return the cost on the reference machine, the same wherever it is asked for; a guess for an unknown recipe.

    of  the costs of recipes within it; None: by their formulas
    """
    name = type(recipe).__name__
    if name in COMBINED:
        return COMBINED[name](recipe, log, of or formula)
    known = FORMULAS.get(name)
    found = Cost(UNKNOWN * log.events, 100 * log.events, 1.0) if known is None else known(recipe, log)
    return found._replace(seconds=STARTED + found.seconds)


def burden(recipe: Recipe, log: LogFacts) -> float:
    """Seconds of a fit and of ten thousand lists on the reference machine: of two, the cheaper has less of it.

    A list counts a millisecond at least, about what a service needs beside it.
    """
    cost = formula(recipe, log)
    return cost.seconds + 10 * max(1.0, cost.list_ms)


def calibrated() -> Costs:
    """Return the costs on this machine, by a fixed piece of work; a fraction of a second.

    The CPU time of the best of several rounds, on one thread, says how fast it is, and all of their time how busy.
    What a recipe costs beyond that is learned from the first trials.
    """
    rng = np.random.default_rng(0)
    dense, row = rng.standard_normal((512, 512), np.float32), rng.integers(0, 1 << 20, 1 << 20)
    table = rng.standard_normal(1 << 20, np.float32)
    seconds, began = [], time.perf_counter()
    with threadpool_limits(1):
        for _ in range(ROUNDS):
            before = time.process_time()
            for _ in range(4):
                dense @ dense
                table[row].sum()  # a sort would say more of numpy's vector instructions than of kernels
            seconds.append(time.process_time() - before)
    load = (time.perf_counter() - began) / sum(seconds)
    return Costs(float(np.clip(min(seconds) / REFERENCE, *BOUNDS)), loads=[float(np.clip(load, *BUSY))])


@dataclass(frozen=True)
class Costs:
    """Costs on this machine: formulas times its speed, times what the newest trials of a recipe took beyond them.

    A recipe without a trial takes as much longer as several others did. Trials of the parts of a combination count
    for it, too.
    """

    speed: float
    trials: dict[str, list[Cost]] = field(default_factory=dict)  # measured over predicted, by the recipe's name
    loads: list[float] = field(default_factory=list)  # seconds over CPU seconds of trials, the newest last

    @property
    def load(self) -> float:
        """How many times as long as its CPU a fit takes now: other work may keep it waiting."""
        return median(self.loads[-LOADS:]) if self.loads else 1.0

    def predict(self, recipe: Recipe, log: LogFacts) -> Cost:
        """Return what a fit to a log of these facts costs."""
        seconds, memory, list_ms = self._known(recipe, log)
        others = 1.0 if type(recipe).__name__ in self.trials else self._others()
        return Cost(seconds * self.speed * others, memory, list_ms * self.speed)

    def learn(self, recipe: Recipe, log: LogFacts, measured: Cost, load: float = 0.0) -> None:
        """Note what a fit took; load  its seconds over those of its CPU, 0 where it was too short to say."""
        if load:
            self.loads.append(float(np.clip(load, *BUSY)))
        seconds, memory, list_ms = formula(recipe, log, self._known)
        usual = Cost(seconds * self.speed, memory, list_ms * self.speed)
        ratios = [
            float(np.clip((was + least) / (would + least), *BOUNDS))
            for was, would, least in zip(measured, usual, (SMALL, 5e7, 0.1), strict=True)
        ]
        self.trials.setdefault(type(recipe).__name__, []).append(Cost(*ratios))

    def _known(self, recipe: object, log: LogFacts) -> Cost:
        """Cost on the reference machine, as its formula and its trials say."""
        found = formula(recipe, log, self._known)
        known = self.trials.get(type(recipe).__name__, [])
        if not known:
            return found
        factors = [median(each) for each in zip(*known[-KEPT:], strict=True)]
        return Cost(*(cost * factor for cost, factor in zip(found, factors, strict=True)))

    def _others(self) -> float:
        """How much longer fits took than predicted, the median over recipes; 1 while few have a trial."""
        if len(self.trials) < SEVERAL:
            return 1.0
        return median(median(each.seconds for each in known[-KEPT:]) for known in self.trials.values())
