"""The families of recipes: where each begins on a log, and between what its settings are sought."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from palate.choosing.facts import LogFacts
from palate.encoders.fields import USUAL
from palate.encoders.pretrained import missing
from palate.errors import Package
from palate.models.base import Recipe
from palate.models.registry import recipe_class

ALL = ("next", "taste", "new-items", "new-users")
KNOWN = ("next", "taste", "new-users")  # goals that items without events have no part in
DENSE_ITEMS = 6_000  # up to here all weights between items cost little
SPARSE = 2e-3  # density below which the vectors of a large catalogue want many numbers and a small penalty
LARGE_ITEMS = 20_000


@dataclass(frozen=True)
class Between:
    """Numbers from low to high, drawn evenly or, with `log`, evenly in their logarithm."""

    low: float
    high: float
    log: bool = True

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}{', logarithmic' if self.log else ''}"


@dataclass(frozen=True)
class OneOf:
    """One of several values."""

    values: tuple[bool | int | float | str | None, ...]

    def __str__(self) -> str:
        return ", ".join(map(str, self.values))


Range = Between | OneOf
Settings = Mapping[str, Any]


@dataclass(frozen=True)
class Family:
    """A recipe by its name, and how it is searched.

    start   settings that are tried first, for a log of these facts
    ranges  where settings are drawn from
    goals   where it competes
    scales  what its cost and its best settings grow with
    barred  why it is left out for a log, "" where it is not
    kind    what it learns: "neighbours" of items or sessions, "vectors", or a "network"; a second stage gains most
            from stages that find different items
    """

    name: str
    start: Callable[[LogFacts], tuple[Settings, ...]]
    ranges: Mapping[str, Range]
    goals: tuple[str, ...]
    scales: str
    barred: Callable[[LogFacts], str] = lambda _: ""
    kind: str = "neighbours"

    def recipe(self, settings: Settings) -> Recipe:
        """Build the recipe with these settings."""
        return recipe_class(self.name)(**settings)

    def needs(self) -> tuple[Package, ...]:
        """Return the optional packages that a fit takes."""
        return self.recipe({}).needs()

    def starts(self, log: LogFacts) -> tuple[Recipe, ...]:
        """Return the recipes that are tried first."""
        return tuple(map(self.recipe, self.start(log)))

    def bars(self, log: LogFacts, goal: str) -> str:
        """Say why it does not compete, "" where it does."""
        if goal not in self.goals:
            return f"it is not for the goal {goal}"
        return self.barred(log)


def _large(log: LogFacts) -> bool:
    return log.items > LARGE_ITEMS and log.density < SPARSE


def _popularity(log: LogFacts) -> tuple[Settings, ...]:
    return ({},) if log.time is None else ({}, {"half_life_days": max(1.0, round(log.time.days / 12, 1))})


def _ease(log: LogFacts) -> tuple[Settings, ...]:
    near = {} if log.items <= DENSE_ITEMS else {"neighbours": 100}
    return ({"l2": 50.0, **near} if _large(log) else near,)


def _slist(_: LogFacts) -> tuple[Settings, ...]:
    sessions = {"alpha": 0.7, "whole_decay": 0.8, "train_decay": 0.2, "decay": 0.8}
    sessions |= {"l2": 30.0, "l2_power": 0.75, "walk": 16.0, "beta": 0.2}
    return ({"l2": 60.0}, sessions)


def _ials(log: LogFacts) -> tuple[Settings, ...]:
    sparse = {"dim": 512, "epochs": 8, "unseen_weight": 0.03, "l2": 0.0001, "fold_l2": 100.0}
    return (sparse, {"dim": 128}) if _large(log) else ({"dim": 128}, {"dim": 256})


def _embedding(log: LogFacts) -> tuple[Settings, ...]:
    sparse = {"dim": 256, "negatives": 2048, "epochs": 24, "learning_rate": 0.35, "user_power": 0.0}
    return (sparse,) if _large(log) else ({"dim": 128},)


def _no_content(log: LogFacts) -> str:
    readable = log.content or pretrained_fields(log)
    return "" if readable else "no catalogue with titles, texts or attributes was given"


def pretrained_fields(log: LogFacts) -> tuple[str, ...]:
    """Columns with the pretrained encoders that are installed for them: pictures, sounds, and sentences."""
    wanted = {**{name: USUAL[name] for name in log.media}, **dict.fromkeys(log.texts, "minilm")}
    return tuple(f"{column}:{encoder}" for column, encoder in wanted.items() if missing(encoder) is None)


def not_installed(log: LogFacts) -> dict[str, str]:
    """Return what would be tried if its packages were there, and which one is not."""
    absent = {column: missing(USUAL[column]) for column in log.media}
    return {f"Hybrid and Content on {column}": str(error) for column, error in absent.items() if error}


def _contents(log: LogFacts) -> tuple[Settings, ...]:
    """Read what needs no network, then with the vectors of pretrained encoders beside it, one after the other."""
    plain = tuple(name for name in log.content)
    ways = [plain] if plain else []
    for field in pretrained_fields(log):
        column = field.rpartition(":")[0]
        ways.append((*(name for name in plain if name != column), field))
    return tuple({} if way == plain else {"fields": way} for way in ways)


FAMILIES: tuple[Family, ...] = (
    Family(
        "Popularity",
        _popularity,
        {"half_life_days": Between(3, 3000)},
        ALL,
        "events; a half-life needs times",
    ),
    Family(
        "ItemKNN",
        lambda _: ({}, {"similarity": "tf-idf"}),
        {
            "similarity": OneOf(("rp3beta", "tf-idf", "cosine", "bm25")),
            "neighbours": Between(20, 400),
            "shrink": Between(1.0, 200.0),
            "alpha": Between(0.3, 1.2, log=False),
            "beta": Between(0.0, 0.8, log=False),
        },
        KNOWN,
        "pairs of events of one user; alpha and beta are of rp3beta alone",
    ),
    Family(
        "EASE",
        _ease,
        {"l2": Between(10.0, 3000.0)},
        KNOWN,
        f"items³ up to {DENSE_ITEMS:,} items, items beyond them; l2 grows with the events of an item",
    ),
    Family(
        "SLIST",
        _slist,
        {
            "alpha": Between(0.05, 0.9, log=False),
            "whole_decay": Between(0.7, 1.0, log=False),
            "train_decay": Between(0.1, 0.8, log=False),
            "decay": Between(0.4, 0.95, log=False),
            "l2": Between(15.0, 400.0),
            "l2_power": OneOf((0.0, 0.5, 0.75)),
            "walk": OneOf((0.0, 1.0, 4.0, 16.0)),
            "beta": Between(0.0, 0.3, log=False),
        },
        ("next", "new-users"),
        "pairs of events of one user, and items; a longer walk for shorter sessions",
    ),
    Family(
        "SessionKNN",
        lambda _: ({},),
        {
            "sample": OneOf((100, 200, 400, 800)),
            "decay": Between(0.3, 0.95, log=False),
            "near": Between(0.4, 0.95, log=False),
            "beta": Between(0.0, 0.5, log=False),
        },
        ("next", "new-users"),
        "events; a list costs more the more sessions are looked at",
    ),
    Family(
        "IALS",
        _ials,
        {
            "dim": OneOf((64, 128, 256, 512, 1024)),
            "l2": Between(1e-4, 0.05),
            "unseen_weight": Between(0.01, 1.0),
            "fold_l2": Between(0.3, 200.0),
        },
        KNOWN,
        "(users + items) dim²; a larger catalogue wants a larger dim, a larger dim a smaller l2",
        kind="vectors",
    ),
    Family(
        "Embedding",
        _embedding,
        {
            "dim": OneOf((64, 128, 256, 384)),
            "l2": Between(0.005, 0.2),
            "learning_rate": Between(0.15, 1.0),
            "user_power": OneOf((0.0, 0.25, 0.5)),
        },
        KNOWN,
        "events times dim; a larger dim wants a larger l2 on a dense log",
        kind="vectors",
    ),
    Family(
        "InfiniteAE",
        lambda _: ({},),
        {"l2": Between(0.05, 20.0), "norm": Between(0.0, 1.0, log=False), "bias": OneOf((0.0, 0.1))},
        ("taste", "new-users"),
        "users³",
        lambda log: "" if log.users <= 20_000 else f"{log.users:,} users; its time grows with their cube",
    ),
    Family(
        "Hybrid",
        lambda log: tuple({"base": "IALS(dim=128)", **way} for way in _contents(log)),
        {"strength": Between(0.3, 50.0)},
        ALL,
        "the content of items, and its base",
        _no_content,
        kind="vectors",
    ),
    Family(
        "Content",
        _contents,
        {"l2": Between(0.3, 300.0), "profile_l2": Between(0.03, 3.0)},
        ("new-items",),
        "events times the numbers of an item's content, and their cube",
        _no_content,
        kind="vectors",
    ),
    Family(
        "Autoencoder",
        lambda _: ({},),
        {"l2": Between(50.0, 600.0), "dim": OneOf((256, 512)), "dropout": Between(0.5, 0.8, log=False)},
        ("taste", "new-users"),
        "users times items times dim",
        kind="network",
    ),
    Family(
        "Transformer",
        lambda _: ({"epochs": 4}, {}),
        {"dim": OneOf((64, 128, 192)), "epochs": OneOf((4, 8, 16)), "dropout": Between(0.2, 0.6, log=False)},
        ("next", "new-users"),
        "events times epochs times dim",
        kind="network",
    ),
)


def named(name: str) -> Family | None:
    """Return the family of a recipe's name."""
    return next((each for each in FAMILIES if each.name == name), None)


def brief(recipe: Recipe) -> str:
    """Return a recipe as text with the settings that are not the usual ones: `IALS(dim=128)`."""
    usual = {each.name: each.default for each in fields(recipe)}
    given = {name: value for name in usual if (value := getattr(recipe, name)) != usual[name]}
    return f"{type(recipe).__name__}({', '.join(f'{name}={_brief(value)}' for name, value in given.items())})"


def _brief(value: object) -> str:
    if isinstance(value, Recipe):
        return brief(value)
    if isinstance(value, tuple):
        return f"({', '.join(map(_brief, value))}{',' if len(value) == 1 else ''})"
    return repr(value)


def label(recipe: Recipe) -> str:
    """Return the name of a recipe, with the columns that it reads by pretrained encoders."""
    columns: tuple[str, ...] = getattr(recipe, "fields", ())
    read = [each.rpartition(":")[0] for each in columns if ":" in each]
    return type(recipe).__name__ + (f" on {', '.join(read)}" if read else "")


def changed(recipe: Recipe, settings: Settings) -> Recipe:
    """Return the recipe with other settings, rounded where its own are whole numbers."""
    kinds = {name: type(getattr(recipe, name)) for name in settings}
    values = {name: round(value) if kinds[name] is int else value for name, value in settings.items()}
    return replace(recipe, **values)


def table() -> str:
    """Return the search spaces as a Markdown table."""
    lines = ["| recipe | setting | sought | cost and settings grow with |", "|---|---|---|---|"]
    for family in FAMILIES:
        for place, (setting, span) in enumerate(family.ranges.items()):
            first = (f"`{family.name}`", family.scales) if not place else ("", "")
            lines.append(f"| {first[0]} | `{setting}` | {span} | {first[1]} |")
    return "\n".join(lines)
