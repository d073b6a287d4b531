"""Where work runs on a Ray cluster."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from palate.arrays import Ints
from palate.cluster.parts import LogParts, placed_parts
from palate.data.histories import Histories
from palate.data.readers import as_log
from palate.errors import Package, PalateError, SettingError, check, require
from palate.models.base import Model, Recipe, Watch, refuse_empty

if TYPE_CHECKING:
    from palate.cluster.gang import Gang, Traffic

PACKAGES = (Package("ray", "ray", "cluster"),)
LOG = logging.getLogger("palate.cluster")
# Where each recipe is fitted, and the settings that would need more than sums over users.
WAYS: Mapping[str, tuple[str, Mapping[str, object]]] = {
    "EASE": ("items.fit_ease", {"half_life_days": None}),
    "IALS": ("ials.fit_ials", {"half_life_days": None, "checkpoint": None}),
    "ItemKNN": ("items.fit_neighbours", {"half_life_days": None}),
    "SLIST": ("items.fit_sequences", {"half_life_days": None}),
}
BY_EPOCHS = ("IALS",)


@dataclass
class RayExecutor:
    """Fits, ranks and evaluates on a Ray cluster.

    address  "HOST:PORT" or "auto" of a running cluster; None takes the one that this process is connected to, else
             "auto", else one is started on this machine
    workers  how users are divided; None takes one for each CPU of the cluster that is free
    """

    address: str | None = None
    workers: int | None = None
    traffic: Traffic | None = None  # of the last fit
    hosts: list[Any] = field(default_factory=list, repr=False)
    job: str = field(default="", repr=False)  # of the connection that the workers belong to

    def __post_init__(self) -> None:
        check(self.workers is None or self.workers >= 1, "workers", self.workers, "must be 1 or more, or None")

    def connect(self) -> int:
        """Connect this process to the cluster; returns the number of its CPUs that nothing else has set aside."""
        require(PACKAGES)
        import ray

        if not ray.is_initialized():
            quiet = {"include_dashboard": False, "log_to_driver": False, "logging_level": logging.ERROR}
            try:
                ray.init(self.address or "auto", **{**quiet, "include_dashboard": None})
            except ConnectionError as error:
                if self.address is not None:
                    raise PalateError(f"cluster {self.address}: {error}".partition("\n")[0]) from None
                ray.init(**quiet)
        return int(ray.available_resources().get("CPU", 0))

    @contextmanager
    def gang(self) -> Iterator[Gang]:
        """Lend out the workers; they are started once, and end with this object."""
        cpus = self.connect()
        from palate.cluster.gang import Gang, job_id, new_host

        count = self.workers or max(1, cpus)
        each = 1.0 if count <= cpus else 0.0  # else they share what there is
        if self.job != job_id():
            self.hosts, self.job = [new_host(each) for _ in range(count)], job_id()
        with Gang(self.hosts, each) as gang:
            gang.mend()
            yield gang
            self.traffic = gang.traffic

    def fit(self, recipe: Recipe, log: object, catalogue: object = None, *, watch: Watch | None = None) -> Model:
        """Fit a recipe to a log, or to one that the workers read (`read_parts`); the same model as in one process.

        Raises `SettingError` for a recipe, or a setting of one, that would need more than sums over users.
        """
        way = way_of(recipe)
        followed = {"watch": watch} if type(recipe).__name__ in BY_EPOCHS else {}
        with self.gang() as gang:
            if isinstance(log, LogParts):
                return way(recipe, placed_parts(gang, log), **followed)
            from palate.cluster.shard import placed

            events = as_log(log)
            refuse_empty(events)
            model = way(recipe, placed(gang, events), **followed)
            model.remember(events)
            return model

    def rank(self, model: Model, histories: Histories, depth: int, **question: Any) -> Ints:
        """Return the lists of B histories as rows of the model's items, (B, depth), -1 past the end of a list.

        `question` is what `Model.recommend` takes.
        """
        with self.gang() as gang:
            from palate.cluster.batch import ranked

            return ranked(gang, model, histories, depth, question)

    def export(
        self,
        model: Path,
        log: Path | None,
        reading: Mapping[str, Any],
        question: Mapping[str, Any],
        todo: Sequence[tuple[int, int, Path]],
        done: Callable[[int], None],
    ) -> None:
        """Write the lists of users [low, high) of a log, None for that of the saved model, to a file each of `todo`.

        All nodes read the model and the log, and write the files, where the driver names them. `done` is called with
        numbers of users.
        """
        with self.gang() as gang:
            from palate.cluster.batch import export

            export(gang, model, log, reading, question, todo, done)


def way_of(recipe: Recipe) -> Callable[..., Model]:
    """Return how a recipe is fitted on a cluster. Raises `SettingError` where it cannot."""
    name = type(recipe).__name__
    if name not in WAYS:
        raise SettingError(
            f"recipe={name}(): cannot be fitted on a cluster, which takes sums over users; recipes that can: "
            + ", ".join(WAYS)
        )
    path, fixed = WAYS[name]
    for setting, value in fixed.items():
        own = getattr(recipe, setting)
        check(own == value, f"{name}.{setting}", own, f"must be {value!r} on a cluster")
    module, function = path.split(".")
    found: Callable[..., Model] = getattr(import_module(f"palate.cluster.{module}"), function)
    return found
