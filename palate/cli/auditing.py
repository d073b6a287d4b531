"""`palate audit`: what the models of a recipe give away of their users."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from palate.cli.joined import content_of
from palate.cli.lists import sentence
from palate.cli.settings import CatalogueReading, Reading, Settings, check_picture, private_recipe, read_settings
from palate.cli.terminal import WorkBar, note, print_json, stdout
from palate.data.readers import read_log


def audit(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="As palate fit takes it.")],
    log: Annotated[Path, typer.Argument(metavar="LOG", help="Events: CSV, TSV, JSONL, Parquet, ...")],
    *,
    settings: Settings,
    epsilon: Annotated[
        float | None, typer.Option("--epsilon", metavar="E", help="With differential privacy: Private(RECIPE).")
    ] = None,
    public_items: Annotated[bool, typer.Option("--public-items", help="With it: items are no secret.")] = False,
    users: Annotated[int, typer.Option(metavar="N", min=1, help="Users a side at most.")] = 2000,
    shadows: Annotated[int, typer.Option(metavar="N", min=2, help="Models to compare with.")] = 16,
    canaries: Annotated[int, typer.Option(metavar="N", min=0, help="Small trainings that bound ε; 0: none.")] = 100,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Of which users are in the model.")] = 0,
    read: Reading,
    catalogue: Annotated[
        Path | None, typer.Option("--catalogue", metavar="FILE", help="Items, for recipes that read content.")
    ] = None,
    catalogue_read: CatalogueReading,
    plot: Annotated[Path | None, typer.Option(metavar="FILE", help="Also draw a plot, PNG or SVG.")] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Attack a recipe: what its models give away of their users."""
    from palate.privacy.auditing import audit as attack

    check_picture(plot)
    chosen = private_recipe(recipe, settings, epsilon, public_items)
    events = read_log(log, **read_settings(read))
    note(sentence(events))
    content = content_of(catalogue, catalogue_read, events)
    with WorkBar("fits") as bar:
        report = attack(
            chosen, events, content, users=users, shadows=shadows, trainings=canaries, seed=seed, watch=bar
        )
    if plot is not None:
        report.plot(plot)
    if json:
        print_json(report.to_dict())
    elif markdown:
        typer.echo(report.to_markdown())
    else:
        stdout.print(report)
