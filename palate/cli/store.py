"""Commands of the store: `palate store ...` moves events and items in and out, `palate key ...` gives access."""

from __future__ import annotations

from json import dumps, loads
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer
from rich.table import Table

from palate.cli.settings import CatalogueReading, Reading, catalogue_settings, read_settings
from palate.cli.terminal import WorkBar, note, print_json, stdout
from palate.errors import StoreError
from palate.kernels.clock import clock

if TYPE_CHECKING:  # SQLAlchemy is loaded by the commands that need it
    from palate.store.events import Store

store_app = typer.Typer(no_args_is_help=True, help="Keep events and items: import, export, backup, restore, check.")
key_app = typer.Typer(no_args_is_help=True, help="Create, list and revoke API keys.")

Url: TypeAlias = Annotated[
    str, typer.Option("--store", metavar="URL", help="SQLite file, or postgresql://USER@HOST/DB.")
]
Models: TypeAlias = Annotated[
    Path | None, typer.Option("--models", metavar="DIR", help="Folder of the models; beside an SQLite file.")
]
Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Log: TypeAlias = Annotated[Path | None, typer.Option("--log", metavar="FILE", help="Events.")]
Catalogue: TypeAlias = Annotated[Path | None, typer.Option("--catalogue", metavar="FILE", help="Items.")]
Users: TypeAlias = Annotated[Path | None, typer.Option("--users", metavar="FILE", help="Users and their attributes.")]
NO_FILE = "give --log FILE, --catalogue FILE or --users FILE, one or more of them"


def opened_store(url: str, *, new: bool = False) -> Store:
    """Open a store; only where `new` is an SQLite file made that is not there."""
    from palate.store.dialects import SQLite, open_database
    from palate.store.events import Store

    database = open_database(url)
    if not new and isinstance(database, SQLite) and not database.file.is_file():
        raise StoreError(f"{database.file}: no such file; `palate store import` makes a store")
    return Store.open(url)


@store_app.command("import")
def import_(
    *,
    store: Url,
    log: Log = None,
    catalogue: Catalogue = None,
    users: Users = None,
    event_type: Annotated[
        str, typer.Option("--event-type", metavar="NAME", help="Type of events of a log without types.")
    ] = "event",
    read: Reading,
    catalogue_read: CatalogueReading,
    bring_back: Annotated[bool, typer.Option("--bring-back", help="Also store forgotten users.")] = False,
    json: Json = False,
) -> None:
    """Store the events of a log, the items of a catalogue, and users; events already stored are skipped."""
    from palate.store.transfer import import_items, import_log, import_users

    if log is None and catalogue is None and users is None:
        raise typer.BadParameter(f"nothing to import: {NO_FILE}")
    read_settings(read)  # wrong ones are refused before a store is made
    catalogue_settings(catalogue_read)
    answer: dict[str, str | int] = {"store": store, "events": 0, "items": 0}
    forgotten = forgotten_users = 0
    began = clock()
    with opened_store(store, new=True) as opened:
        if catalogue is not None:
            options = _kept_options(opened, "--read-catalogue", catalogue_read)
            with WorkBar("items") as bar:
                answer["items"] = import_items(opened, catalogue, watch=bar, **catalogue_settings(options))
            _keep_options(opened, "--read-catalogue", options)
        if users is not None:
            answer["users"], forgotten_users = import_users(opened, users, bring_back=bring_back)
        if log is not None:
            options = _kept_options(opened, "--read", read)
            with WorkBar("events") as bar:
                given = {"event_type": event_type, "bring_back": bring_back, **read_settings(options)}
                answer["events"], forgotten = import_log(opened, log, watch=bar, **given)
            _keep_options(opened, "--read", options)
    if forgotten:
        answer["forgotten"] = forgotten
        note(f"left out: {forgotten:,} events of users that were forgotten; --bring-back stores them")
    if forgotten_users:
        answer["forgotten_users"] = forgotten_users
        note(f"left out: {forgotten_users:,} users that were forgotten; --bring-back stores them")
    if json:
        print_json(answer)
        return
    seconds = clock() - began
    more = f", {answer['users']:,} new or changed users" if "users" in answer else ""
    typer.echo(f"{answer['events']:,} new events, {answer['items']:,} new or changed items{more}, in {seconds:.1f} s")


def _kept_options(store: Store, option: str, given: list[str]) -> list[str]:
    """Options of reading as they are given, else those of the import before, so that a later one needs none."""
    before: list[str] = loads(store.state(f"import {option}") or "[]")
    if before and not given:
        note(f"read as by the import before: {' '.join(f'{option} {text}' for text in before)}")
    return given or before


def _keep_options(store: Store, option: str, texts: list[str]) -> None:
    if texts:
        store.set_state(f"import {option}", dumps(texts))


@store_app.command()
def export(
    *, store: Url, log: Log = None, catalogue: Catalogue = None, users: Users = None, json: Json = False
) -> None:
    """Write all events, items and users to .parquet, .csv or .jsonl files."""
    from palate.store.transfer import export_events, export_items, export_users

    if log is None and catalogue is None and users is None:
        raise typer.BadParameter(f"nothing to export: {NO_FILE}")
    answer: dict[str, int] = {}
    with opened_store(store) as opened:
        if catalogue is not None:
            answer["items"] = export_items(opened, catalogue)
        if users is not None:
            answer["users"] = export_users(opened, users)
        if log is not None:
            with WorkBar("events") as bar:
                answer["events"] = export_events(opened, log, watch=bar)
    if json:
        print_json(answer)
    else:
        typer.echo(", ".join(f"{count:,} {what}" for what, count in answer.items()))


@store_app.command()
def backup(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A .db file (SQLite), or a folder.")],
    *,
    store: Url,
    models: Models = None,
) -> None:
    """Copy a store and its active model while other processes write to it."""
    from palate.store.backup import backup as copy
    from palate.store.dialects import SQLite
    from palate.store.versions import Versions

    with opened_store(store) as opened, WorkBar("events") as bar:
        known = models is not None or isinstance(opened.database, SQLite)
        if not known:
            note("the model is not in the backup: name its folder with --models DIR")
        copy(opened, out, watch=bar, versions=Versions(opened, models) if known else None)
    typer.echo(f"{out}: backup of {opened.database.place}")


@store_app.command()
def restore(
    source: Annotated[Path, typer.Argument(metavar="BACKUP", help="What `palate store backup` wrote.")],
    *,
    store: Url,
    models: Models = None,
) -> None:
    """Make a new store from a backup, with its model."""
    from palate.store.backup import restore as fill

    with WorkBar("rows") as bar, fill(source, store, watch=bar, models=models) as opened:
        counts = opened.counts()
    typer.echo(f"{opened.database.place}: {counts.events:,} events, {counts.users:,} users, {counts.items:,} items")


@store_app.command("check")
def check_(*, store: Url, json: Json = False) -> None:
    """Look for damage; exit code 1 if there is any."""
    from palate.store.backup import check

    with opened_store(store) as opened:
        report = check(opened)
    counts = {} if report.counts is None else report.counts._asdict()
    if json:
        print_json({"schema": report.schema, **counts, "faults": list(report.faults)})
    else:
        for fault in report.faults:
            note(f"fault: {fault}")
        state = f"faults: {len(report.faults)}" if report.faults else "sound"
        typer.echo(", ".join([f"{state}; schema {report.schema}", *(f"{n:,} {name}" for name, n in counts.items())]))
    if report.faults:
        raise typer.Exit(1)


@store_app.command()
def info(*, store: Url, json: Json = False) -> None:
    """Summarise a store."""
    from palate.store.backup import facts

    with opened_store(store) as opened:
        found = facts(opened)
    if json:
        print_json(found)
        return
    table = Table(box=None, show_header=False, pad_edge=False)
    for name, value in found.items():
        table.add_row(name.replace("_", " "), f"{value:,}" if isinstance(value, int) else str(value))
    stdout.print(table)


@key_app.command("create")
def create_key(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the key.")],
    *,
    store: Url,
    scope: Annotated[list[str], typer.Option("--scope", metavar="SCOPE", help="read, write or admin; repeatable.")],
    json: Json = False,
) -> None:
    """Create a key and print its secret once."""
    from palate.store.keys import Keys

    with opened_store(store, new=True) as opened:
        secret = Keys(opened).create(name, scope)
    if json:
        print_json({"name": name, "scopes": sorted(set(scope)), "key": secret})
        return
    note(f"the key of {name}, shown this once:")
    typer.echo(secret)


@key_app.command("list")
def list_keys(*, store: Url, json: Json = False) -> None:
    """Show all keys, but not their secrets."""
    from palate.store.keys import Keys

    with opened_store(store) as opened:
        found = Keys(opened).list()
    if json:
        print_json([key._asdict() | {"scopes": sorted(key.scopes)} for key in found])
        return
    table = Table("name", "begins with", "scopes", "state", box=None, pad_edge=False)
    for key in found:
        table.add_row(
            key.name, key.prefix, ", ".join(sorted(key.scopes)), "good" if key.revoked is None else "revoked"
        )
    stdout.print(table)


@key_app.command("revoke")
def revoke_key(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the key.")],
    *,
    store: Url,
) -> None:
    """Make a key invalid from the next request on."""
    from palate.store.keys import Keys

    with opened_store(store) as opened:
        Keys(opened).revoke(name)
    typer.echo(f"{name}: revoked")
