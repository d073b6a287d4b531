"""An audit: how much a recipe's models give away of the users they are fitted to, measured by attacks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from functools import partial
from os import PathLike
from typing import Any, TypeAlias

import numpy as np
import polars as pl

from palate.arrays import Bools, Doubles, Longs
from palate.data.catalogue import Catalogue
from palate.data.interactions import Interactions
from palate.errors import DataError, PalateError, whole
from palate.evaluation.picture import draw_attacks
from palate.evaluation.tables import Grid
from palate.models.base import Model, Recipe
from palate.models.item_to_item import positives
from palate.models.registry import as_recipe
from palate.privacy.attacks import ATTACKS, ATTRIBUTE, FEWEST, RECONSTRUCTION, WEIGHTS, Targets, calibrated, numbers
from palate.privacy.canaries import TRAININGS, Bound, canaries
from palate.privacy.distinguishing import FALSE, RATES, Apart, Figure, share
from palate.privacy.forgetting import forget

SIDE = 100  # users a side at least: of fewer, less than one is a false positive at 1%
FORGOTTEN = 500  # users that are forgotten, at most; half of those in the model if that is less
DELTA = 1e-5
AFTER = "membership, after forgetting"
Rights: TypeAlias = tuple[Figure, Figure]  # of users in the model, of others
Watching: TypeAlias = Callable[[int, int], None]


@dataclass(frozen=True)
class Finding:
    """What an attack found: how well it tells users that a model was fitted to from users that it was not.

    right   of reconstruction and attribute: how often it is right of users in the model, and of others. What it finds
            out of others is what all users taught the model; only what is more is given away
    note    in words
    """

    attack: str
    inside: int
    outside: int
    apart: Apart
    right: Rights | None = None
    note: str = ""

    def cells(self) -> list[str]:
        """Return a row of a table."""
        right = [f"{each.value:.3f}" for each in self.right or ()] or ["", ""]
        return [f"{self.attack}{self.note}", str(self.apart.auc), str(self.apart.caught), *right]


@dataclass(frozen=True, eq=False)
class Audit:
    """The report of `audit`; printed, `to_dict`, `to_markdown` and `plot` show the same.

    bound    the least ε that canary trainings leave possible; None where there were none
    epsilon  what is proven, of all private fits within the recipe together; None where nothing is
    """

    recipe: Recipe
    findings: tuple[Finding, ...]
    shadows: int
    bound: Bound | None
    epsilon: float | None

    def __getitem__(self, attack: str) -> Finding:
        """Return what an attack found, by its name."""
        return next(each for each in self.findings if each.attack == attack)

    @property
    def sentence(self) -> str:
        """What trainings with and without one user show."""
        proven = "no ε is proven" if self.epsilon is None else f"proven is ε = {self.epsilon:g}"
        if self.bound is None:
            return f"{proven.capitalize()}."
        bound = self.bound
        seen = f"{bound.trainings} trainings, half of them with a canary: ε is at least {bound.epsilon:.2f} at δ = "
        return f"{seen}{bound.delta:g} (95%; at most {bound.most:.2f} could show); {proven}."

    @property
    def heading(self) -> str:
        """What was audited, and how."""
        return f"{self.recipe!r}: {self._how}"

    @property
    def _how(self) -> str:
        sides = f"{self.findings[0].inside:,} users in the model, {self.findings[0].outside:,} not"
        return f"{sides}; {self.shadows} shadow models; 95% intervals"

    @property
    def grid(self) -> Grid:
        """The table."""
        head = ["attack", "AUC", f"true positives at {FALSE:.0%} false", "right, in", "right, not in"]
        return Grid(head, [each.cells() for each in self.findings])

    def to_markdown(self) -> str:
        """Return the table in Markdown, and the sentence below."""
        return f"{self.grid.markdown()}\n\n{self.sentence}"

    def to_dict(self) -> dict[str, Any]:
        """Return all figures as JSON has them."""
        bound = None if self.bound is None else asdict(self.bound)
        about = {"recipe": self.recipe.as_dict(), "shadows": self.shadows, "epsilon": self.epsilon, "canaries": bound}
        return about | {"findings": [_plain(each) for each in self.findings]}

    def plot(self, path: str | PathLike[str]) -> None:
        """Draw true against false positives, a curve each attack. Raises `MissingExtra` without matplotlib."""
        curves = {each.attack: each.apart.curve for each in self.findings}
        draw_attacks(path, RATES.tolist(), curves, self.epsilon, f"{type(self.recipe).__name__}: {self._how}")

    def __rich__(self) -> str | Any:
        """Return it for the terminal."""
        from rich.console import Group

        return Group(self.heading, "", self.grid.rich(), "", self.sentence)


def _plain(finding: Finding) -> dict[str, Any]:
    """Return a finding as JSON has it."""
    right = None if finding.right is None else [each._asdict() for each in finding.right]  # in the model, and not
    apart = finding.apart
    about = {
        "attack": finding.attack,
        "in": finding.inside,
        "out": finding.outside,
        "how": finding.note.strip(" ()"),
    }
    return about | {"auc": apart.auc._asdict(), "caught": apart.caught._asdict(), "right": right}


def audit(
    recipe: Recipe | str,
    log: Interactions,
    catalogue: Catalogue | None = None,
    *,
    users: int = 2000,
    shadows: int = 16,
    trainings: int = TRAININGS,
    seed: int = 0,
    watch: Watching | None = None,
) -> Audit:
    """Measure what models of a recipe give away of their users.

    users      a side at most: the model is fitted without half of them
    shadows    models on other halves, which tell what a model says of a user that it was not fitted to
    trainings  on a small part of the log, half of them with one user more, which bound ε from below; 0: none
    watch      is called with (fits done, of all)

    Takes about `shadows` + 1 fits to the log. Raises `DataError` for a log of too few users, with the figure.
    """
    given, half = as_recipe(recipe), whole("users", users)
    draw = np.random.default_rng(seed)
    there = chosen(log, half, draw)
    targets = Targets.of(log, there, draw)
    member = draw.random((whole("shadows", shadows) + 1, len(there))) < 0.5
    member[0] = draw.permutation(np.arange(len(there)) % 2 == 0)
    fits = len(member) + bool(trainings)
    ids = log.users.ids.gather(there).cast(pl.String)
    found = []
    for n, inside in enumerate(member):
        part = log.without(set(ids.filter(~inside)))
        model = given.fit(part, catalogue)
        found.append(numbers(model, targets))
        if n == 0:
            gone = np.isin(
                np.arange(len(there)), draw.permutation(np.flatnonzero(inside))[: min(FORGOTTEN, len(there) // 4)]
            )
            after = forgotten(model, part, targets, ids.filter(gone).to_list())
        if watch is not None:
            watch(n + 1, fits)
    findings = compared(np.stack(found), member, gone, *after)
    guarantees = given.guarantees()
    epsilon = sum(each.epsilon for each in guarantees) if guarantees else None
    bound = canaries(given, log, catalogue, trainings=trainings, delta=DELTA, seed=seed) if trainings else None
    if watch is not None:
        watch(fits, fits)
    return Audit(given, findings, shadows, bound, epsilon)


def chosen(log: Interactions, side: int, draw: np.random.Generator) -> Longs:
    """Draw two sides of users, by their rows, in order, each with `FEWEST` liked items or more."""
    liked = np.diff(positives(log, binary=True).indptr)
    able = np.flatnonzero(liked >= FEWEST)
    if len(able) < 2 * SIDE:
        rule = f"an audit needs {2 * SIDE} or more, {SIDE} in a model and {SIDE} not"
        raise DataError(f"{log!r}: {len(able):,} users like {FEWEST} items or more; {rule}")
    return np.sort(draw.permutation(able)[: 2 * side])


def forgotten(model: Model, log: Interactions, targets: Targets, ids: Iterable[str]) -> tuple[Doubles | None, str]:
    """Forget users; returns what the attacks make of all targets then, None where that is refused, and how."""
    try:
        lighter, receipt = forget(model, log, ids)
    except PalateError as error:
        return None, str(error)
    return numbers(lighter, targets), f" ({receipt.how})"


def compared(found: Doubles, member: Bools, gone: Bools, after: Doubles | None, how: str) -> tuple[Finding, ...]:
    """Compare the numbers (M + 1, A, U) of users in the first model with those of users who are not."""
    inside, outside = member[0], ~member[0]
    ratios = partial(calibrated, shadows=found[1:], member=member[1:])

    def finding(attack: str, ratio: Doubles, some: Bools, right: Rights | None = None, note: str = "") -> Finding:
        apart = Apart.of(ratio[some], ratio[outside])
        return Finding(attack, int(some.sum()), int(outside.sum()), apart, right, note)

    ratio = ratios(found[0])
    findings = [finding(attack, ratio[n], inside, rights(n, found[0, n], inside)) for n, attack in enumerate(ATTACKS)]
    if after is not None:
        findings.append(finding(AFTER, ratios(after)[WEIGHTS], gone, note=how))
    return tuple(findings)


def rights(attack: int, found: Doubles, inside: Bools) -> Rights | None:
    """Return how often an attack is right of users inside and of others; None of membership."""
    if attack == RECONSTRUCTION:
        return share(found[inside]), share(found[~inside])
    if attack == ATTRIBUTE:
        right = (found > 0) + 0.5 * (found == 0)
        return share(right[inside]), share(right[~inside])
    return None
