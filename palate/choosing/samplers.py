"""Where the next settings of a family come from: Optuna's TPE with the extra `choose`, fixed draws without it."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from importlib.util import find_spec
from operator import methodcaller
from typing import TYPE_CHECKING, Protocol
from zlib import crc32

import numpy as np

from palate.choosing.spaces import Between, Family, Range, Settings
from palate.models.base import Recipe

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import Trial

FIRST = 5  # settings drawn at random before TPE has enough to learn from


class Sampler(Protocol):
    """Asked for settings, and passed the metric that they led to; a trial that failed is passed -inf."""

    def ask(self) -> Settings:
        """Return settings to try."""

    def note(self, settings: Settings, value: float) -> None:
        """Take the metric of settings."""


def has_optuna() -> bool:
    """Whether the extra `choose` is installed."""
    return find_spec("optuna") is not None


def sampler_of(family: Family, seed: int) -> Sampler:
    """Return the sampler of a family."""
    return TPE(family, seed) if has_optuna() else FixedDraws(family)


class FixedDraws:
    """The same settings for every log: numbers drawn from the ranges with the seed of the family's name."""

    def __init__(self, family: Family) -> None:
        self._ranges = family.ranges
        self._rng = np.random.default_rng(crc32(family.name.encode()))

    def ask(self) -> Settings:
        """Return the next settings."""
        return {name: _drawn(span, self._rng) for name, span in self._ranges.items()}

    def note(self, settings: Settings, value: float) -> None:
        """Learn nothing."""


def _drawn(span: Range, rng: np.random.Generator) -> object:
    if not isinstance(span, Between):
        return span.values[rng.integers(len(span.values))]
    share = rng.random()
    if not span.log:
        return rounded(span.low + share * (span.high - span.low))
    return rounded(math.exp(math.log(span.low) + share * math.log(span.high / span.low)))


def rounded(value: float) -> float:
    """Three digits, which a user can read."""
    return float(f"{value:.3g}")


class TPE:
    """Tree-structured Parzen estimator (Bergstra et al. 2011) over all ranges of a family together."""

    def __init__(self, family: Family, seed: int) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        spans: Mapping[str, Range] = family.ranges
        self._spaces: dict[str, BaseDistribution] = {
            name: optuna.distributions.FloatDistribution(span.low, span.high, log=span.log)
            if isinstance(span, Between)
            else optuna.distributions.CategoricalDistribution(span.values)
            for name, span in spans.items()
        }
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # some of the sampler's settings are experimental
            sampler = optuna.samplers.TPESampler(
                seed=seed, n_startup_trials=FIRST, multivariate=True, constant_liar=True
            )
        self._study = optuna.create_study(direction="maximize", sampler=sampler)
        self._asked: list[tuple[Settings, Trial]] = []
        self._make, self._failed = optuna.trial.create_trial, optuna.trial.TrialState.FAIL

    def ask(self) -> Settings:
        """Return what is likely to be better than most of what was tried."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            trial = self._study.ask(self._spaces)
        values = {name: rounded(value) if isinstance(value, float) else value for name, value in trial.params.items()}
        self._asked.append((values, trial))
        return values

    def note(self, settings: Settings, value: float) -> None:
        """Take the metric of settings, asked for or not; those outside the ranges are left out."""
        mine = next((each for each in self._asked if each[0] is settings), None)
        if mine is not None:
            self._asked.remove(mine)
            end = {"values": value} if math.isfinite(value) else {"state": self._failed}
            methodcaller("tell", mine[1], **end)(self._study)
        elif math.isfinite(value) and all(_within(settings.get(n), space) for n, space in self._spaces.items()):
            known = {name: settings[name] for name in self._spaces}
            self._study.add_trial(self._make(params=known, distributions=self._spaces, value=value))


def _within(value: object, space: BaseDistribution) -> bool:
    try:
        return bool(space._contains(space.to_internal_repr(value)))
    except (TypeError, ValueError):
        return False


def settings_of(family: Family, recipe: Recipe) -> Settings:
    """Return the settings of a recipe that its family seeks."""
    return {name: getattr(recipe, name) for name in family.ranges}
