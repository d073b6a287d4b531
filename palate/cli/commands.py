"""The commands, each a thin line to the library function of the same name."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, cast

import typer

from palate.choosing.check import LogCheck
from palate.cli.auditing import audit
from palate.cli.choose import AUTO, Plan, choose
from palate.cli.cluster import Cluster, check_alone, fit_on_cluster, write_on_cluster
from palate.cli.describe import describe
from palate.cli.estimate import note_estimates
from palate.cli.export import WriteParts, export_all
from palate.cli.federate import federate_app
from palate.cli.forgetting import access, forget, receipt_app
from palate.cli.inspecting import show_log
from palate.cli.joined import Choice, content_of, history_in, newer_log, reading_of, titles_of
from palate.cli.lists import listing, named, ranked, recommended, sentence, title
from palate.cli.serve import activate, serve, train
from palate.cli.settings import (
    CatalogueReading,
    Hidden,
    Hide,
    Reading,
    Settings,
    Stages,
    build_recipes,
    check_picture,
    hidden_types,
    read_settings,
)
from palate.cli.store import key_app, store_app
from palate.cli.terminal import FitBar, WorkBar, note, print_json, stdout
from palate.data.catalogue import Catalogue
from palate.data.folds import FOLDS, By
from palate.data.histories import Histories
from palate.data.interactions import Interactions
from palate.data.readers import read_log
from palate.data.splits import Split, split_by_time, split_items, split_last, split_ratio, split_users
from palate.ending import Deadline, interrupted, lift
from palate.errors import DataError, PalateError
from palate.evaluation.compare import compare
from palate.evaluation.cross import cross_validate
from palate.evaluation.early import best_epoch, fit_epochs
from palate.kernels.clock import announce_compiling, clock
from palate.models.base import Model, Recipe, Watch
from palate.models.registry import load, load_with_log, recipe_names
from palate.models.weights import unread

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.add_typer(store_app, name="store")
app.add_typer(key_app, name="key")
app.add_typer(receipt_app, name="receipt")
app.add_typer(federate_app, name="federate")
app.command()(serve)
app.command()(train)
app.command()(activate)
app.command()(describe)
app.command()(choose)
app.command()(audit)
app.command()(forget)
app.command()(access)

SPLITS: dict[str, Callable[[Interactions], Split]] = {
    "time": split_by_time,
    "last": split_last,
    "ratio": split_ratio,
    "users": split_users,
    "items": split_items,
}

KNOWN = [name.lower() for name in recipe_names()]

LogFile: TypeAlias = Annotated[Path, typer.Argument(metavar="LOG", help="Events: CSV, TSV, JSONL, Parquet, ...")]
Folder: TypeAlias = Annotated[Path, typer.Argument(metavar="MODEL", help="Folder of a saved model.")]
RecipeName: TypeAlias = Annotated[
    str, typer.Argument(metavar="RECIPE", help=", ".join(KNOWN) + f", or {AUTO}, which chooses.")
]
CatalogueFile: TypeAlias = Annotated[
    Path | None, typer.Option("--catalogue", metavar="FILE", help="Items with their titles.")
]
ItemsFile: TypeAlias = Annotated[
    Path | None, typer.Option("--catalogue", metavar="FILE", help="Items, for recipes that read content.")
]
Length: TypeAlias = Annotated[int, typer.Option("-k", metavar="N", help="Length of the list.")]
Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def main() -> None:
    """Run the command line; an error is one line on stderr, with exit code 1, or 2 for wrong usage."""
    warnings.showwarning = lambda message, *_: note(f"warning: {message}")
    announce_compiling(note)
    with Deadline() as deadline:
        code = _run()
        if deadline.interrupted:  # no thread is waited for, which may have a kernel to finish
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    sys.exit(code)


def _run() -> int:
    """Run the command; returns the exit code."""
    try:
        app()
    except (PalateError, OSError) as error:
        note(f"error: {error}")
        return 1
    except KeyboardInterrupt:
        note("interrupted")
        return 130
    except SystemExit as end:  # the usual end, too
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"palate {version('palate')}")
        raise typer.Exit


@app.callback()
def palate(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """History in, ranking out: a recommender system."""


@app.command()
def inspect(
    log: LogFile,
    *,
    read: Reading,
    catalogue: CatalogueFile = None,
    catalogue_read: CatalogueReading,
    json: Json = False,
) -> None:
    """Read a log, summarise and check it."""
    events = read_log(log, **read_settings(read))
    titles = titles_of(catalogue, catalogue_read, events.items, "the log")
    show_log(events, titles, LogCheck.of(events, titles, SPLITS), json=json)


@app.command()
def fit(
    recipe: RecipeName,
    log: LogFile,
    *,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the model.")],
    settings: Settings,
    stages: Stages,
    read: Reading,
    catalogue: ItemsFile = None,
    catalogue_read: CatalogueReading,
    early_stop: Annotated[
        bool, typer.Option("--early-stop", help="Take the best epoch on the newest 10%; fit to all.")
    ] = False,
    no_log: Annotated[bool, typer.Option("--no-log", help="Save no histories with the model.")] = False,
    cluster: Cluster = None,
    json: Json = False,
) -> None:
    """Fit a recipe, or what `auto` chooses, to a log; save the model."""
    plan = Plan.of(recipe, settings, stages)
    if cluster is not None:
        check_alone({"--catalogue": catalogue, "--early-stop": early_stop})
        fit_on_cluster(plan, log, out, cluster, read, keep_log=not no_log, json=json)
        return
    events = read_log(log, **read_settings(read))
    note(sentence(events))
    content = content_of(catalogue, catalogue_read, events)
    began = clock()
    chosen = plan.recipe_for(events, content)
    if ignored := unread(chosen, events):
        note(ignored)
    note_estimates([chosen], events, content, 2 if early_stop else 1)
    with FitBar(f"fitting {recipe}", keep=True) as bar:
        model = _fit(chosen, events, content, early_stop, bar)
    seconds = clock() - began
    if bar.stopped:
        kept = "the best epoch" if early_stop else "the last full epoch"
        note(f"stopped after epoch {len(bar.losses)} of {bar.epochs}: {kept} is kept")
        lift()  # what is kept shall be written, however long it takes
    model.save(out, log=None if no_log or model.guarantee is not None else events)
    if json:
        about = {"recipe": chosen.named(), "settings": chosen.settings()}
        print_json({"model": str(out), **about, "seconds": seconds, "losses": bar.losses})
    else:
        name = chosen.named() if recipe == AUTO else recipe
        typer.echo(f"{out}: {name} of {len(model.items):,} items, fitted in {seconds:.1f} s")


def _fit(recipe: Recipe, log: Interactions, catalogue: Catalogue | None, early_stop: bool, watch: Watch) -> Model:
    if not early_stop:
        return recipe.fit(log, catalogue, watch=watch)
    split = split_ratio(log, test=0.1) if log.timestamp is None else split_by_time(log, test=0.1)
    best, epochs = best_epoch(recipe, replace(split, valid=split.test), catalogue, watch=watch)
    if interrupted():
        return best
    model = fit_epochs(recipe, log, catalogue, epochs, watch)
    return best if interrupted() else model


@app.command()
def evaluate(
    recipes: Annotated[
        list[str], typer.Argument(metavar="RECIPE...", help=", ".join(KNOWN) + ", or NAME:SETTING=VALUE.")
    ],
    log: LogFile,
    *,
    split: Annotated[
        Literal["time", "last", "ratio", "users", "items"],
        typer.Option(metavar="HOW", help="time, last, ratio, users or items."),
    ] = "time",
    folds: Annotated[int | None, typer.Option(metavar="N", help="Cross-validate, by time or by users.")] = None,
    k: Annotated[
        list[int],
        typer.Option(
            "-k", metavar="N", default_factory=lambda: [10, 20], show_default="10 and 20", help="List lengths."
        ),
    ],
    settings: Annotated[
        list[str],
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            default_factory=list,
            show_default=False,
            help="A setting: embedding.dim=32.",
        ),
    ],
    read: Reading,
    catalogue: ItemsFile = None,
    catalogue_read: CatalogueReading,
    hide: Hide,
    plot: Annotated[Path | None, typer.Option(metavar="FILE", help="Also draw a plot, PNG or SVG.")] = None,
    json: Json = False,
) -> None:
    """Fit recipes on one part of a log and compare them on the rest."""
    check_picture(plot)
    if folds is not None and split not in FOLDS:
        raise typer.BadParameter(f"--folds goes with --split {' or '.join(FOLDS)}, not with {split}")
    chosen, hidden = build_recipes(recipes, settings), hidden_types(hide)
    events = read_log(log, **read_settings(read))
    note(sentence(events))
    content = content_of(catalogue, catalogue_read, events)
    note_estimates(chosen.values(), events, content, folds or 1)
    with FitBar("fitting") as bar:
        if folds is None:
            result = compare(chosen, SPLITS[split](events), k, catalogue=content, hide=hidden, watch=bar)
        else:
            by = cast("By", split)
            result = cross_validate(chosen, events, folds, by=by, k=k, catalogue=content, hide=hidden, watch=bar)
    if plot is not None:
        result.plot(plot)
    if json:
        print_json(result.to_dict())
    else:
        stdout.print(result)


@app.command()
def recommend(
    model: Folder,
    *,
    user: Annotated[str | None, typer.Option(metavar="ID", help="A user of the log.")] = None,
    k: Length = 10,
    history: Annotated[Path | None, typer.Option(metavar="FILE", help="A newer log, or a .txt of item ids.")] = None,
    read: Reading,
    catalogue: CatalogueFile = None,
    catalogue_read: CatalogueReading,
    only: Annotated[list[str] | None, typer.Option(metavar="ID", help="Only this item; repeatable.")] = None,
    exclude: Annotated[list[str] | None, typer.Option(metavar="ID", help="Not this item; repeatable.")] = None,
    condition: Annotated[
        str | None, typer.Option("--filter", metavar="SQL", help="Of the catalogue: price < 20.")
    ] = None,
    keep_seen: Annotated[bool, typer.Option("--keep-seen", help="Also show items of the history.")] = False,
    hide: Hide,
    all_users: Annotated[bool, typer.Option("--all-users", help="All users of the log, to --out.")] = False,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Of --all-users: .parquet, .csv, .jsonl.")] = None,
    cluster: Cluster = None,
    json: Json = False,
) -> None:
    """Recommend items to a user by a history, or to all users."""
    fitted, log = load_with_log(model)
    titles = titles_of(catalogue, catalogue_read, fitted.items, "the model")
    choice, hidden = Choice.of(only or [], exclude or [], condition, titles), hidden_types(hide)
    if all_users:
        chosen_log = log if history is None else newer_log(history, read, fitted)
        writing = None if cluster is None else write_on_cluster(cluster, model, history, read)
        _export(fitted, model, chosen_log, out, k, keep_seen, choice, hidden, writing, json)
        return
    if cluster is not None:
        raise typer.BadParameter("--cluster goes with --all-users")
    whole = fitted if titles is None else fitted.with_items(titles.without(fitted.items))
    past = _past(whole, log, user, history, read)
    rows = recommended(whole, past, k, titles, keep_seen, *choice, hide=hidden)
    known = len(past.rows.column)
    if json:
        print_json({"user_id": user, "known_events": known, "items": rows})
        return
    heading = "this history" if user is None else f"user {user}"
    stdout.print(
        f"{heading}: {known:,} known events" if known else f"{heading}: nothing known; popular with everyone:"
    )
    stdout.print(listing(rows))


def _export(
    model: Model,
    folder: Path,
    log: Interactions | None,
    out: Path | None,
    k: int,
    keep_seen: bool,
    choice: Choice,
    hide: Hidden,
    writing: WriteParts | None,
    json: bool,
) -> None:
    """Write the lists of all users to a file, with a bar."""
    if out is None:
        raise typer.BadParameter("--all-users writes to a file: give --out FILE.parquet")
    if log is None:
        raise DataError(f"{folder}: the model was saved without histories; give a log with --history FILE")
    began = clock()
    with WorkBar("users") as bar:
        only, exclude = choice
        asked: dict[str, Any] = {"keep_seen": keep_seen, "only": only, "exclude": exclude, "hide": hide}
        lines = export_all(model, folder, log, out, k, watch=bar, write_parts=writing, **asked)
    seconds = clock() - began
    if json:
        print_json({"out": str(out), "users": len(log.users), "lines": lines, "seconds": seconds})
    else:
        typer.echo(f"{out}: {lines:,} recommendations to {len(log.users):,} users, in {seconds:.1f} s")


def _past(model: Model, log: Interactions | None, user: str | None, file: Path | None, read: list[str]) -> Histories:
    """One history over the model's items: from a file, or from the log kept with the model."""
    if file is not None and file.suffix == ".txt":
        return history_in(file, model)
    if user is None:
        raise typer.BadParameter("no user: give --user ID, or --history FILE.txt")
    known = log if file is None else newer_log(file, read, model)
    if known is None:
        raise DataError(f"user {user!r}: the model was saved without histories; give one with --history FILE")
    if user not in known.users:
        return Histories.of(model.items, [[]], [user])
    return model.histories(known.histories([user]))


@app.command()
def similar(
    model: Folder,
    *,
    item: Annotated[str, typer.Option(metavar="ID", help="An item of the log.")],
    k: Length = 10,
    catalogue: CatalogueFile = None,
    catalogue_read: CatalogueReading,
    json: Json = False,
) -> None:
    """Show the items most similar to an item."""
    fitted = load(model)
    titles = titles_of(catalogue, catalogue_read, fitted.items, "the model")
    asked = fitted.items.parse(item)
    rows = ranked(fitted.similar_items([asked], k), titles)
    if json:
        print_json({**named(asked, titles), "items": rows})
        return
    stdout.print(f"like {title(named(asked, titles))}:")
    stdout.print(listing(rows))


@app.command()
def demo(
    *,
    log: Annotated[Path | None, typer.Option(metavar="FILE", help="Your own log instead of MovieLens.")] = None,
    catalogue: CatalogueFile = None,
    catalogue_read: CatalogueReading,
    content: Annotated[bool, typer.Option("--content", help="Recommend films without ratings.")] = False,
    json: Json = False,
) -> None:
    """Show the whole path on real data, from the log to the list."""
    if content:
        from palate.cli.demo_content import run_content_demo

        run_content_demo(json)
        return
    from palate.cli.demo import run_demo

    run_demo(log, catalogue, json, reading=reading_of(catalogue, catalogue_read))
