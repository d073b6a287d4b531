"""`--cluster`: the same commands on a Ray cluster."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer

from palate.cli.choose import Plan
from palate.cli.export import WriteParts
from palate.cli.lists import sentence
from palate.cli.settings import read_settings
from palate.cli.terminal import FitBar, note, print_json
from palate.data.readers import read_log
from palate.kernels.clock import clock
from palate.models.base import Model

Cluster: TypeAlias = Annotated[
    str | None, typer.Option("--cluster", metavar="ADDRESS", help="On Ray: auto, or HOST:PORT.")
]


def check_alone(others: Mapping[str, object]) -> None:
    """Raise `BadParameter` for options that do not go with `--cluster`."""
    for name, value in others.items():
        if value:
            raise typer.BadParameter(f"{name} does not go with --cluster")


def fit_on_cluster(
    plan: Plan, log: Path, out: Path, address: str, read: list[str], *, keep_log: bool, json: bool
) -> None:
    """Fit, and save the model; a folder of Parquet files is read by the workers, and is not saved with it."""
    from palate.cluster.executor import RayExecutor
    from palate.cluster.parts import read_parts

    if plan.recipe is None:
        raise typer.BadParameter("auto chooses in one process: name a recipe, or run palate choose first")
    recipe, executor, reading = plan.recipe, RayExecutor(address), read_settings(read)
    executor.connect()
    apart = log.is_dir() and any(log.glob("*.parquet"))
    events: object = read_parts(log, **reading) if apart else read_log(log, **reading)
    note(f"{log}: read by the workers" if apart else sentence(events))  # type: ignore[arg-type]
    began = clock()
    with FitBar(f"fitting {recipe.named()}", keep=True) as bar:
        model: Model = executor.fit(recipe, events, watch=bar)
    seconds = clock() - began
    model.save(out, log=model.log if keep_log else None)
    if json:
        about = {"recipe": recipe.named(), "settings": recipe.settings()}
        print_json({"model": str(out), **about, "seconds": seconds, "losses": bar.losses})
    else:
        typer.echo(f"{out}: {recipe.named()} of {len(model.items):,} items, fitted in {seconds:.1f} s")


def write_on_cluster(address: str, model: Path, log: Path | None, read: list[str]) -> WriteParts:
    """Return what writes the parts of an export by the workers of a cluster."""
    from palate.cluster.executor import RayExecutor

    reading = read_settings(read)

    def write(
        question: Mapping[str, Any], todo: Sequence[tuple[int, int, Path]], done: Callable[[int], None]
    ) -> None:
        RayExecutor(address).export(model, log, reading, question, todo, done)

    return write
