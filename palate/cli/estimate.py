"""How long a fit is likely to take here, said before it begins."""

from __future__ import annotations

from collections.abc import Iterable

from palate.cli.terminal import note
from palate.compute.threads import cores
from palate.data.catalogue import Catalogue
from palate.data.interactions import Interactions
from palate.models.base import Recipe

LONG = 20.0  # seconds on the reference machine from which on a fit is worth a word


def note_estimates(recipes: Iterable[Recipe], log: Interactions, catalogue: Catalogue | None, fits: int = 1) -> None:
    """Say how long each fit will take, where it is long; `fits`: of each recipe.

    The figures are those by which `palate choose` plans: right within a factor of two or three.
    """
    from palate.choosing.costs import calibrated, formula
    from palate.choosing.facts import LogFacts

    facts = LogFacts.of(log, catalogue)
    long = [each for each in recipes if fits * formula(each, facts).seconds >= LONG]
    if not long:
        return
    costs = calibrated()
    for each in long:
        threads = getattr(each, "threads", 1) or cores()
        seconds = fits * costs.predict(each, facts).seconds * costs.load / threads
        note(f"{type(each).__name__}: about {_rounded(seconds)} here")


def _rounded(seconds: float) -> str:
    """Spell seconds as roughly as they are known."""
    for size, unit in ((3600.0, "hour"), (60.0, "minute")):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.0f} {unit}s"
    return "a minute" if seconds >= 45 else f"{max(1, round(seconds / 10)) * 10} seconds"
