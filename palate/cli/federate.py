"""Commands of federated training: `palate federate server` and `palate federate client`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from palate.cli.joined import content_of
from palate.cli.settings import CatalogueReading, Reading, private_recipe, read_settings
from palate.cli.terminal import note, print_json
from palate.data.readers import read_log
from palate.errors import DataError

if TYPE_CHECKING:
    from palate.privacy.federated.training import Traffics

federate_app = typer.Typer(no_args_is_help=True, help="Train one model with others; logs stay where they are.")
MOST_SECRET = 1 << 16  # bytes

Insecure = Annotated[bool, typer.Option("--insecure", help="Without TLS: for tests on one machine.")]
Wait = Annotated[float, typer.Option(metavar="SECONDS", min=0.0)]


@federate_app.command()
def server(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="ials, ease or embedding.")],
    *,
    listen: Annotated[str, typer.Option(metavar="HOST:PORT", help="Address; port 0 takes a free one.")],
    settings: Annotated[
        list[str],
        typer.Option("--set", metavar="NAME=VALUE", default_factory=list, show_default=False, help="Of the recipe."),
    ],
    cert: Annotated[Path | None, typer.Option(metavar="FILE", help="TLS certificate, PEM.")] = None,
    tls_key: Annotated[Path | None, typer.Option(metavar="FILE", help="Its private key, PEM.")] = None,
    insecure: Insecure = False,
    clients: Annotated[Path | None, typer.Option(metavar="DIR", help="Public keys NAME.pem of clients.")] = None,
    expect: Annotated[int, typer.Option(metavar="N", help="Clients to wait for.")] = 3,
    least: Annotated[int, typer.Option(metavar="N", help="Clients of a sum, at least.", min=3)] = 3,
    wait: Annotated[float, typer.Option(metavar="SECONDS", help="Time to wait for them.", min=0)] = 600,
    answer: Annotated[float, typer.Option(metavar="SECONDS", help="Time of an answer.", min=0.1)] = 300,
    epsilon: Annotated[float | None, typer.Option(metavar="E", help="With distributed noise.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Lead a federated training: add up what clients send, behind masks."""
    from palate.privacy.federated.flower import Clients, public_keys, serving
    from palate.privacy.federated.group import Group
    from palate.privacy.federated.training import Run

    certificates = None
    if cert is not None and tls_key is not None:
        certificates = (cert.read_bytes(), cert.read_bytes(), tls_key.read_bytes())
    if (certificates is None) != insecure:
        raise typer.BadParameter("give --cert FILE and --tls-key FILE, or --insecure")
    here = Clients(None if clients is None else public_keys(clients), note)
    group = Group(here.members, note, expect, least, wait, answer)
    run = Run(private_recipe(recipe, settings, epsilon, public=epsilon is not None), group)
    with serving(listen, certificates, here) as address:
        note(f"listening on {address}")
        traffic = run.train()
    if json:
        print_json({name: {"down": each.down, "up": each.up} for name, each in traffic.items()})
    else:
        _say(traffic)


def _say(traffic: Traffics) -> None:
    for name, each in sorted(traffic.items()):
        parts = ", ".join(f"{what} {each.down[what]:,} / {each.up.get(what, 0):,}" for what in each.down)
        typer.echo(f"client {name}: bytes down / up: {parts}")


@federate_app.command()
def client(
    *,
    log: Annotated[Path, typer.Option(metavar="FILE", help="This client's events.")],
    server: Annotated[str, typer.Option(metavar="HOST:PORT", help="The server.")],
    secret: Annotated[Path, typer.Option(metavar="FILE", help="Secret of the clients, 16 bytes or more.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the model.")],
    name: Annotated[
        str, typer.Option(metavar="NAME", show_default="of the key, or log", help="Name of this client.")
    ] = "",
    key: Annotated[Path | None, typer.Option(metavar="FILE", help="This client's private key, PEM.")] = None,
    ca: Annotated[Path | None, typer.Option(metavar="FILE", help="Certificate of the server, PEM.")] = None,
    insecure: Insecure = False,
    wait: Annotated[float, typer.Option(metavar="SECONDS", help="Time to try a lost server.", min=0)] = 600,
    catalogue: Annotated[Path | None, typer.Option(metavar="FILE", help="More items known here.")] = None,
    catalogue_read: CatalogueReading,
    public: Annotated[bool, typer.Option("--public-items", help="Agree on the catalogue's items alone.")] = False,
    read: Reading,
    no_log: Annotated[bool, typer.Option("--no-log", help="Save no histories with the model.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Take part in a federated training; save the model."""
    from palate.privacy.federated.flower import private_key, take_part
    from palate.privacy.federated.party import Party

    if (ca is None) != insecure:
        raise typer.BadParameter("give --ca FILE, the certificate of the server, or --insecure")
    if secret.stat().st_size > MOST_SECRET:
        raise DataError(f"{secret}: {secret.stat().st_size:,} bytes; a secret has {MOST_SECRET:,} at most")
    events = read_log(log, **read_settings(read))
    content = content_of(catalogue, catalogue_read, events)
    party = Party(
        name or (key or log).stem,
        events,
        secret.read_bytes(),
        None if content is None else content.items,
        public=public,
    )
    root = None if ca is None else ca.read_bytes()
    take_part(party, server, root, None if key is None else private_key(key), wait)
    model = party.finished()
    model.save(out, log=None if no_log or model.guarantee is not None else events)
    if json:
        print_json({"model": str(out), "items": len(model.items), "bytes": party.bytes})
    else:
        sent = f"{party.bytes['down']:,} bytes down, {party.bytes['up']:,} up"
        typer.echo(f"{out}: {model.recipe.named()} of {len(model.items):,} items; {sent}")
