"""The sliders of "what if": how a list is made, for as long as it is looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from palate.live.snapshot import Snapshot
from palate.ranking.calibrate import Calibrate
from palate.ranking.diversify import Diversify
from palate.ranking.long_tail import LongTail
from palate.ranking.request import Explore
from palate.ranking.stages import Stage
from palate.serve.dashboard.titles import CATEGORIES, PICTURE, TITLE

MOST_ATTRIBUTES = 50  # that the page offers for calibration


@dataclass(frozen=True)
class Tuning:
    """Strengths, 0 to 1, each 0 for what the list is without; by: the attribute of `calibrate`."""

    diversify: float = 0.0
    calibrate: float = 0.0
    long_tail: float = 0.0
    explore: float = 0.0
    by: str = ""
    SLIDERS: ClassVar = {
        "diversify": ("Diversify", "items unlike each other"),
        "calibrate": ("Calibrate", "the mix follows the history"),
        "long_tail": ("Long tail", "popularity counts against an item"),
        "explore": ("Explore", "draws what the model leaves open"),
    }

    def __bool__(self) -> bool:
        return any(getattr(self, name) for name in self.SLIDERS)

    @property
    def parameters(self) -> list[tuple[str, str]]:
        """Names and values of the page's address."""
        set_ = [(name, f"{getattr(self, name):g}") for name in self.SLIDERS if getattr(self, name)]
        return [*set_, ("by", self.by)] if self.calibrate and self.by else set_

    @property
    def stages(self) -> tuple[Stage, ...]:
        """Stages of the list."""
        calibrate = [Calibrate(self.by, self.calibrate)] if self.calibrate and self.by else []
        diversify = [Diversify(self.diversify)] if self.diversify else []
        return (*diversify, *calibrate, *([LongTail(self.long_tail)] if self.long_tail else []))

    @property
    def exploring(self) -> float | Explore:
        """How the list explores; the same draw at every strength, so that a slider moves one list."""
        return Explore(strength=self.explore, seed=0) if self.explore else 0.1

    @property
    def fields(self) -> dict[str, object]:
        """The fields of a request for the same list."""
        own: dict[str, object] = {name: getattr(self, name) for name in ("diversify", "long_tail")}
        if self.calibrate and self.by:
            own["calibrate"] = {"attribute": self.by, "strength": self.calibrate}
        if self.explore:
            own["explore"] = {"method": "thompson", "strength": self.explore, "seed": 0}
        return {name: value for name, value in own.items() if value}


def attributes_of(snapshot: Snapshot) -> list[str]:
    """Names of attributes that lists can be calibrated by: texts and lists of the catalogue, categories first."""
    counts = snapshot.catalogue.attributes.counts
    names = [name for name in counts if {"text", "list"} & {*counts[name]} and name not in (*TITLE, *PICTURE)]
    first = {name: place for place, name in enumerate(CATEGORIES)}
    return sorted(names, key=lambda name: (first.get(name, len(first)), name))[:MOST_ATTRIBUTES]


def may_explore(snapshot: Snapshot) -> bool:
    """Whether the model says what it leaves open."""
    context = snapshot.context
    return context.retriever.posterior(context.past) is not None
