"""Commands about one user: `palate forget`, `palate access`; and `palate receipt`, which shows and verifies."""

from __future__ import annotations

import json as jsons
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from palate.cli.serve import ModelsFolder
from palate.cli.store import Json, Url, opened_store
from palate.cli.terminal import note, print_json
from palate.errors import DataError

if TYPE_CHECKING:  # receipts are imported by the commands that read them
    from palate.privacy.receipts import Document

receipt_app = typer.Typer(no_args_is_help=True, help="Show and verify receipts of forgetting.")
MOST_AT_ONCE = 10_000  # users of one receipt
ONE = "one user id a line"


def forget(
    *,
    store: Url,
    user: Annotated[
        list[str],
        typer.Option("--user", metavar="ID", default_factory=list, show_default=False, help="A user; repeatable."),
    ],
    users: Annotated[Path | None, typer.Option("--users", metavar="FILE", help=f"Users, {ONE}.")] = None,
    models: ModelsFolder = None,
    json: Json = False,
) -> None:
    """Forget users everywhere, and print the receipt."""
    from palate.live.forgetting import forget as complete
    from palate.models.registry import load
    from palate.store.versions import Versions

    ids = [*user, *(_lines(users) if users is not None else ())]
    if not ids:
        raise typer.BadParameter("no user to forget: give --user ID or --users FILE")
    with opened_store(store) as opened:
        versions = Versions(opened, models, load)
        known: dict[str, list[str]] = {}
        for low in range(0, len(ids), MOST_AT_ONCE):
            part = ids[low : low + MOST_AT_ONCE]
            known[opened.receipts.forget(part).receipt] = part
        done = complete(opened, versions, known)
        receipts = [opened.receipts.get(name) for name in known]
    if json:
        print_json(receipts[0] if len(receipts) == 1 else receipts)
    for receipt in () if json else receipts:
        _say(receipt)
    if not done:
        note("pending: files or versions are in use; run palate forget --store again, or wait for the service")
        raise typer.Exit(1)


def _say(receipt: Document) -> None:
    removed = ", ".join(f"{count:,} {kind}" for kind, count in receipt["removed"].items()) or "no rows"
    typer.echo(f"receipt {receipt['receipt']}, {receipt['state']}: {removed} deleted")
    for each in receipt.get("versions", ()):
        distance = "" if each["distance"] is None else f", distance {each['distance']:.2g}"
        typer.echo(f"version {each['version']} ({each['recipe'] or 'data alone'}): {each['how']}{distance}")
    for each in receipt.get("backups", ()):
        typer.echo(f"still in the backup {each['place']} of {each['made']}, if it is older than the user's end")


def _lines(file: Path) -> list[str]:
    try:
        text = file.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: must be UTF-8, {ONE}: {error}") from None
    return [line for line in text.split("\n") if line]


def access(
    *,
    store: Url,
    user: Annotated[str, typer.Option("--user", metavar="ID", help="The user.")],
    models: ModelsFolder = None,
) -> None:
    """Print everything known of a user as JSON."""
    from palate.live.access import in_models, known_of, receipts_of
    from palate.models.registry import load
    from palate.store.versions import Versions

    with opened_store(store) as opened:
        kept = in_models(Versions(opened, models, load), user)
        print_json(known_of(opened, user) | {"models": kept, "receipts": receipts_of(opened, user)})


@receipt_app.command("show")
def show(
    receipt: Annotated[str, typer.Argument(metavar="RECEIPT", help="Id of the receipt.")], *, store: Url
) -> None:
    """Print a receipt as JSON."""
    with opened_store(store) as opened:
        print_json(opened.receipts.get(receipt))


@receipt_app.command("verify")
def verify(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A receipt as JSON.")],
    *,
    store: Url,
    user: Annotated[str | None, typer.Option("--user", metavar="ID", help="Whether it is about this user.")] = None,
    json: Json = False,
) -> None:
    """Check that a receipt is as the store signed it; exit code 1 if not."""
    from palate.privacy.receipts import names

    try:
        document = jsons.loads(file.read_bytes())
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file}: must be a receipt as JSON: {error}") from None
    if not isinstance(document, dict):
        raise DataError(f"{file}: holds {type(document).__name__}; a receipt is a JSON object")
    with opened_store(store) as opened:
        good = opened.receipts.verified(document)
    about = None if user is None else names(document, user)
    if json:
        print_json({"signed": good, "about_user": about})
    else:
        typer.echo(f"the signature is {'' if good else 'not '}the store's{'' if good else ', or it was changed'}")
        if about is not None:
            typer.echo(f"it is {'' if about else 'not '}about user {user!r}")
    if not good or about is False:
        raise typer.Exit(1)
