"""The whole contract: a recipe is fitted to a log and gives a model; a model turns histories into rankings."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self, TypeAlias, cast, overload

import numpy as np

from palate.arrays import Bools, Floats, Ints, stated
from palate.bundles.bundle import Part, write_bundle
from palate.bundles.nesting import flat
from palate.compute.memory import BLOCK_SCORES
from palate.data.catalogue import Catalogue
from palate.data.contexts import as_context
from palate.data.histories import Histories
from palate.data.interactions import Interactions
from palate.data.joins import check_join
from palate.data.ragged import Ragged
from palate.data.rankings import Rankings
from palate.data.vocabulary import Id, Vocabulary
from palate.errors import DataError, Package, SettingError, check, whole
from palate.kernels.hits import find_hits
from palate.kernels.rerank import unit_rows
from palate.kernels.topk import select_top
from palate.models.asked import (
    Asked,
    Explanation,
    Items,
    OneUser,
    asking,
    explained,
    histories_of,
    one_history,
    users_of,
)
from palate.models.guarantee import Guarantee, Release
from palate.models.guards import settled, sound
from palate.models.settings import brief, params_of, settle, with_params
from palate.models.shapes import check_model
from palate.models.similar import most_similar
from palate.training.progress import Progress as ProgressOf

if TYPE_CHECKING:
    from palate.models.posterior import Posterior  # which imports scipy.linalg


Progress: TypeAlias = ProgressOf["Model"]
# Called as a fit goes on; returning True at the end of an epoch ends the fit there.
Watch: TypeAlias = Callable[[Progress], bool | None]


@dataclass(frozen=True, kw_only=True)
class Recipe(ABC):
    """How to fit: a frozen dataclass of settings, validated when built. Subclasses are keyword-only dataclasses.

    Before a subclass looks at its settings they are brought into the types of its fields (`settle`). Its `fit` gets a
    log without weights far beyond what is usual, and raises `ModelError` where numbers are lost (`sound`).

    reads_weights  whether the size of a weight above 0 makes a difference, unless a setting `binary` is True
    """

    reads_weights: ClassVar[bool] = True

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for name, around in (("__post_init__", settled), ("fit", sound)):
            if name in cls.__dict__:
                setattr(cls, name, around(cls.__dict__[name]))

    def __post_init__(self) -> None:
        settle(self)

    @abstractmethod
    def fit(self, log: Interactions, catalogue: Catalogue | None = None, *, watch: Watch | None = None) -> Model:
        """Fit to the log, and to the catalogue if the recipe reads content; `watch` is called as the work goes on.

        What is no log is read as one by `read_log`: a frame, a sparse matrix of users and items; a frame of items as
        a catalogue by `read_catalogue`. `progress=True` draws a bar; `seconds=60` ends the fit in that time, see
        `palate.training.progress.Budget`; `executor=RayExecutor()` fits on a cluster. Raises `DataError` for an empty
        log and for what cannot be read, `ModelError` where the fit diverges.
        """

    def settings(self) -> dict[str, object]:
        """Return the settings by name, as JSON keeps them: a recipe within is its `as_dict`."""
        return {each.name: plain(getattr(self, each.name)) for each in fields(self)}

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the settings by name; with `deep` those of each recipe within, too, as `base__dim`."""
        return params_of(self, deep)

    def set_params(self, **params: Any) -> Self:
        """Return a recipe with these settings, named as in `get_params`, the others as here; this one never changes.

        Raises `SettingError` for an unknown setting, or a value outside its range.
        """
        return with_params(self, params)

    def as_dict(self) -> dict[str, object]:
        """Return name and settings, of which `palate.models.registry.rebuilt` makes the recipe again."""
        return {"name": type(self).__name__, "settings": self.settings()}

    def inner_recipes(self) -> tuple[Recipe, ...]:
        """Return the recipes that are settings of this one."""
        return tuple(part for each in fields(self) for part in recipes_in(getattr(self, each.name)))

    def needs(self) -> tuple[Package, ...]:
        """Return the optional packages of a fit and a saved model; `fit` raises `MissingExtra` without them."""
        return tuple(each for part in self.inner_recipes() for each in part.needs())

    def guarantees(self) -> tuple[Guarantee, ...]:
        """Return what is proven of each private fit within a fit of this recipe: those of the recipes within it."""
        return tuple(each for part in self.inner_recipes() for each in part.guarantees())

    def releases(self) -> tuple[Release, ...]:
        """Return what a fit tells of the events with noise, for a ledger, whatever the log; () of a plain recipe."""
        return tuple(release for each in self.guarantees() for release in each.releases)

    @classmethod
    def named(cls) -> str:
        """Return the name of this recipe on the command line: `Embedding` is `embedding`."""
        return cls.__name__.lower()


@dataclass(frozen=True, eq=False)
class Model(ABC):
    """Fitted arrays; safe to share between threads. Subclasses are frozen dataclasses.

    Where it keeps something of each user it was fitted to, it has a field `users`; where it is made of others, one
    `models`. Fields say what must hold of their arrays, see `palate.arrays.Array`. Raises `ModelError` when built of
    arrays of which that is not true, or with numbers that are not finite.
    """

    recipe: Recipe
    items: Vocabulary
    # What it was fitted to, or what its bundle keeps; None of a private fit, and of a model made of another.
    log: ClassVar[Interactions | None] = None

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "scores" in cls.__dict__:
            setattr(cls, "scores", asking(cls.__dict__["scores"]))  # noqa: B010
        setattr(cls, "__repr__", cls.__repr__)  # noqa: B010  # else a dataclass makes one that spells all arrays

    def __post_init__(self) -> None:
        check_model(self)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({brief(self.recipe)}, {len(self.items):,} items)"

    def remember(self, log: Interactions | None) -> None:
        """Let the model know the log that it was fitted to; the models that it is made of know none."""
        vars(self)["log"] = log
        for each in getattr(self, "models", ()):
            each.remember(None)

    @property
    def sizes(self) -> dict[str, int]:
        """Numbers that the words of its `Array` fields stand for."""
        return {"items": len(self.items)}

    def fault(self) -> str:
        """Say what is wrong with the model beside what its fields say of their arrays, "" for nothing."""
        return ""

    @cached_property
    def guarantee(self) -> Guarantee | None:
        """What is proven of the whole model: how little any one user's events change it; None where nothing is."""
        return None

    @abstractmethod
    def scores(self, histories: Histories) -> Floats:
        """Score every item for every history over `self.items`, (B, I); higher is better.

        Takes what `histories` takes.
        """

    def item_similarity(self, item: int) -> Floats:
        """Similarity of one item to all, (I,); raises `SettingError` where a model has none."""
        raise SettingError(f"{type(self).__name__}: this model has no similarity between items")

    def similarities(self, past: Ints, items: Ints) -> Floats:
        """Similarity of N items to J others, (N, J): cosine of vectors, or as `item_similarity`, which may raise."""
        vectors = self.item_embeddings
        if vectors is not None:
            return np.asarray(unit_rows(vectors, past) @ unit_rows(vectors, items).T, np.float32)
        return np.stack([self.item_similarity(one)[items] for one in past.tolist()]).astype(np.float32)

    def contributions(self, past: Ragged, items: Ints) -> Floats:
        """Return what each of a user's N past events adds to the scores of J items, (N, J); 0 if unknown."""
        return np.zeros((len(past.column), len(items)), np.float32)

    def reasons(self, history: Sequence[Id], item: Id, k: int = 5) -> list[tuple[str, float]]:
        """Return the terms of an item that speak for it, with their parts of its score; [] without content."""
        return []

    def with_items(self, catalogue: Catalogue) -> Model:
        """Return a model that also ranks the items of a catalogue; itself where it knows items by events alone."""
        return self

    @property
    def cold_items(self) -> Bools | None:
        """Items that the model knows by their content alone, (I,); None where it knows items by events alone."""
        return None

    @property
    def item_embeddings(self) -> Floats | None:
        """Vectors of the items, (I, D), near each other for items that are alike; None where a model has none."""
        return None

    def posterior(self, history: Histories) -> Posterior | None:
        """Return what the model leaves open of the one user of a history; None where it does not say."""
        return None

    def similar_users(self, users: Iterable[Id], k: int = 10) -> Rankings:
        """Best k users for each of these, themselves left out.

        Raises `UnknownId` for an unknown one, and `SettingError` where a model has no similarity between users.
        """
        raise SettingError(f"{type(self).__name__}: this model has no similarity between users")

    def known_users(self) -> set[str]:
        """Return the ids, as text, of the users with data of their own in the model: a vector, a history."""
        own: set[str] = self.users.texts() if hasattr(self, "users") else set()
        return own.union(*(each.known_users() for each in getattr(self, "models", ())))

    def without(self, users: AbstractSet[str]) -> Self:
        """Return the model without what is kept of these users, by their ids as text, and without its log.

        What was learned from all users together, as the vectors of items, stays.
        """
        changed: dict[str, Any] = {}
        if hasattr(self, "models"):
            changed["models"] = tuple(each.without(users) for each in self.models)
        if hasattr(self, "users"):
            changed |= self.kept(self.users.others(users))
        return replace(self, **changed) if changed or self.log is not None else self

    def kept(self, rows: Ints) -> dict[str, object]:
        """Return the fields with data of users, for only these rows of `users`."""
        rules = stated(type(self)).items()
        arrays = {name: getattr(self, name)[rows] for name, (_, rule, _) in rules if rule.sizes[0] == "users"}
        return {"users": self.users.select(rows), **arrays}  # type: ignore[attr-defined]

    @property
    def retriever(self) -> Model:
        """The model that candidates come from: itself, unless stages stand behind it."""
        return self

    @property
    def stages(self) -> tuple[object, ...]:
        """Stages of `palate.ranking` that candidates go through, in their order."""
        return ()

    @cached_property
    def reads_time(self) -> bool:
        """Whether lists depend on when they are asked for, as a model within says."""
        return any(each.reads_time for each in getattr(self, "models", ()))

    def similar_items(
        self,
        items: Iterable[Id],
        k: int = 10,
        *,
        only: Iterable[Id] | None = None,
        exclude: Iterable[Id] | None = None,
    ) -> Rankings:
        """Best k items like each of these, itself left out.

        Raises `UnknownId` for an unknown one, and `DataError` for what cannot be an id.
        """
        allowed = self.allowed(only, exclude)
        return most_similar(self.items, items, k, self.item_similarity, allowed)

    @overload
    def explain(self, history: OneUser, item: Id, k: int | None = None) -> Explanation: ...

    @overload
    def explain(self, history: OneUser, item: Items, k: int | None = None) -> list[Explanation]: ...

    def explain(self, history: OneUser, item: Id | Items, k: int | None = None) -> Explanation | list[Explanation]:
        """Past items that speak for `item`, all or the best k, with their parts of its score; [] if none does.

        Several items at once, in a list or column, get one such answer each, for little more than one of them costs.
        `history` is a list of item ids, or a log, frame or `Histories` of one user. Raises `UnknownId` for an unknown
        item, `DataError` for what cannot be an id, and for the histories of several users.
        """
        past = one_history(history, self.items).rows
        single = isinstance(item, str | bytes | Mapping) or not isinstance(item, Iterable)
        codes = (
            np.array([self.items.code(item, "item")], np.int32) if single else self.items.known(cast("Items", item))
        )
        most = len(past.column) if k is None else whole("k", k)
        found = explained(self.items, past.column, self.contributions(past, codes), most)
        return found[0] if single else found

    def histories(self, histories: Asked) -> Histories:
        """Histories over this model's items: those of a log or of a frame of events, or lists of ids, one for a user.

        Warns (`JoinWarning`) where the model knows no item of the log; a list may well be of items unknown to it.
        Raises `DataError` for anything else.
        """
        if isinstance(histories, Histories):
            return histories.on(self.items, owner="the model")  # from here, so that a warning names the caller
        return histories_of(histories, self.items)

    def recommend(
        self,
        histories: Asked | None = None,
        k: int = 10,
        *,
        user_ids: Iterable[Id] | None = None,
        only: Iterable[Id] | None = None,
        exclude: Iterable[Id] | None = None,
        keep_seen: bool = False,
        hide: Iterable[str] | Mapping[str, float] | None = None,
        context: Mapping[str, object] | None = None,
    ) -> Rankings:
        """Best k items for each history, from the whole catalogue or `only` these ids, never the excluded ones.

        A log, or a frame of events, stands for the histories of its users, or of `user_ids`; without histories these
        are users of the log that the model was fitted to, or saved with. Items of the history itself are left out
        unless `keep_seen`; with `hide`, a list of event types, only those of its events of these types, with days,
        as {"purchase": 30}, only for so long. `context`, as {"device": "phone"}, is that of all these lists, for a
        model that learned from contexts. A list is shorter than k only when no more items are left. Unknown ids
        in `only`, `exclude` and the histories are ignored, with a `JoinWarning` if all of `only`, of `exclude` or of
        a log's items are unknown. Raises
        `DataError` for what cannot be an id, and where no id of lists can be known: see `Histories.of`.
        """
        k = min(whole("k", k), len(self.items))
        given = histories if user_ids is None else users_of(histories, self.log, user_ids)
        asked = self.histories(cast("Asked", given))
        if context is not None:
            asked = replace(asked, contexts=(as_context(context),) * len(asked))
        allowed = self.allowed(only, exclude)
        check(hide is None or not keep_seen, "hide", hide, "keep_seen keeps all items of a history")
        hidden = None if hide is None else asked.rows.where(asked.of_types(hide, "hide"))
        item = np.empty((len(asked), k), np.int32)
        score = np.empty((len(asked), k), np.float32)
        step = self.batch_size()
        for low in range(0, len(asked), step):
            high = min(low + step, len(asked))
            block = asked.block(low, high)
            if hidden is None:
                item[low:high], score[low:high] = self.top(block, k, allowed, keep_seen)
            else:
                item[low:high], score[low:high] = self._top_but(block, hidden.block(low, high), k, allowed)
        return Rankings(asked.users, self.items, item, score)

    def _top_but(self, histories: Histories, hidden: Ragged, k: int, allowed: Bools) -> tuple[Ints, Floats]:
        """Return the best k as `top`, without the items of the rows `hidden`."""
        depth = min(k + int(hidden.lengths.max(initial=0)), len(self.items))
        item, score = self.top(histories, depth, allowed, keep_seen=True)
        gone = (item < 0) | find_hits(item, hidden.start, hidden.column, len(self.items))
        best = np.argsort(gone, axis=1, kind="stable")[:, :k]
        item, score = np.where(gone, np.int32(-1), item), np.where(gone, np.float32(-np.inf), score)
        return np.take_along_axis(item, best, axis=1), np.take_along_axis(score, best, axis=1)

    def batch_size(self) -> int:
        """Users ranked at once."""
        return max(1, BLOCK_SCORES // max(1, len(self.items)))

    def top(self, histories: Histories, k: int, allowed: Bools, keep_seen: bool) -> tuple[Ints, Floats]:
        """Return the best k of the items allowed (I,) for one block: item (B, k) and score (B, k)."""
        scores = self.scores(histories)
        if keep_seen:
            return select_top(scores, allowed, k)
        return select_top(scores, allowed, k, histories.rows.start, histories.rows.column)

    def retrieve(self, histories: Histories, k: int, allowed: Bools, keep_seen: bool) -> Retrieved:
        """Return the best k of the items allowed (I,) for one block, and what scores others beside them."""
        scores = self.scores(histories)
        own = () if keep_seen else (histories.rows.start, histories.rows.column)
        return Retrieved(select_top(scores, allowed, k, *own)[0], lambda b, items: scores[b, items])

    def allowed(self, only: Iterable[Id] | None, exclude: Iterable[Id] | None) -> Bools:
        """Mask of the items that may be recommended, (I,)."""
        mask = np.full(len(self.items), only is None)
        for place, ids, value in (("only", only, True), ("exclude", exclude, False)):
            if ids is not None:
                asked = Vocabulary.series(ids, place)
                codes = self.items.codes(asked)
                check_join(codes, asked, self.items, place, "the model")
                mask[codes[codes >= 0]] = value
        return mask

    def save(self, folder: str | Path, *, log: Interactions | None = None) -> None:
        """Write the model to a folder, in place of the bundle that is there; `palate.load` reads it.

        With a `log` the histories of its users are kept too, so that they can be served by their id alone.
        Raises `BundleError` for a folder that is not a bundle, or that cannot be written, `ModelError` for numbers
        that are not finite.
        """
        check_model(self)
        parts, about = self.written()
        data = {"items": len(self.items)}
        if log is not None:
            past = self.histories(log.histories())
            rows = past.rows
            parts |= {
                "log.users": log.users,
                "log.start": rows.start,
                "log.item": rows.column,
                "log.weight": rows.weight,
            }
            if rows.time is not None:
                parts["log.time"] = rows.time
            if rows.event is not None:
                parts |= {"log.event": rows.event, "log.event_types": Vocabulary.of(log.event_types)}
            if log.type_weights:
                parts["log.type_weights"] = np.array([each.weight for each in log.types], np.float64)
            if log.context is not None:
                known = self.items.recode(log.items)[log.item] >= 0
                parts |= {"log.context": log.context[known], "log.contexts": Vocabulary.of(log.contexts)}
            data |= {"users": len(log.users), "events": len(log)}
        write_bundle(folder, parts, about | {"data": data})

    def written(self) -> tuple[dict[str, Part], dict[str, object]]:
        """Return what a bundle keeps of the model: its parts by name, and what the manifest says of it.

        The parts of `models`, which are all over the same items, stand by the number of each.
        """
        own = [part.name for part in fields(self) if part.name not in ("recipe", "models")]
        parts = dict(pair for name in own for pair in flat(name, getattr(self, name)))
        manifests = []
        for n, each in enumerate(getattr(self, "models", ())):
            inner, manifest = each.written()
            parts |= {f"{n}.{name}": part for name, part in inner.items() if name != "items"}
            manifests.append(manifest)
        return parts, self.manifest() | ({"models": manifests} if manifests else {})

    def manifest(self) -> dict[str, object]:
        """Name the model and its recipe, with the settings."""
        return {"model": type(self).__name__, "recipe": self.recipe.as_dict()}


class Retrieved(NamedTuple):
    """Candidates of histories, (B, k), -1 past their end; score: of items (C,) for the history at a place b, (C,)."""

    item: Ints
    score: Callable[[int, Ints], Floats]


def recipes_in(value: object) -> tuple[Recipe, ...]:
    """Return the recipes that a setting holds."""
    if isinstance(value, tuple):
        return tuple(found for each in value for found in recipes_in(each))
    return (value,) if isinstance(value, Recipe) else ()


def plain(value: object) -> object:
    """Return a setting with each recipe, and each other object of settings, in it as a dict."""
    if isinstance(value, tuple):
        return tuple(map(plain, value))
    return value.as_dict() if hasattr(value, "as_dict") else value


def refuse_empty(log: Interactions) -> None:
    """Raise `DataError` unless the log holds an event with weight above 0."""
    if not log.liked.any():
        raise DataError(f"{log!r}: nothing to learn from; a log needs an event with weight above 0")
