"""`palate describe CATALOGUE`: descriptions that state only what the catalogue says."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from palate.cli.settings import CatalogueReading, catalogue_settings
from palate.cli.terminal import WorkBar, print_json, stdout
from palate.data.catalogue import read_catalogue

if TYPE_CHECKING:
    from palate.describe.describing import Summary
    from palate.describe.writers import Writer


def describe(
    catalogue: Annotated[Path, typer.Argument(metavar="CATALOGUE", help="Items with their attributes.")],
    *,
    catalogue_read: CatalogueReading,
    out: Annotated[Path, typer.Option(metavar="FILE", help="JSON lines; finished texts are kept.")],
    language: Annotated[str, typer.Option(metavar="en|zh", help="Language of the texts.")] = "en",
    kind: Annotated[str, typer.Option(metavar="NOUN", help="A noun for every item: film.")] = "product",
    style: Annotated[str, typer.Option(metavar="WORDS", help="Instructions on style.")] = "",
    field: Annotated[
        list[str],
        typer.Option(
            "--field",
            metavar="NAME",
            default_factory=list,
            show_default=False,
            help="A column to describe; repeatable.",
        ),
    ],
    endpoint: Annotated[
        str | None, typer.Option(metavar="URL", help="An OpenAI-compatible address; key from OPENAI_API_KEY.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(metavar="NAME", help="Model of the endpoint, or a .gguf file of this machine.")
    ] = None,
    templates: Annotated[bool, typer.Option("--templates", help="Use templates and no model.")] = False,
    seconds: Annotated[float | None, typer.Option(metavar="S", min=0, help="Limit of seconds for the model.")] = None,
    tokens: Annotated[int | None, typer.Option(metavar="N", min=0, help="Limit of tokens for the model.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Describe every item with a model; each text is checked."""
    from palate.describe.describing import Budget, Manner
    from palate.describe.describing import describe as write

    manner = Manner(kind, language, style, tuple(field) or None)
    writer = None if templates else _writer(endpoint, model)
    items = read_catalogue(catalogue, **catalogue_settings(catalogue_read))
    with WorkBar("items") as bar:
        summary = write(items, out, writer, manner, budget=Budget(seconds, tokens), watch=bar)
    if json:
        examples = [
            {"item_id": line.item_id, "status": line.status, "text": line.body} for line in summary.examples()
        ]
        print_json(
            {"out": str(out), "items": len(summary.lines), "kept": summary.kept, **summary.counts}
            | {"tokens": summary.tokens, "seconds": summary.seconds, "examples": examples}
        )
        return
    _show(summary, out)


def _writer(endpoint: str | None, model: str | None) -> Writer:
    from palate.describe.endpoint import Endpoint
    from palate.describe.local import Local

    if endpoint is not None:
        if model is None:
            raise typer.BadParameter("which model of the endpoint? Give --model NAME")
        return Endpoint(endpoint, model)
    if model is not None and not Path(model).is_file():
        raise typer.BadParameter(f"--model {model}: no such file; a model of an endpoint needs --endpoint URL")
    return Local(None if model is None else Path(model))


def _show(summary: Summary, out: Path) -> None:
    """Print the counts, then facts and texts side by side."""
    new = len(summary.lines) - summary.kept
    counts = ", ".join(f"{count:,} {status}" for status, count in summary.counts.items())
    typer.echo(f"{out}: {len(summary.lines):,} items: {counts}")
    typer.echo(f"{new:,} new, {summary.kept:,} kept; {summary.tokens:,} tokens, {summary.seconds:.1f} s")
    table = Table("status", "facts", "text", box=None, pad_edge=False, padding=(0, 2, 1, 0))
    for line in summary.examples():
        facts = "\n".join(f"{name}: {', '.join(values)}" for name, values in line.facts.items())
        why = "\n\n(" + "; ".join(line.refused[:2]) + ")" if line.refused else ""
        table.add_row(line.status, facts, line.body + why)
    stdout.print(table)
