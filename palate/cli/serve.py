"""Commands of the live service: `palate serve` answers over HTTP, `palate train` makes its next model."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from palate.cli.choose import AUTO, Plan, SearchBar, share_of
from palate.cli.estimate import note_estimates
from palate.cli.settings import (
    CatalogueReading,
    Reading,
    Stages,
    catalogue_settings,
    parse,
    private_recipe,
    read_settings,
    staged,
)
from palate.cli.store import opened_store
from palate.cli.terminal import FitBar, WorkBar, note, print_json
from palate.errors import SettingError, require

if TYPE_CHECKING:  # loaded by the commands that need it: the extra may be missing
    from palate.live.training import Trained
    from palate.store.events import Store
    from palate.store.versions import Versions

ModelsFolder: TypeAlias = Annotated[
    Path | None, typer.Option("--models", metavar="DIR", help="Folder of the models.")
]
RecipeOption: TypeAlias = Annotated[
    str, typer.Option("--recipe", metavar="RECIPE", help=f"Recipe to train, or {AUTO}.")
]
SearchOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--search",
        metavar="SHARE",
        help=f"For {AUTO} to search: 10%.",
        show_default=False,
    ),
]
SHARE = "10%"  # of `--search`, where no recipe is named
FIRST = 1.0  # minutes of the search where there is no model yet
Settings: TypeAlias = Annotated[
    list[str],
    typer.Option(
        "--set", metavar="NAME=VALUE", default_factory=list, show_default=False, help="Setting of the recipe."
    ),
]
WeightsOption: TypeAlias = Annotated[
    str | None, typer.Option("--weights", metavar="TYPE:N,...", help="Of events: view:1,like:3.")
]


def _port(port: int) -> int:
    """Check a port; a range that the type states would take half of the screen of the help."""
    if not 0 <= port <= 65535:
        raise typer.BadParameter(f"{port} is not in the range 0 to 65535")
    return port


def train(
    *,
    store: Annotated[
        str,
        typer.Option(
            "--store",
            metavar="URL",
            envvar="PALATE_STORE",
            show_envvar=False,
            help="SQLite file, or postgresql://USER@HOST/DB.",
        ),
    ],
    models: ModelsFolder = None,
    recipe: RecipeOption = AUTO,
    settings: Settings,
    stages: Stages,
    search: SearchOption = None,
    weights: WeightsOption = None,
    keep: Annotated[int, typer.Option(metavar="N", help="Versions to keep.")] = 5,
    epsilon: Annotated[
        float | None, typer.Option("--epsilon", metavar="E", help="Fit with differential privacy: Private(RECIPE).")
    ] = None,
    public_items: Annotated[bool, typer.Option("--public-items", help="With it: items are no secret.")] = False,
    lifetime_epsilon: Annotated[
        float | None,
        typer.Option("--lifetime-epsilon", metavar="E", help="Of all private trainings."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Fit a recipe to a store; activate the model unless it is worse."""
    from palate.models.registry import load
    from palate.privacy.ledger import ACCOUNTING
    from palate.store.ledger import check_lifetime
    from palate.store.versions import Versions

    check_lifetime(lifetime_epsilon, epsilon)
    share = _share(recipe, _sought(recipe, search))
    plan = _plan(recipe, settings, stages, epsilon, public_items)
    if plan.recipe is not None and plan.recipe.guarantees():
        require([ACCOUNTING])
    with opened_store(store) as opened:
        versions = Versions(opened, models, load)
        if plan.recipe is None and versions.answering() is None:
            plan = Plan.of(recipe, settings, stages, FIRST)
        trained = _train(opened, versions, plan, share, _weights(weights), keep, lifetime_epsilon)
    if json:
        about = trained.version.about
        print_json({"version": trained.version.number, "activated": trained.activated, "why": trained.why, **about})
    else:
        state = "answers now" if trained.activated else "is not activated"
        typer.echo(f"version {trained.version.number} {state}: {trained.why}")


def activate(
    version: Annotated[int, typer.Argument(metavar="VERSION", min=1, help="Number of the version.")],
    *,
    store: Annotated[str, typer.Option("--store", metavar="URL", help="SQLite file, or postgresql://USER@HOST/DB.")],
    models: ModelsFolder = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Activate a version of the model, whatever its measurements."""
    from palate.models.registry import load
    from palate.store.versions import Versions

    with opened_store(store) as opened:
        chosen = Versions(opened, models, load).activate(version)
    if json:
        print_json({**chosen.about, "version": chosen.number, "activated": True})
    else:
        typer.echo(f"version {chosen.number} answers now")


def serve(
    *,
    store: Annotated[
        str | None,
        typer.Option(
            "--store",
            metavar="URL",
            help="SQLite file, or postgresql://USER@HOST/DB.",
            show_default="named after the log, else palate.db",
        ),
    ] = None,
    log: Annotated[Path | None, typer.Option("--log", metavar="FILE", help="Events to import.")] = None,
    catalogue: Annotated[Path | None, typer.Option("--catalogue", metavar="FILE", help="Items to import.")] = None,
    model: Annotated[Path | None, typer.Option("--model", metavar="DIR", help="Saved model to serve.")] = None,
    models: ModelsFolder = None,
    recipe: RecipeOption = AUTO,
    settings: Settings,
    stages: Stages,
    search: SearchOption = None,
    read: Reading,
    catalogue_read: CatalogueReading,
    weights: WeightsOption = None,
    without_model: Annotated[bool, typer.Option("--without-model", help="Start without training.")] = False,
    retrain: Annotated[
        str | None, typer.Option(metavar="WHEN", help="Train again: every=1h, or events=10000.")
    ] = None,
    host: Annotated[str, typer.Option(metavar="HOST", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(metavar="PORT", callback=_port, help="Port to listen on.")] = 8000,
    workers: Annotated[int, typer.Option(metavar="N", min=1, help="Processes that answer.")] = 1,
    keys: Annotated[
        bool | None,
        typer.Option("--keys/--no-keys", help="Require API keys.", show_default="beyond this machine"),
    ] = None,
    rate: Annotated[float, typer.Option(metavar="N", min=0, help="Requests a second; 0: any.")] = 0,
    allowed_hosts: Annotated[
        list[str],
        typer.Option(
            "--allowed-hosts",
            metavar="HOST,...",
            default_factory=list,
            show_default=False,
            help="Further names of the service.",
        ),
    ],
    origin: Annotated[
        list[str],
        typer.Option(
            "--origin", metavar="URL", default_factory=list, show_default=False, help="A site whose pages may call."
        ),
    ],
    trusted_proxies: Annotated[
        list[str],
        typer.Option(
            "--trusted-proxies",
            metavar="ADDRESS,...",
            default_factory=list,
            show_default=False,
            help="Proxies whose headers count.",
        ),
    ],
) -> None:
    """Serve live recommendations over HTTP, and a page at /."""
    from palate.compute.memory import settle_allocator

    settle_allocator()  # while there are few threads
    from palate.models.registry import load
    from palate.serve.browser import hosts_of, networks_of, origins_of
    from palate.serve.run import Retrain, run
    from palate.serve.settings import Settings as Serving
    from palate.store.dialects import shown_place
    from palate.store.events import Store
    from palate.store.versions import Versions

    plan, types = Plan.of(recipe, settings, stages, FIRST), _weights(weights)
    sought = _sought(recipe, search)
    share = _share(recipe, sought)
    when = None if retrain is None else Retrain.parse(retrain)
    url = store or (f"{log.name.split('.')[0]}.db" if log else "palate.db")
    hosts, origins, proxies = hosts_of(host, allowed_hosts), origins_of(origin), networks_of(trusted_proxies)
    guarded = not _is_loopback(host) if keys is None else keys
    with Store.open(url) as opened:
        versions = Versions(opened, models, load)
        new = _fill(opened, log, catalogue, read_settings(read), catalogue_settings(catalogue_read))
        if model is not None:
            _import_model(opened, versions, model)
        elif not without_model and (new or (versions.answering() is None and opened.newest())):
            note(_why_trained(versions, new))
            trained = _train(opened, versions, plan, share, types)
            note(f"model version {trained.version.number}: {trained.why}")
        if guarded:
            _first_key(opened)
    training = ["--recipe", recipe, *(part for each in settings for part in ("--set", each))]
    training += [part for each in stages for part in ("--stage", each)]
    training += ["--search", sought] if sought else []
    note(f"serving {shown_place(url)} at http://{host}:{port}")
    serving = Serving(
        store=url,
        models=None if models is None else str(models),
        weights=types,
        keys=guarded,
        rate=rate,
        allowed_hosts=hosts,
        origins=origins,
        recipe=tuple(training),
        retrain=retrain,
        without_model=without_model,
    )
    run(serving, host=host, port=port, workers=workers, trusted_proxies=proxies, retrain=when)


def _why_trained(versions: Versions, new: int) -> str:
    if new:
        return f"{new:,} new events: training before the service starts"
    lost = versions.active()
    why = "events and no model" if lost is None else f"the bundle of model version {lost} is not in {versions.folder}"
    return f"{why}: training before the service starts"


def _plan(recipe: str, settings: list[str], stages: list[str], epsilon: float | None, public: bool) -> Plan:
    """Plan a fit, a private one with an epsilon; a recipe that a search chose on the events would tell of them."""
    if recipe == AUTO and epsilon is not None:
        raise typer.BadParameter(f"--epsilon needs a recipe: what {AUTO} chooses depends on the events")
    if epsilon is None and not public:
        return Plan.of(recipe, settings, stages)
    return Plan(staged(private_recipe(recipe, settings, epsilon, public), stages), {}, ())


def _train(
    store: Store,
    versions: Versions,
    plan: Plan,
    share: float | None,
    weights: Mapping[str, float],
    keep: int = 5,
    lifetime: float | None = None,
) -> Trained:
    """Train a recipe; where none is named, read the store once, and choose one."""
    from palate.live.training import Training

    training = Training.of(store, versions, weights)
    if plan.recipe is not None:
        note_estimates([plan.recipe], training.log, training.catalogue)
        with FitBar(f"training {plan.recipe.named()}") as bar:
            return training.finish(plan.recipe, keep=keep, watch=bar, lifetime=lifetime)

    from palate.live.searching import Searching

    with SearchBar() as searched:
        chosen = Searching(plan.settings, share).chosen(training, searched)
    note(f"{chosen.recipe!r} stays" if chosen.report is None else chosen.report.explanation)
    recipe = staged(chosen.recipe, plan.stages)
    with FitBar(f"training {recipe.named()}") as bar:
        return training.finish(recipe, chosen.about, keep=keep, watch=bar)


def _sought(recipe: str, search: str | None) -> str | None:
    """Return `--search`: where a recipe is chosen, a later training searches around the one in use."""
    return SHARE if search is None and recipe == AUTO else search


def _share(recipe: str, search: str | None) -> float | None:
    """Read `--search`, which goes with auto alone."""
    if search is not None and recipe != AUTO:
        raise SettingError(f"--search {search}: goes with --recipe {AUTO}; the settings of {recipe} are as given")
    return None if search is None else share_of(search)


def _fill(
    store: Store,
    log: Path | None,
    catalogue: Path | None,
    reading: Mapping[str, Any],
    catalogue_reading: Mapping[str, str],
) -> int:
    """Import what is new of the files; returns the number of new events."""
    from palate.store.transfer import import_items, import_log

    if catalogue is not None:
        with WorkBar("items") as bar:
            import_items(store, catalogue, watch=bar, **catalogue_reading)
    if log is None:
        return 0
    with WorkBar("events") as bar:
        new, forgotten = import_log(store, log, watch=bar, **reading)
    if forgotten:
        note(f"left out: {forgotten:,} events of users that were forgotten")
    return new


def _import_model(store: Store, versions: Versions, folder: Path) -> None:
    """Make a saved model the active version, and store its items and histories; once."""
    from palate.live.importing import import_model

    version = import_model(store, versions, folder)
    note(f"model version {version.number}: {folder}")


def _first_key(store: Store) -> None:
    from palate.store.keys import SCOPES, Keys

    keys = Keys(store)
    if not any(key.revoked is None for key in keys.list()):
        names = {key.name for key in keys.list()}
        name = next(f"first-{n}" for n in range(1, len(names) + 2) if f"first-{n}" not in names)
        note(f"API key {name!r}, shown only now: {keys.create(name, SCOPES)}")


def _weights(text: str | None) -> dict[str, float]:
    """Weights of event types: those of the option, the usual ones for all others."""
    from palate.live.weights import EVENT_WEIGHTS

    pairs = (each.rpartition(":") for each in text.split(",")) if text else ()
    return {**EVENT_WEIGHTS, **{name: parse("weights", weight, float) for name, _, weight in pairs}}


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
