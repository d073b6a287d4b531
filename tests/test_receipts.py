"""Receipts of forgetting: pending, then done, and no byte of a user is left where they say so."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Run
from databases import url
from starlette.testclient import TestClient

from palate import EASE, IALS, load
from palate.errors import DataError, UnknownId
from palate.live.access import in_models, known_of, receipts_of
from palate.live.forgetting import forget
from palate.live.training import train
from palate.models.item_to_item import DenseItemModel
from palate.privacy.receipts import names
from palate.serve.app import create_app
from palate.serve.settings import Settings
from palate.store.backup import backup
from palate.store.events import Event, Store
from palate.store.receipts import ROWS
from palate.store.schema import events, models, sa, set_state
from palate.store.transfer import import_log
from palate.store.user_profiles import UserProfile
from palate.store.versions import Versions

__all__ = ["url"]
SECRET = "bob-the-secret"
HOSTILE = [
    "ключ 🗝",
    "a'; DROP TABLE users;--",
    'q"uo\\te',
    "x" * 1000,
    "bob-the",
    "bob-the-secret-2",
    "a/b\nc",
    "%FF",
]
RECIPE = IALS(dim=4, epochs=1, threads=1)


def fill(store: Store, *users: str) -> None:
    rng = np.random.default_rng(0)
    events = [Event(f"u{rng.integers(20)}", f"i{rng.integers(15)}", "view", 10**15 + n) for n in range(200)]
    own = [
        Event(user, f"i{n}", "view", 10**15 + n, event_id=f"{user[:900]}/{k}/{n}")
        for k, user in enumerate(users)
        for n in range(4)
    ]
    store.append(events + own)
    store.profiles.put(UserProfile(user, {"mail": f"{user[:900]}@home"}) for user in users)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "shop.db") as opened:
        fill(opened, SECRET)
        yield opened


def forms(user: str) -> tuple[bytes, ...]:
    """Return an id as files may hold it: UTF-8, and the two ways of JSON."""
    return user.encode(), json.dumps(user)[1:-1].encode(), json.dumps(user, ensure_ascii=False)[1:-1].encode()


def holding(folder: Path, *traces: bytes) -> list[str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return [str(path.relative_to(folder)) for path in files if any(each in path.read_bytes() for each in traces)]


def test_nothing_of_a_user_is_in_the_files_when_the_receipt_is_done(store: Store, tmp_path: Path) -> None:
    versions = Versions(store, read=load)
    train(store, versions, RECIPE)
    train(store, versions, EASE(l2=5))
    (versions.folder / "start").mkdir()
    (versions.folder / "start" / "sums.npy").write_bytes(b"counts")
    model = load(versions.path(1))
    vector = getattr(model, "user_vectors")[getattr(model, "users").code(SECRET)].tobytes()  # noqa: B009
    assert holding(tmp_path, vector) == ["shop.models/000001/user_vectors.npy"]
    made = store.receipts.forget([SECRET])
    assert made.deleted == 5
    pending = store.receipts.get(made.receipt)
    assert (pending["state"], pending["removed"]) == ("pending", {"events": 4, "users": 1, "attributes of users": 1})
    assert holding(tmp_path, b"mail") == []
    assert forget(store, versions, {made.receipt: [SECRET]})
    done = store.receipts.get(made.receipt)
    assert done["state"] == "done"
    assert [(each["version"], each["how"]) for each in done["versions"]] == [(1, "exact"), (2, "exact")]
    assert done["versions"][1]["distance"] < 1e-6
    assert done["versions"][1]["attack"] is None  # there is no user whom it never saw
    assert holding(tmp_path, vector, *forms(SECRET)) == []
    assert not (versions.folder / "start").exists()
    assert store.receipts.verified(done)
    assert names(done, SECRET)
    assert not names(done, SECRET[:-1])
    assert not store.receipts.verified(done | {"state": "pending"})
    assert store.state(ROWS + made.receipt) is None


def test_a_receipt_tells_forgotten_users_from_newcomers(store: Store) -> None:
    versions = Versions(store, read=load)
    train(store, versions, EASE(l2=5))
    store.append([Event(f"new{n}", f"i{n % 3}", "like", 1) for n in range(3)])
    made = store.receipts.forget([SECRET])
    assert forget(store, versions, {made.receipt: [SECRET]})
    attack = store.receipts.get(made.receipt)["versions"][0]["attack"]
    assert (attack["users"], attack["low"], attack["high"]) == (1, 0, 1)  # one user alone says nothing
    assert attack["unseen"] > 0


def test_a_version_is_what_a_training_without_the_user_gives(url: str, tmp_path: Path) -> None:
    with Store.open(url) as store:
        fill(store, SECRET)
        versions = Versions(store, tmp_path / "models", load)
        train(store, versions, EASE(l2=5), {"view": 2.0})
        store.append([Event(SECRET, "i9", "view"), Event("later", "i9", "view")])  # which the version has not seen
        made = store.receipts.forget([SECRET])
        assert forget(store, versions)
        done = store.receipts.get(made.receipt)
        assert done["versions"][0]["how"] == "exact"
        left = load(versions.path(1))
        seen = store.log({"view": 2.0}).without({"later"})
        expected = EASE(l2=5).fit(seen)
        assert isinstance(left, DenseItemModel)
        row = left.items.recode(expected.items)
        np.testing.assert_allclose(left.weights[np.ix_(row, row)], getattr(expected, "weights"), atol=1e-6)  # noqa: B009
        assert bool(done["outside"][:-3]) == url.startswith("postgresql"), "a server keeps files of its own"


def test_users_are_forgotten_in_batches(store: Store) -> None:
    versions = Versions(store, read=load)
    train(store, versions, EASE(l2=5))
    asked = [SECRET, "u1", "u2", "nobody", "u1"]
    made = store.receipts.forget(asked)
    assert forget(store, versions)
    done = store.receipts.get(made.receipt)
    assert done["removed"]["users"] == 3
    assert len(done["users"]["hashes"]) == 4
    assert len(receipts_of(store, "u1")) == 1
    again = store.receipts.forget(asked)
    assert again.deleted == 0
    assert forget(store, versions)
    assert store.receipts.get(again.receipt)["removed"] == {}


def test_what_was_cut_off_goes_on(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    versions = Versions(store, read=load)
    for _ in range(2):
        train(store, versions, EASE(l2=5))
    made = store.receipts.forget([SECRET])
    calls = []

    def cut(*given: Any) -> None:
        calls.append(given)
        raise KeyboardInterrupt

    for name in ("drop_rows", "done"):
        with monkeypatch.context() as patched:
            patched.setattr(type(store.receipts), name, cut)
            with pytest.raises(KeyboardInterrupt):
                forget(store, versions)
    weights = load(versions.path(1)).item_similarity(0)
    assert forget(store, versions)
    done = store.receipts.get(made.receipt)
    assert [each["how"] for each in done["versions"]] == ["exact", "exact"]
    np.testing.assert_array_equal(load(versions.path(1)).item_similarity(0), weights)  # it left once


def test_a_bundle_that_was_replaced_before_a_kill_loses_the_user_once(store: Store) -> None:
    versions = Versions(store, read=load)
    train(store, versions, EASE(l2=5))
    before = versions.get(1).about
    made = store.receipts.forget([SECRET])
    pending = store.receipts.pending()
    assert forget(store, versions)
    weights = load(versions.path(1)).item_similarity(0)
    with store.database.writing() as connection:  # as if the facts of the version had not been written
        connection.execute(sa.update(models).values(about=json.dumps(before)))
        set_state(connection, ROWS + made.receipt, json.dumps([pending[0].number, pending[0].rows]))
    assert forget(store, versions)
    np.testing.assert_array_equal(load(versions.path(1)).item_similarity(0), weights)


def test_backups_are_named(store: Store, tmp_path: Path) -> None:
    backup(store, tmp_path / "copy.db")
    made = store.receipts.forget([SECRET])
    assert forget(store, Versions(store, read=load))
    (named,) = store.receipts.get(made.receipt)["backups"]
    assert named["place"] == str(tmp_path / "copy.db")


def test_a_reader_delays_the_end(store: Store) -> None:
    versions = Versions(store, read=load)
    with store.database.reading() as connection:
        connection.execute(sa.select(sa.func.count()).select_from(events)).all()
        made = store.receipts.forget([SECRET])
        assert not forget(store, versions)
        assert store.receipts.get(made.receipt)["state"] == "pending"
    assert forget(store, versions)
    assert store.receipts.get(made.receipt)["state"] == "done"


@pytest.mark.parametrize("name", HOSTILE)
def test_any_id_leaves(store: Store, tmp_path: Path, name: str) -> None:
    fill(store, name, f"{name[:990]}-other")
    versions = Versions(store, read=load)
    train(store, versions, RECIPE)
    made = store.receipts.forget([name])
    assert made.deleted == 5
    assert forget(store, versions, {made.receipt: [name]})
    assert names(store.receipts.get(made.receipt), name)
    known = load(versions.path(1)).known_users()
    assert {SECRET, f"{name[:990]}-other"} <= known
    assert name not in known
    if name not in SECRET and len(name) < 900:
        mark = f"{name}/0/".encode()  # of the event ids, which the other's do not have
        assert holding(tmp_path, mark, json.dumps(mark.decode())[1:-1].encode()) == []


def test_what_is_no_id_is_refused(store: Store) -> None:
    for bad in ("", "a\0b", "x" * 1001):
        with pytest.raises(DataError, match="forget: user_id is"):
            store.receipts.forget([SECRET, bad])
    assert store.profiles.get(SECRET) is not None
    with pytest.raises(UnknownId, match="receipt 'x' is unknown"):
        store.receipts.get("x")


def test_no_copy_is_left_in_the_pages(tmp_path: Path) -> None:
    """SQLite leaves copies of rows that it moved; with enough ids some are left of users that went."""
    rng = np.random.default_rng(1)
    ids = [f"user-{number:015x}" for number in rng.integers(0, 1 << 59, 6000)]
    with Store.open(tmp_path / "shop.db") as store:
        for low in range(0, len(ids), 200):  # ids come in no order, so that pages of the index are divided
            store.append([Event(user, "i1", "view", event_id=f"of {user}") for user in ids[low : low + 200]])
        gone = ids[::20]
        made = store.receipts.forget(gone)
        assert forget(store, Versions(store, read=load))
        assert store.receipts.get(made.receipt)["state"] == "done"
        raw = (tmp_path / "shop.db").read_bytes() + (tmp_path / "shop.db-wal").read_bytes()
        assert [user for user in gone if user.encode() in raw] == []


# Over HTTP


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    path = tmp_path_factory.mktemp("shop") / "shop.db"
    with Store.open(path) as store:
        fill(store, *HOSTILE, SECRET)
        train(store, Versions(store, read=load), EASE(l2=5))
    with TestClient(create_app(Settings(store=str(path)))) as client:
        yield client


def completed(client: TestClient, receipt: str) -> dict[str, Any]:
    end = time.monotonic() + 60
    while True:
        found: dict[str, Any] = client.get(f"/v1/receipts/{receipt}").json()
        if found["state"] == "done":
            return found
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_deleted_user_is_gone_at_once_and_the_receipt_follows(client: TestClient) -> None:
    known = client.get(f"/v1/access/{SECRET}").json()
    assert known["attributes"] == {"mail": f"{SECRET}@home"}
    assert [each["item_id"] for each in known["events"]] == ["i3", "i2", "i1", "i0"]
    before = client.get("/v1/similar/i0", params={"k": 3}).json()
    answer = client.delete(f"/v1/users/{SECRET}")
    assert answer.status_code == 202
    assert answer.json()["deleted"] == 5
    assert client.get(f"/v1/users/{SECRET}").json()["events"] == []
    assert client.get(f"/v1/access/{SECRET}").json()["known"] is False
    done = completed(client, answer.json()["receipt"])
    assert done["versions"][0]["how"] == "exact"
    assert names(done, SECRET)
    end = time.monotonic() + 60
    while client.get("/v1/similar/i0", params={"k": 3}).json() == before:  # the model in use follows
        assert time.monotonic() < end
        time.sleep(0.01)
    again = client.delete(f"/v1/users/{SECRET}")
    assert (again.status_code, again.json()["deleted"]) == (202, 0)
    assert completed(client, again.json()["receipt"])["removed"] == {}
    assert client.get("/v1/receipts/none").status_code == 404


@pytest.mark.parametrize("name", HOSTILE[:-1])  # the client of the test reads the last one's percent sign itself
def test_any_id_is_deleted_over_http(client: TestClient, name: str) -> None:
    path = "".join(f"%{byte:02X}" for byte in name.encode())
    assert len(client.get(f"/v1/access/{path}", params={"limit": 3}).json()["events"]) == 3
    answer = client.delete(f"/v1/users/{path}").json()
    assert answer["deleted"] == 5
    assert names(completed(client, answer["receipt"]), name)


def test_a_start_goes_on_with_what_is_pending(store: Store, tmp_path: Path) -> None:
    made = store.receipts.forget([SECRET])
    store.close()
    with TestClient(create_app(Settings(store=str(tmp_path / "shop.db")))) as client:
        assert completed(client, made.receipt)["state"] == "done"
        event = {"user_id": SECRET, "item_id": "i1", "event_type": "view"}
        assert client.post("/v1/events", json=event).status_code == 200
        assert len(client.get(f"/v1/users/{SECRET}").json()["events"]) == 1  # a new user, as any other


# On the command line


def test_the_commands(store: Store, tmp_path: Path, palate: Run) -> None:
    versions = Versions(store, read=load)
    train(store, versions, RECIPE)
    place = tmp_path / "shop.db"
    code, out, _ = palate("access", "--store", place, "--user", SECRET)
    known = json.loads(out)
    assert code == 0
    assert len(known["events"]) == 4
    assert known["models"] == [{"version": 1, "recipe": "IALS", "keeps": ["vector or history of the model"]}]
    (tmp_path / "users.txt").write_text("u1\nu2\n")
    code, out, _ = palate("forget", "--store", place, "--user", SECRET, "--users", tmp_path / "users.txt", "--json")
    receipt = json.loads(out)
    assert (code, receipt["state"], receipt["removed"]["users"]) == (0, "done", 3)
    file = tmp_path / "receipt.json"
    file.write_text(out)
    assert palate("receipt", "verify", file, "--store", place)[0] == 0
    assert palate("receipt", "verify", file, "--store", place, "--user", SECRET)[0] == 0
    assert palate("receipt", "verify", file, "--store", place, "--user", "u3")[0] == 1
    file.write_text(out.replace('"exact"', '"approximate"').replace('"events": ', '"events": 1'))
    code, out, _ = palate("receipt", "verify", file, "--store", place)
    assert (code, "not the store's" in out) == (1, True)
    file.write_text("[1]")
    assert "a receipt is a JSON object" in palate("receipt", "verify", file, "--store", place)[2]
    code, out, _ = palate("receipt", "show", receipt["receipt"], "--store", place)
    assert json.loads(out) == receipt
    known = json.loads(palate("access", "--store", place, "--user", SECRET)[1])
    assert (known["known"], known["events"], known["models"]) == (False, [], [])
    assert [each["receipt"] for each in known["receipts"]] == [receipt["receipt"]]
    assert palate("forget", "--store", place)[0] == 2
    assert "no such file" in palate("forget", "--store", tmp_path / "none.db", "--user", "a")[2]


def test_old_exports_bring_no_user_back(store: Store) -> None:
    whole = store.log()
    store.receipts.forget([SECRET, "u1"])
    forget(store, Versions(store, read=load))
    assert import_log(store, whole, event_type="view").forgotten > 4
    assert known_of(store, SECRET)["known"] is False
    import_log(store, whole, event_type="view", bring_back=True)
    assert known_of(store, SECRET)["known"] is True
    assert in_models(Versions(store, read=load), SECRET) == []
