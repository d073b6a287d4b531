"""What SIGKILL leaves, of all that writes: nothing lost, nothing twice, nothing half, nothing left behind."""

from __future__ import annotations

import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
from databases import new_database, server

from benchmarks.reliability.parts import Facts, Part, Step, exactly
from benchmarks.reliability.victims import TRANSACTION, Nursery
from palate import Popularity, read_log
from palate.errors import PalateError
from palate.files import remove
from palate.models.registry import load
from palate.store.backup import backup, check, restore
from palate.store.events import Event, Store
from palate.store.logs import read_events
from palate.store.schema import events, sa, users
from palate.store.transfer import import_events
from palate.store.versions import Versions

KILLS = 20  # of a step
NOTHING = {"lost": 0, "doubled": 0, "dangling": 0, "left": 0}
SIDE = ("-wal", "-shm", "-turn", "-journal")  # what SQLite and its writers keep beside a file


class Scene:
    """What one step needs: a database, folders, a nursery, moments at random; and what was found wrong."""

    def __init__(self, nursery: Nursery, folder: Path, url: str, temporary: Path, seed: int, count: int) -> None:
        self.nursery, self.folder, self.url, self.temporary = nursery, folder, url, temporary
        self.draw, self.kills = random.Random(seed), count
        self.models = folder / "models"
        self.counts: Counter[str] = Counter(NOTHING)
        self.faults: list[str] = []

    def kill(self, kind: str, seconds: float, **given: Any) -> list[Any]:
        """Kill a victim; returns what it said."""
        self.counts["kills"] += 1
        return self.nursery.kill(kind, self.folder / "said", seconds, self.draw, **given)

    def wrong(self, how: str, count: int, what: str) -> None:
        """Count what is wrong."""
        if count:
            self.counts[how] += count
            self.faults.append(f"{what}: {how} {count}")

    def sound(self, store: Store) -> None:
        """Look at the store's rows, as `palate store check` does."""
        faults = check(store).faults
        self.wrong("dangling", len(faults), f"check: {faults}")

    def left(self, folder: Path, expected: set[str]) -> None:
        """Count what a kill has left behind in a folder."""
        found = {path.name for path in folder.iterdir() if not path.name.endswith(SIDE)}
        self.wrong("left", len(found - expected), f"{folder.name} {sorted(found - expected)[:3]}")

    def facts(self) -> Facts:
        """Return the counts of the step."""
        self.left(self.temporary, set())
        return {**self.counts, "faults": self.faults}


# Kinds


def writers(scene: Scene) -> None:
    """Cut off writers of one to three events at once: each that was acknowledged is there, and once."""
    acknowledged: set[str] = set()
    for run in range(scene.kills):
        acknowledged |= {each for ids in scene.kill("writers", 0.25, url=scene.url, run=run) for each in ids}
    with Store.open(scene.url) as store:
        with store.database.reading() as connection:
            ids = Counter(connection.scalars(sa.select(events.c.event_id)))
        scene.wrong("lost", len(acknowledged - set(ids)), "events")
        scene.wrong("doubled", sum(ids.values()) - len(ids), "events")
        batches = Counter(each.rpartition("-")[0] for each in ids)
        halves = sum(count != 1 + int(name.split("-")[2]) % 3 for name, count in batches.items())
        scene.wrong("dangling", halves, "halves of batches")
        scene.sound(store)
    scene.counts["acknowledged"] += len(acknowledged)


def imports(scene: Scene) -> None:
    """Cut off imports: a log goes on where it stopped; a catalogue is there or not."""
    logs, catalogues, frames = [], [], []
    for n in range(scene.kills):
        draw = scene.draw
        rows = [
            (f"u{draw.randrange(40)}", f"i{n}-{draw.randrange(4)}", 10**9 + draw.randrange(3)) for _ in range(200)
        ]
        frames.append(pl.DataFrame(rows, ["user", "item", "timestamp"], orient="row"))
        logs.append(str(scene.folder / f"log{n}.csv"))
        frames[-1].write_csv(logs[-1])
        catalogues.append(str(scene.folder / f"items{n}.csv"))
        pl.DataFrame({"item": [f"c{n}-{k}" for k in range(60)], "title": ["x"] * 60}).write_csv(catalogues[-1])
    ends = [{0, *(part.stop for part in read_events(log, "event", {}).parts(TRANSACTION))} for log in logs]
    for _ in range(scene.kills):
        scene.kill("imports", 0.3, url=scene.url, logs=logs, catalogues=catalogues)
        with Store.open(scene.url) as store:
            there = Counter(store.log().to_frame()["item_id"].str.split("-").list.first())
            halves = sum(there[f"i{n}"] not in ends[n] for n in range(scene.kills))
            scene.wrong("dangling", halves, "transactions of a log")
            ids = [item.item_id for item in store.items.page(100_000) if item.item_id.startswith("c")]
            scene.wrong("dangling", len(ids) % 60, "items of part of a catalogue")
    with Store.open(scene.url) as store:
        for log in logs:
            import_events(store, log)
        found = Counter(store.log().to_frame().select("user_id", "item_id").rows())
        wanted = Counter(pl.concat(frames).select("user", "item").rows())
        scene.wrong("lost", sum((wanted - found).values()), "imported events")
        scene.wrong("doubled", sum((found - wanted).values()), "imported events")
        scene.sound(store)


def forgets(scene: Scene) -> None:
    """Cut off `forget`: a user is gone from rows and files, or is there with all events."""
    names = [f"SECRET-{n:04}" for n in range(40 * scene.kills)]
    with Store.open(scene.url) as store:
        store.append([Event(name, f"i{n}", "view", n) for name in names for n in range(20)])
    gone: set[str] = set()
    for _ in range(scene.kills):
        said = scene.kill("forgets", 0.15, url=scene.url, users=[name for name in names if name not in gone])
        gone |= set(said)
        with Store.open(scene.url) as store, store.database.reading() as connection:
            asked = sa.select(users.c.user_id, sa.func.count(events.c.seq)).select_from(users)
            asked = asked.outerjoin(events, events.c.user_no == users.c.user_no).group_by(users.c.user_id)
            there = {row[0]: row[1] for row in connection.execute(asked)}
        scene.wrong("lost", len(gone & set(there)), "forgettings")
        scene.wrong("dangling", sum(count != 20 for count in there.values()), "users with part of their events")
        gone = set(names) - set(there)
    scene.counts["forgotten"] += len(gone)
    with Store.open(scene.url) as store:
        store.forget(names[-1])
        scene.sound(store)
        if scene.url.startswith("sqlite"):
            file = store.database.place.removeprefix("sqlite:///")
            content = b"".join(
                Path(f"{file}{end}").read_bytes() for end in ("", *SIDE) if Path(f"{file}{end}").exists()
            )
            scene.wrong("left", sum(name.encode() in content for name in gone), "ids of forgotten users in files")


def seeded(scene: Scene) -> None:
    """Give the store some events and one active version."""
    with Store.open(scene.url) as store:
        store.append([Event(f"u{n % 30}", f"i{n * 7 % 23}", "view", n) for n in range(600)])
        versions = Versions(store, scene.models, load)
        versions.activate(versions.add(Popularity().fit(store.log()).save, {"recipe": "Popularity"}).number)


def versions_of(scene: Scene, kind: str, seconds: float) -> None:
    """After each kill the active version loads, as all that are listed do, and none that was reported is undone."""
    seeded(scene)
    for _ in range(scene.kills):
        said = scene.kill(kind, seconds, url=scene.url, models=str(scene.models))
        scene.counts["activated"] += len(said)
        with Store.open(scene.url) as store:
            versions = Versions(store, scene.models, load)
            active = versions.active() or 0
            scene.wrong("lost", bool(said) and active < said[-1], "activations")
            for number in {active, *(version.number for version in versions.list())}:
                scene.wrong("dangling", not loads(versions.path(number)), f"version {number}")
    with Store.open(scene.url) as store:
        versions = Versions(store, scene.models, load)
        versions.add(Popularity().fit(store.log()).save, {})
        scene.left(scene.models, {versions.path(version.number).name for version in versions.list()})


def trainings(scene: Scene) -> None:
    """Cut off trainings, which activate and prune."""
    versions_of(scene, "trainings", 1.5)


def activations(scene: Scene) -> None:
    """Cut off processes that add and activate versions while they prune."""
    versions_of(scene, "activations", 0.3)


def saves(scene: Scene) -> None:
    """Cut off saves: a bundle is that of before or the next one, whole."""
    log = scene.folder / "log.csv"
    pl.DataFrame({"user": ["a", "b", "c"] * 50, "item": [f"i{n % 40}" for n in range(150)]}).write_csv(log)
    model = Popularity().fit(read_log(log))
    model.save(scene.folder / "model")
    home = scene.folder / "saved"
    home.mkdir()
    last = 0
    for run in range(scene.kills):
        given = {"model": str(scene.folder / "model"), "log": str(log), "target": str(home / "b"), "run": run}
        last = max([last, *scene.kill("saves", 0.1, **given)])
        if last:
            scene.wrong("dangling", not loads(home / "b"), "bundle")
            found: Any = load(home / "b")
            scene.wrong("lost", found.item_scores[0] < last, "saves")
            scene.wrong("dangling", bool((found.item_scores != found.item_scores[0]).any()), "mixtures")
    model.save(home / "b")
    scene.left(home, {"b"})


def backups(scene: Scene) -> None:
    """Cut off backups and restores: each is whole or is not there."""
    seeded(scene)
    home = scene.folder / "backups"
    home.mkdir()
    ending = ".db" if scene.url.startswith("sqlite") and scene.draw.random() < 0.5 else ""
    for run in range(scene.kills):
        given = {"url": scene.url, "folder": str(home), "ending": ending, "run": run}
        said = scene.kill("backups", 0.3, **given)
        scene.counts["copied"] += len(said)
        scene.wrong("lost", sum(not Path(each).exists() for each in said), "backups")
        for path in [each for each in home.iterdir() if not each.name.startswith(".") and each.suffix in ("", ".db")]:
            scene.wrong("dangling", not whole(path, scene.folder / "trial.db"), path.name)
            remove(path)
    with Store.open(scene.url) as store:
        backup(store, home / "last.db" if ending else home / "last")
        scene.sound(store)
    restore(home / f"last{ending}", home / "restored.db").close()
    for path in home.glob("copy-*.sha256"):  # of a backup that was not there yet: written first, replaced by the next
        path.unlink()
    scene.left(home, {f"last{ending}", "restored.db", f"last{ending}.sha256"})


def loads(path: Path) -> bool:
    """Whether a model can be read and asked."""
    try:
        return len(load(path).recommend([[]], 3).lists()[0]) == 3
    except (PalateError, OSError):
        return False


def whole(path: Path, trial: Path) -> bool:
    """Whether a backup or a restored store has all 600 events."""
    remove(trial)
    try:
        with restore(path, trial) as store:
            return store.counts().events == 600 and not check(store).faults
    except PalateError:
        return False


EACH: tuple[Callable[[Scene], None], ...] = (writers, imports, forgets, trainings, activations, saves, backups)
PLAN = [(kind, database) for kind in EACH for database in ("sqlite", "postgresql")]


@contextmanager
def kills(folder: Path, count: int = KILLS) -> Iterator[Step]:
    """Kill victims of one kind after the other, over SQLite and PostgreSQL in turn."""
    server()  # before its folder would be made among theirs
    temporary = folder / "tmp"
    nursery = Nursery(temporary)

    def step(n: int) -> Facts:
        kind, database = PLAN[n % len(PLAN)]
        own = folder / f"step{n}"
        own.mkdir()
        scene = Scene(nursery, own, new_database(database, own), temporary, n, count)
        with temporaries_in(temporary):  # what a victim left there goes with the next write
            kind(scene)
            shutil.rmtree(own)
            name = kind.__name__ if kind is saves else f"{kind.__name__}, {database}"
            return {"of": {name: scene.counts["kills"]}, **scene.facts()}

    try:
        yield step
    finally:
        nursery.close()


@contextmanager
def temporaries_in(folder: Path) -> Iterator[None]:
    """Have temporary files of this process lie in a folder."""
    before, tempfile.tempdir = tempfile.tempdir, str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = before


KILLED = Part(
    "`kill -9` of writers, imports, `forget`, trainings, activations, saves, backups; SQLite and PostgreSQL",
    42,
    kills,
    exactly(**NOTHING, faults=[]),
    lambda facts: (
        f"{facts['kills']:,} kills, {facts['acknowledged']:,} acknowledged events; lost {facts['lost']}, doubled"
        f" {facts['doubled']}, half or dangling {facts['dangling']}, left behind {facts['left']}"
    ),
)
