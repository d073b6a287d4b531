"""`palate choose`, and `auto` in place of a recipe: the search on the terminal."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import TextColumn

from palate.choosing.goals import CUTS
from palate.cli.joined import content_of
from palate.cli.lists import sentence
from palate.cli.settings import (
    CatalogueReading,
    Reading,
    check_picture,
    parse,
    read_settings,
    split_pairs,
    staged,
    staged_recipe,
)
from palate.cli.terminal import note, print_json, stderr, stdout
from palate.data.catalogue import Catalogue
from palate.data.interactions import Interactions
from palate.data.readers import read_log
from palate.errors import SettingError
from palate.models.bars import Bar
from palate.models.base import Recipe
from palate.ranking.stages import as_stage

if TYPE_CHECKING:  # the search is imported by the commands that run it
    from palate.choosing.session import Step

AUTO = "auto"
AUTO_SETTINGS: dict[str, type] = {
    "minutes": float,
    "goal": str,
    "memory": str,
    "latency_ms": float,
    "metric": str,
    "seed": int,
}
MILLISECONDS = {"": 1.0, "ms": 1.0, "s": 1000.0}


def choose(
    log: Annotated[Path, typer.Argument(metavar="LOG", help="Events: CSV, TSV, JSONL, Parquet, ...")],
    *,
    catalogue: Annotated[
        Path | None, typer.Option("--catalogue", metavar="FILE", help="Items, for recipes that read content.")
    ] = None,
    minutes: Annotated[float, typer.Option(metavar="M", help="Of all of it; Ctrl-C takes the best so far.")] = 5.0,
    memory: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Of a process: 4GB.", show_default="most of what is free")
    ] = None,
    latency: Annotated[str | None, typer.Option(metavar="TIME", help="That a list may take: 10ms.")] = None,
    goal: Annotated[
        str | None, typer.Option(metavar="GOAL", help=f"{', '.join(CUTS)}.", show_default="found in the log")
    ] = None,
    live: Annotated[bool, typer.Option("--live", help="Events must count at once.")] = False,
    keep_seen: Annotated[bool, typer.Option("--keep-seen", help="Items of the history are listed again.")] = False,
    metric: Annotated[str, typer.Option(metavar="NAME", help="What is compared.")] = "NDCG@10",
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder for the model and the report.")] = None,
    journal: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Keeps trials; a killed search goes on.")
    ] = None,
    plot: Annotated[Path | None, typer.Option(metavar="FILE", help="Also draw a plot, PNG or SVG.")] = None,
    read: Reading,
    catalogue_read: CatalogueReading,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Choose a recipe for a log within a time."""
    from palate.choosing.choice import choose as search

    check_picture(plot)
    began, latency_ms = monotonic(), None if latency is None else _milliseconds(latency)
    events = read_log(log, **read_settings(read))
    note(sentence(events))
    content = content_of(catalogue, catalogue_read, events)
    with SearchBar() as bar:
        choice = search(
            events,
            content,
            minutes=minutes if minutes <= 0 else max(minutes - (monotonic() - began) / 60, minutes / 4),
            memory=memory,
            latency_ms=latency_ms,
            live=live,
            keep_seen=keep_seen,
            goal=goal,
            metric=metric,
            journal=journal,
            watch=bar,
        )
    if out is not None:
        choice.save(out, log=events)
        note(f"{out}: {type(choice.recipe).__name__} of {len(choice.model.items):,} items")
    if plot is not None and choice.report.records:
        choice.report.plot(plot)
    if json:
        print_json(choice.report.to_dict() | ({"model": str(out)} if out else {}))
    else:
        stdout.print(choice.report)


def _milliseconds(text: str) -> float:
    found = re.fullmatch(r"([0-9.]+)\s*(ms|s|)", text.strip().lower())
    if found is None:
        raise SettingError(f"--latency {text}: must be a time, as 10ms")
    return float(parse("--latency", found[1], float)) * MILLISECONDS[found[2]]


def share_of(text: str) -> float:
    """Read a share: 10%, or 0.1. Raises `SettingError`."""
    digits, percent = text.strip().removesuffix("%"), text.strip().endswith("%")
    try:
        share = float(digits) / (100 if percent else 1)
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise SettingError(f"--search {text}: must be a share of the training time above 0 and up to 100%, as 10%")
    return share


@dataclass(frozen=True)
class Plan:
    """What is to be fitted: a recipe, or, where it is None, what `choose` finds with these settings."""

    recipe: Recipe | None
    settings: dict[str, Any]
    stages: tuple[str, ...]

    @classmethod
    def of(cls, name: str, settings: Iterable[str], stages: Sequence[str], minutes: float = 5.0) -> Plan:
        """Read a recipe's name, or `auto`, its settings and stages; `minutes` is the usual time of a search.

        Raises `SettingError` for settings that the recipe, or `choose`, has not.
        """
        if name != AUTO:
            return cls(staged_recipe(name, settings, stages), {}, tuple(stages))
        given: dict[str, Any] = {"minutes": minutes}
        for setting, text in split_pairs(settings, "--set"):
            if setting not in AUTO_SETTINGS:
                known = f"known are {', '.join(AUTO_SETTINGS)}; those of a recipe need its name in place of {AUTO}"
                raise SettingError(f"{AUTO} has no setting {setting!r}; {known}")
            given[setting] = parse(setting, text, AUTO_SETTINGS[setting])
        for each in stages:
            as_stage(each, "--stage")
        return cls(None, given, tuple(stages))

    def recipe_for(self, log: Interactions, catalogue: Catalogue | None) -> Recipe:
        """Return the recipe, chosen for this log and catalogue where none was named."""
        if self.recipe is not None:
            return self.recipe
        from palate.choosing.choice import chosen_recipe

        with SearchBar() as bar:
            recipe, report = chosen_recipe(log, catalogue, watch=bar, **self.settings)
        note(report.explanation)
        return staged(recipe, self.stages)


class SearchBar(Bar):
    """A bar of the time that a search has taken, with the best recipe so far."""

    def __init__(self) -> None:
        super().__init__("choosing", stderr, TextColumn("{task.fields[state]}"))

    def __call__(self, step: Step) -> None:
        """Draw how far the search has come."""
        best = f"{step.trials} trials, best {step.best} {step.metric:.4f}" if step.best else "starting"
        self.update(min(step.seconds, step.budget), step.budget, best)
