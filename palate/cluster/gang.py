"""Workers that each hold some of the users; one that is lost is made again, and told again what it was told.

Calls that change a worker for good are kept in a journal. They give the same state whenever they are done, so that a
worker made again stands where the lost one stood.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import ray
from numpy.typing import NDArray
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from palate.arrays import AnyArray
from palate.cluster.host import Host, Sent, cuts_of, row_bytes
from palate.errors import PalateError

LOG = logging.getLogger("palate.cluster")
FAN = 8  # cuts that are added up in one place
ATTEMPTS = 20  # of one piece of work
SPREAD = "SPREAD"  # over all nodes
T = TypeVar("T")


class Lost(PalateError):
    """A worker was lost, or what it had in the object store."""


@dataclass
class Traffic:
    """Bytes of arrays that went down to a worker, and up from it, the mean over the workers."""

    down: float = 0.0
    up: float = 0.0


@dataclass
class Gang:
    """Workers, each with so many CPUs that Ray sets aside; they live as long as the list of their handles."""

    hosts: list[Any]
    cpus: float
    traffic: Traffic = field(default_factory=Traffic)
    journal: list[tuple[str, list[tuple[Any, ...]]]] = field(default_factory=list)  # name, arguments for each worker

    @property
    def size(self) -> int:
        """Number of workers."""
        return len(self.hosts)

    def __enter__(self) -> Gang:
        return self

    def __exit__(self, *_: object) -> None:
        for host in self.hosts:
            host.clear.remote()

    def send(self, array: AnyArray, workers: int | None = None) -> Sent:
        """Put an array into the object store for all workers, or for so many of them."""
        share = 1.0 if workers is None else workers / self.size
        self.traffic.down += array.nbytes * share
        edges = cuts_of(len(array), row_bytes(array))
        return Sent(tuple(ray.put(np.ascontiguousarray(array[low:high])) for low, high in edges))

    def become(self, make: Callable[..., Any], *args: object, each: Sequence[tuple[Any, ...]] | None = None) -> None:
        """Have every worker replace its work by what `make` makes of it; `each` are arguments for one worker each."""
        own = [args] * self.size if each is None else [(*args, *one) for one in each]
        place = sum(name == "become" for name, _ in self.journal)
        entry = [(place, make, one) for one in own]
        self.again(lambda: taken([host.become.remote(*one) for host, one in zip(self.hosts, entry, strict=True)]))
        self.journal.append(("become", entry))

    def remember(self, name: str, *args: object) -> None:
        """Keep in mind that a method changed the work of each worker for good."""
        self.journal.append(("call", [(name, args)] * self.size))

    def ask(self, name: str, *args: object) -> list[Any]:
        """Return what a method of each worker returns, which must be small."""
        return self.again(lambda: taken([host.ask.remote(name, args) for host in self.hosts]))

    def run(self, function: Callable[..., T], *args: object) -> T:
        """Return the small result of a function that the first worker runs."""
        (found,) = taken([self.hosts[0].run.remote(function, args)])
        return found  # type: ignore[no-any-return]

    def each(self, name: str, *args: object) -> list[Any]:
        """Return what a method of each worker returns, `CHUNK` bytes at most, which counts as traffic."""
        found = taken([host.ask.remote(name, args) for host in self.hosts])
        self.traffic.up += sum(array.nbytes for one in found for array in one) / self.size
        return found

    def sum(self, name: str, *args: object, shape: tuple[int, ...], kind: type = np.float32) -> NDArray[Any]:
        """Return the sum over the workers of the array (`shape`, `kind`) that a method returns, cut by cut."""
        total: NDArray[Any] = np.empty(shape, kind)
        taken([host.call.remote(name, args) for host in self.hosts])
        for low, high in cuts_of(shape[0], row_bytes(total)):
            parts = [host.cut.remote(low, high) for host in self.hosts]
            found = taken(self._fewer(parts))  # one cut of each worker at a time
            total[low:high] = np.sum(found, axis=0, dtype=np.float64)
            self.traffic.up += found[0].nbytes
        return total

    def share(
        self, name: str, count: int, args: Callable[[int], tuple[Any, ...]], keep: Callable[[int, Any], None]
    ) -> None:
        """Have a method called for each of so many tasks, by whichever worker is free, and `keep` what it returns."""
        left = set(range(count))

        def done(n: int, result: Any) -> None:
            keep(n, result)
            left.discard(n)

        self.again(lambda: self._shared(name, sorted(left), args, done))

    def _shared(
        self, name: str, tasks: list[int], args: Callable[[int], tuple[Any, ...]], done: Callable[[int, Any], None]
    ) -> None:
        running: dict[Any, tuple[int, Any]] = {}
        free, next_tasks = list(self.hosts), iter(tasks)
        while True:
            for host, n in zip(list(free), next_tasks):  # noqa: B905  as many as there are of both
                free.remove(host)
                running[host.ask.remote(name, args(n))] = n, host
            if not running:
                return
            (ready,), _ = ray.wait(list(running), num_returns=1)
            n, host = running.pop(ready)
            done(n, taken([ready])[0])
            free.append(host)

    def _fewer(self, parts: list[Any]) -> list[Any]:
        """Have workers add up the cuts until few are left."""
        left = parts
        while len(left) > FAN:
            left = [self.hosts[low].add.remote(*left[low : low + FAN]) for low in range(0, len(left), FAN)]
        return left

    def cuts(self, name: str, rows: Sequence[int], size: int, *args: object) -> Iterator[tuple[int, int, int, Any]]:
        """Yield (worker, low, high, cut) of what a method returns: of `rows[worker]` rows, each of `size` bytes."""
        for n, host in enumerate(self.hosts):
            taken([host.call.remote(name, args)])
            for low, high in cuts_of(rows[n], size):
                yield n, low, high, taken([host.cut.remote(low, high)])[0]

    def again(self, work: Callable[[], T]) -> T:
        """Do a piece of work; where a worker is lost in it, make that again and do the whole piece again."""
        for _ in range(ATTEMPTS):
            try:
                return work()
            except Lost as lost:
                LOG.warning("%s; it is made again from its input, and the work done again", lost)
                self.mend()
        raise Lost(f"workers were lost {ATTEMPTS} times in one piece of work")

    def mend(self) -> None:
        """Make lost workers again."""
        for n in range(self.size):
            while self._place(n) is None:
                self._remake(n, SPREAD)

    def _place(self, n: int) -> tuple[str, int] | None:
        """Return node and process of a worker, None where it is lost."""
        try:
            (found,) = taken([self.hosts[n].place.remote()])
        except Lost:
            return None
        return tuple(found)

    def _remake(self, n: int, where: Any) -> None:
        self.hosts[n] = new_host(self.cpus, where)
        calls = [getattr(self.hosts[n], name).remote(*own[n]) for name, own in self.journal]
        try:
            taken(calls)
        except Lost as lost:
            LOG.warning("%s while it was made again", lost)

    def spread(self) -> None:
        """Move workers from crowded nodes to nodes that came later and have none."""
        homes = [self._place(n) for n in range(self.size)]
        crowd = Counter(home[0] for home in homes if home is not None)
        alive = {node["NodeID"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU", 0) >= 1}
        for node in sorted(alive - crowd.keys()):
            fullest, count = crowd.most_common(1)[0]
            if count < 2:
                return
            n = max(n for n, home in enumerate(homes) if home is not None and home[0] == fullest)
            LOG.info("worker %d moves to node %s", n, node[:8])
            ray.kill(self.hosts[n])
            self._remake(n, NodeAffinitySchedulingStrategy(node, soft=True))
            homes[n] = None
            crowd[fullest] -= 1
            crowd[node] += 1


def job_id() -> str:
    """Return the name of this process's connection to the cluster."""
    return str(ray.get_runtime_context().get_job_id())


def new_host(cpus: float, where: Any = SPREAD) -> Any:
    """Start a worker, where Ray finds place for it."""
    options = {"num_cpus": cpus, "scheduling_strategy": where, "max_restarts": 0, "max_task_retries": 0}
    return ray.remote(Host).options(**options).remote()


def taken(calls: Sequence[Any]) -> list[Any]:
    """Return the results of calls. Raises what they raised: `Lost` where a worker, or an object, is gone."""
    try:
        return list(ray.get(list(calls)))
    except RayTaskError as error:
        cause = error.cause
        if isinstance(cause, PalateError):
            raise cause from None
        if isinstance(cause, RayError):
            raise Lost(f"a worker lost an object: {cause}".partition("\n")[0]) from None
        raise
    except RayError as error:
        raise Lost(f"a worker was lost: {type(error).__name__}") from None
