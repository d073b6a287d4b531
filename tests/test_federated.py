"""Federated training: sums behind masks give the models of all logs together, whatever clients do."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import cache
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from palate import EASE, IALS, SLIST, Embedding, Private, load
from palate.data.interactions import Interactions
from palate.data.vocabulary import Vocabulary
from palate.errors import PalateError, SettingError
from palate.models.base import Model, Recipe
from palate.models.ials import AlsState, IALSModel
from palate.models.item_to_item import DenseItemModel

pytest.importorskip("flwr")

from palate.privacy.federated.group import Group, Member
from palate.privacy.federated.ials import IalsWork, item_starts, user_starts
from palate.privacy.federated.masks import KeyPair, Masks, neighbours, unmasked
from palate.privacy.federated.messages import Gone, Message
from palate.privacy.federated.noisy import noised
from palate.privacy.federated.party import Party
from palate.privacy.federated.training import Direct, Run, Traffics, member_of, simulate
from palate.privacy.federated.words import from_words, to_words
from palate.privacy.federated.work import FederationError, item_hashes

SECRET = b"known to clients alone"
USERS, ITEMS, DIM = 90, 40, 16
RECIPE = IALS(dim=DIM, epochs=4, threads=1)


def whole_log(users: int = USERS, items: int = ITEMS) -> Interactions:
    """Two tastes: a user likes items of one half of the catalogue."""
    rng = np.random.default_rng(3)
    user = np.repeat(np.arange(users), 9)
    half = items // 2
    item = rng.integers(0, half, len(user)) + half * (rng.random(len(user)) < np.where(user % 2, 0.1, 0.9))
    names = (
        Vocabulary.of([f"user-{u:03}" for u in range(users)]),
        Vocabulary.of([f"item-{i:03}" for i in range(items)]),
    )
    weight = rng.choice(np.array([1, 2, 3], np.float32), len(user))
    return Interactions.of(*names, user.astype(np.int32), item.astype(np.int32), weight)


LOG = whole_log()


def parts_of(log: Interactions, clients: int) -> list[Interactions]:
    return [log.select(log.user % clients == c) for c in range(clients)]


def parties(log: Interactions = LOG, clients: int = 3, **options: Any) -> list[Party]:
    return [Party(f"c{n}", part, SECRET, **options) for n, part in enumerate(parts_of(log, clients))]


def central(recipe: IALS) -> IALSModel:
    """The model of all logs together, by the steps of `IALS.fit` from the federated start."""
    start = np.empty((ITEMS, DIM), np.float32)
    start[np.argsort([each.hex() for each in item_hashes(LOG.items, SECRET)])] = item_starts(ITEMS, recipe)
    return recipe.alternate(AlsState.of(recipe, LOG, vectors=(user_starts(LOG.users, recipe), start)), LOG, None)


def distance(one: IALSModel, other: IALSModel) -> float:
    """Largest distance of an item's numbers; axes have no sign."""
    rows = other.items.codes(one.items.ids)
    theirs = other.item_vectors[rows]
    return float(np.abs(one.item_vectors - theirs * np.sign((one.item_vectors * theirs).sum(axis=0))).max())


@pytest.fixture(scope="module")
def federated() -> tuple[list[Party], Traffics]:
    clients = parties()
    return clients, simulate(RECIPE, clients)


def test_ials_is_that_of_all_logs(federated: tuple[list[Party], Traffics]) -> None:
    whole = central(RECIPE)
    for client in federated[0]:
        model = client.finished()
        assert isinstance(model, IALSModel)
        assert distance(model, whole) < 1e-5
        asked = LOG.histories([f"user-{n:03}" for n in range(5)])
        np.testing.assert_array_equal(model.recommend(asked, 5).item, whole.recommend(asked, 5).item)
        user = model.users.ids[0]
        assert np.abs(model.user_vectors[0]).max() == pytest.approx(
            np.abs(whole.user_vectors[whole.users.code(user)]).max(), abs=1e-4
        )


def test_ials_of_five_clients_is_the_same() -> None:
    clients = parties(clients=5)
    simulate(RECIPE, clients)
    model = clients[4].finished()
    assert isinstance(model, IALSModel)
    assert distance(model, central(RECIPE)) < 1e-5


def test_bytes_are_those_of_the_formula(federated: tuple[list[Party], Traffics]) -> None:
    epoch = (RECIPE.steps + 2) * ITEMS * DIM * 4
    small = 3 * DIM * DIM * 8  # axes down, a Gram matrix up
    for name, traffic in federated[1].items():
        for way in (traffic.down, traffic.up):
            bytes_ = sum(way[kind] for kind in ("items", "step", "users"))
            assert RECIPE.epochs * epoch <= bytes_ <= RECIPE.epochs * (epoch + small), name
    client = federated[0][0]
    traffic = federated[1]["c0"]
    assert client.bytes["up"] == sum(traffic.up.values()) + ITEMS * 16  # beside the hashes of its items
    assert client.bytes["down"] == sum(traffic.down.values())


def same_weights(model: Model, log: Interactions) -> None:
    """Whether it is the EASE of a log, on the items that it knows."""
    whole = EASE().fit(log)
    assert isinstance(model, DenseItemModel)
    assert isinstance(whole, DenseItemModel)
    assert model.recipe == whole.recipe
    rows = whole.items.codes(model.items.ids)
    np.testing.assert_allclose(model.weights, whole.weights[np.ix_(rows, rows)], atol=1e-5)


def test_ease_is_that_of_all_logs() -> None:
    clients = parties()
    simulate(EASE(), clients)
    same_weights(clients[1].finished(), LOG)


def test_averaging_learns_the_tastes_and_saves_a_bundle(tmp_path: Path) -> None:
    clients = parties()
    simulate(Embedding(dim=8, epochs=20, threads=1), clients)
    clients[0].finished().save(tmp_path / "model", log=clients[0].log)
    lists = load(tmp_path / "model").recommend([["item-001", "item-002", "item-003"]], 10, keep_seen=True)
    assert (lists.item < 0).sum() == 0
    assert np.mean([int(each[5:]) < ITEMS // 2 for each in lists.to_frame()["item_id"]]) > 0.8


def test_items_known_elsewhere_are_left_out_and_change_no_vector() -> None:
    halves = [LOG.select(LOG.item < 30), LOG.select((LOG.item >= 10) & (LOG.user < 50)), LOG.select(LOG.user >= 50)]
    clients = [Party(f"c{n}", log, SECRET) for n, log in enumerate(halves)]
    simulate(RECIPE, clients)
    small, large = clients[0].finished(), clients[2].finished()
    assert isinstance(small, IALSModel)
    assert isinstance(large, IALSModel)
    assert set(small.items.ids) == set(halves[0].items.ids)
    np.testing.assert_array_equal(small.item_vectors[0], large.item_vectors[large.items.code(small.items.ids[0])])
    history = [halves[0].items.ids[:3].to_list()]
    np.testing.assert_allclose(
        small.vectors(small.histories(history)), large.vectors(large.histories(history)), atol=1e-6
    )


class Watched(Direct):
    """A client whose messages are kept, and which may fail."""

    def __init__(self, party: Party, fail: Callable[[Message], Message | None] = lambda _: None) -> None:
        super().__init__(party)
        self.fail, self.seen = fail, b""

    def ask(self, message: Message, seconds: float) -> Message:
        wrong = self.fail(message)
        answer = super().ask(message, seconds) if wrong is None else wrong
        for each in (message, answer):
            head, tensors = each.encoded()
            self.seen += head.encode() + b"".join(tensors)
        return answer


def run_with(links: list[Watched], recipe: Recipe = RECIPE, least: int = 3) -> tuple[list[str], Traffics]:
    """Train with these links; returns the notes of the server."""
    notes: list[str] = []
    members = [member_of(link, link.ask(Message("hello"), 0)) for link in links]
    group = Group(lambda: members, notes.append, len(links), least, wait=0)
    return notes, Run(recipe, group).train()


def test_neither_ids_nor_users_travel() -> None:
    links = [Watched(client) for client in parties()]
    run_with(links)
    seen = b"".join(link.seen for link in links)
    assert b"c0" in seen
    for text in ("item-0", "user-0", SECRET.decode()):
        assert text.encode() not in seen


def of(kind: str, at: int, answer: Callable[[], Message]) -> Callable[[Message], Message | None]:
    """Fail at the n-th sum of a kind."""
    count = iter(range(1000))

    def fail(message: Message) -> Message | None:
        return answer() if message.facts.get("of") == kind and next(count) == at else None

    return fail


def die() -> Message:
    raise Gone("left")


def sums(array: Any) -> Callable[[], Message]:
    return lambda: Message("sum", {}, (array,))


def no_array() -> Message:
    return Message("sum")


@pytest.mark.parametrize("recipe", [RECIPE, EASE(), Embedding(dim=8, epochs=3, threads=1)], ids=lambda r: r.named())
@pytest.mark.parametrize(
    ("answer", "rule"),
    [
        (die, "client c3: left"),
        (no_array, "client c3: sum '{}' is nothing; it must be uint32"),
        (sums(np.zeros((2, 2), np.uint32)), r"client c3: sum '{}' is uint32 \(2, 2\); it must be uint32"),
        (sums(np.full((2, 2), np.nan)), r"client c3: sum '{}' is float64 \(2, 2\); it must be uint32"),
    ],
)
def test_a_run_goes_on_without_a_client(recipe: Recipe, answer: Callable[[], Message], rule: str) -> None:
    kind = {"ials": "step", "ease": "gram", "embedding": "round"}[recipe.named()]
    clients = parties(clients=4)
    links = [Watched(each) for each in clients[:3]] + [
        Watched(clients[3], of(kind, 1 if kind == "round" else 0, answer))
    ]
    notes, _ = run_with(links, recipe)
    assert any(re.search(rule.format(kind), note) for note in notes), notes
    for client in clients[:3]:
        assert client.finished().recommend([["item-001"]], 3).item.shape == (1, 3)
    if isinstance(recipe, EASE):
        same_weights(clients[0].finished(), LOG.select(LOG.user % 4 < 3))


@pytest.mark.parametrize("when", ["items", "step", "users"])
def test_a_client_that_dies_in_every_epoch_and_comes_back_changes_nothing(when: str) -> None:
    """It dies after it was asked; the epoch is done again with it, as a new connection has its users' vectors."""
    clients = parties()
    died: list[str] = []

    def dies(message: Message) -> Message | None:
        if message.facts.get("of") == when and len(died) < RECIPE.epochs and len(died) <= epoch():
            died.append(when)
            raise Gone("left")
        return None

    def epoch() -> int:
        work = clients[2].work
        assert isinstance(work, IalsWork)
        return max(work.saved)

    links = [Watched(clients[0]), Watched(clients[1]), Watched(clients[2], dies)]
    notes, _ = run_with(links)
    assert len(died) == RECIPE.epochs
    assert sum("is done again: c2 left" in note for note in notes) == RECIPE.epochs
    model = clients[0].finished()
    assert isinstance(model, IALSModel)
    assert distance(model, central(RECIPE)) < 1e-5


def test_a_late_client_joins_and_a_dead_one_is_not_waited_for() -> None:
    clients = parties(clients=4)
    members: list[Member] = []
    notes: list[str] = []

    def note(text: str) -> None:
        notes.append(text)
        if text.startswith("epoch 2 of"):
            members.append(member_of(Direct(clients[3]), Direct(clients[3]).ask(Message("hello"), 0)))

    members += [member_of(link, link.ask(Message("hello"), 0)) for link in map(Direct, clients[:3])]
    Run(RECIPE, Group(lambda: members, note, 3, wait=0)).train()
    assert f"epoch {RECIPE.epochs} of {RECIPE.epochs}: 4 clients" in notes
    model = clients[3].finished()
    assert isinstance(model, IALSModel)
    assert np.abs(model.user_vectors).max() > 0.01


@pytest.mark.parametrize("kind", ["open", "reveal"])
def test_a_client_with_malformed_keys_is_refused_and_told(kind: str) -> None:
    clients = parties(clients=4)
    links = [Watched(each) for each in clients[:3]]
    links.append(Watched(clients[3], lambda asked: Message(kind, {"own": 3}) if asked.what == kind else None))
    notes, _ = run_with(links)
    assert any(note.startswith("client c3: its answer is malformed") for note in notes)
    with pytest.raises(SettingError, match="client c3: its answer is malformed"):
        clients[3].finished()


def test_a_client_does_not_compute_with_arrays_of_other_shapes() -> None:
    clients = parties()
    links = [Watched(each) for each in clients]
    run_with(links)
    for kind, arrays in (
        ("step", [(9, DIM)]),
        ("users", [(9, DIM), (DIM, DIM), (DIM,)]),
        ("items", [(9, 9), (DIM, DIM)]),
    ):
        asked = Message(
            "sum", {"of": kind, "k": 0, "epoch": 4, "long": 1.0}, tuple(np.ones(each, np.float32) for each in arrays)
        )
        assert "it must be (40, 16)" in clients[0].answer(asked).facts["error"]


def test_too_few_clients_end_the_run_with_an_error() -> None:
    clients = parties()
    links = [Watched(clients[0]), Watched(clients[1]), Watched(clients[2], of("step", 0, no_array))]
    with pytest.raises(FederationError, match="2 clients after 0 s; at least 3 must be there"):
        run_with(links)
    with pytest.raises(SettingError, match="client c0: 2 clients after 0 s"):
        clients[0].finished()


def test_a_log_whose_numbers_are_lost_is_named() -> None:
    heavy = replace(parts_of(LOG, 4)[3], weight=np.full(len(parts_of(LOG, 4)[3]), 1e30, np.float32))
    clients = [*parties(clients=4)[:3], Party("heavy", heavy, SECRET)]
    notes, _ = run_with([Watched(each) for each in clients])
    assert "client heavy: weight 1e+30: an event may weigh 1000 at most; scale the weights" in notes
    with pytest.raises(PalateError, match=r"sum, row 1, column 0: nan; sums must be finite"):
        to_words(np.array([[0.0], [np.nan]]), np.ones(2), np.ones(2), 32)


def test_wrong_words_pull_a_sum_no_further_than_its_bound() -> None:
    bound = np.array([3.0, 0.5])
    honest = to_words(np.array([[1.0], [0.25]]), bound, bound, 32)
    for wrong in (np.uint32(2**31), np.uint32(2**32 - 1), np.uint32(77)):
        assert (np.abs(from_words(honest + wrong, bound, 32))[:, 0] <= bound * 1.00001).all()
    cut = from_words(to_words(np.array([[1e30], [-1e30]]), bound / 4, bound, 32), bound, 32)
    np.testing.assert_allclose(cut[:, 0], [0.75, -0.125], rtol=1e-6)


def test_what_cannot_be_federated_is_refused() -> None:
    with pytest.raises(SettingError, match="cannot be trained federated; recipes that can: EASE, Embedding, IALS"):
        simulate(SLIST(), parties())
    with pytest.raises(SettingError, match="must be None in a federated training"):
        simulate(IALS(half_life_days=3), parties())
    with pytest.raises(SettingError, match="secret='5 bytes': must be 16 bytes or more"):
        Party("c", LOG, b"short")


@cache
def agreed(names: tuple[str, ...], most: int) -> dict[str, dict[str, bytes]]:
    keys = {name: KeyPair(name, SECRET) for name in names}
    return {
        name: {peer: keys[name].agreed(peer, keys[peer].public, keys[peer].proof) for peer in near}
        for name, near in neighbours(names, most).items()
    }


def maskers(names: tuple[str, ...], most: int = 20) -> tuple[dict[str, Masks], dict[str, list[str]]]:
    near = neighbours(names, most)
    masks = {name: Masks(name, secrets, b"s", 2) for name, secrets in agreed(names, most).items()}
    sealed = {name: each.sealed() for name, each in masks.items()}
    for name in names:
        masks[name].hold({peer: sealed[peer][name] for peer in near[name]})
    return masks, near


@settings(max_examples=20)
@given(st.sampled_from(["none", "before", "after", "both"]), st.sampled_from([4, 20]), st.integers(0, 2**32 - 1))
def test_masks_cancel_whoever_leaves(leaves: str, most: int, seed: int) -> None:
    names = tuple(f"n{n}" for n in range(7))
    masks, near = maskers(names, most)
    rng = np.random.default_rng(seed)
    words = {name: rng.integers(0, 2**32, (3, 2), np.uint32) for name in names}
    present = [name for name in names if name != "n2" or leaves not in ("before", "both")]
    total = sum((masks[name].masked(1, words[name]) for name in present), np.zeros((3, 2), np.uint32))
    absent = set(names) - set(present)
    told = {n: masks[n].reveal(1, present, absent) for n in present if n != "n5" or leaves not in ("after", "both")}
    found = unmasked(total, present, near, told)
    if leaves == "both" and "n2" in near["n5"]:
        assert found is None  # the seed of that pair is lost: the sum is done again
    else:
        np.testing.assert_array_equal(found, sum((words[name] for name in present), np.zeros((3, 2), np.uint32)))


def test_a_client_guards_what_hides_its_words() -> None:
    masks, _ = maskers(("a", "b", "c"))
    plain = np.zeros((50, 20), np.uint32)
    hidden = masks["a"].masked(0, plain)
    assert len(np.unique(hidden)) > 990
    assert not np.array_equal(hidden, masks["a"].masked(1, plain))
    with pytest.raises(PalateError, match="at least 3 must be"):
        masks["a"].reveal(0, ["a", "b"], ["c"])
    with pytest.raises(PalateError, match="is present or absent"):
        masks["a"].reveal(0, ["a", "b", "c"], ["c"])
    masks["a"].reveal(0, ["a", "b", "c"], [])
    with pytest.raises(PalateError, match="unmasked once"):
        masks["a"].reveal(0, ["a", "b", "c"], [])
    with pytest.raises(PalateError, match="client b: its key was not made with the clients' secret"):
        KeyPair("a", SECRET).agreed("b", KeyPair("b", b"of the server, made up").public, bytes(32))


@given(st.binary(max_size=60), st.lists(st.binary(max_size=9), max_size=2))
def test_malformed_messages_are_errors(head: bytes, tensors: list[bytes]) -> None:
    for text in (head.decode("latin-1"), f'["sum", {{}}, {head.decode("latin-1")!r}]', '["sum", {}, [["<f4", [9]]]]'):
        try:
            message = Message.decoded(text, tensors)
        except PalateError:
            continue
        assert Party("c", LOG, SECRET).answer(message).what in ("error", "hello")


def test_clients_share_the_noise_and_answer_once() -> None:
    log = whole_log(900)
    clients = parties(log, items=log.items, public=True)
    recipe = Private(EASE(), epsilon=30, public=True)
    simulate(recipe, clients)
    model = clients[0].finished()
    assert model.guarantee is not None
    assert model.guarantee.epsilon == 30
    assert model.guarantee.releases == recipe.releases()
    lists = model.recommend([["item-001", "item-002"]], 5)
    near = lists.to_frame()["item_id"].str.slice(5).cast(int) < ITEMS // 2
    assert near.sum() >= 3  # the noise is that of the operating system
    assert clients[0].answer(Message("sum", {"of": "counts", "k": 0})).facts["error"].endswith("holds for one answer")


def test_the_noise_of_three_clients_has_the_variance_that_is_stated() -> None:
    """Chance of a false alarm 1e-6: 4.9 standard deviations of a variance of 20,000 draws."""
    exact, sigma = np.zeros(20_000, np.int64), np.full(20_000, 3000.0)
    total = sum(noised(exact, sigma, 3).values[0] for _ in range(3))
    assert np.var(total) == pytest.approx(3000.0**2, rel=4.9 * np.sqrt(2 / 20_000))


def test_a_private_run_needs_a_public_list() -> None:
    with pytest.raises(FederationError, match="0 clients"):
        simulate(Private(EASE(), public=True), parties())


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a certificate, a secret, logs, and keys of three clients."""
    folder = tmp_path_factory.mktemp("keys")
    write_keys(folder)
    (folder / "secret").write_bytes(SECRET)
    for n, log in enumerate(parts_of(LOG, 3)):
        log.to_frame().write_csv(folder / f"c{n}.csv")
    return folder


def write_keys(folder: Path) -> None:
    from datetime import UTC, datetime, timedelta
    from ipaddress import ip_address

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

    private = Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    server, name, now = generate_private_key(SECP256R1()), x509.Name([]), datetime.now(UTC)
    names = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    built = x509.CertificateBuilder(name, name, server.public_key(), 1, now, now + timedelta(1))
    certificate = built.add_extension(names, critical=True).sign(server, hashes.SHA256())
    (folder / "server.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    (folder / "server.key").write_bytes(server.private_bytes(*private))
    (folder / "clients").mkdir()
    for n in range(3):
        key = Ed25519PrivateKey.generate()
        (folder / f"c{n}.key").write_bytes(key.private_bytes(*private))
        public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        (folder / "clients" / f"c{n}.pem").write_bytes(public)


CLI = [sys.executable, "-c", "from palate.cli import main; main()", "federate"]


@pytest.fixture
def started() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    with ExitStack() as stack:

        def start(*arguments: object) -> subprocess.Popen[str]:
            pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
            process = stack.enter_context(subprocess.Popen([*CLI, *map(str, arguments)], text=True, **pipes))  # type: ignore[call-overload]
            stack.callback(process.kill)
            return process  # type: ignore[no-any-return]

        yield start


def test_three_processes_and_a_server(
    keys: Path, tmp_path: Path, started: Callable[..., subprocess.Popen[str]]
) -> None:
    tls = "--cert", keys / "server.pem", "--tls-key", keys / "server.key", "--clients", keys / "clients"
    own = "--set", f"dim={DIM}", "--set", f"epochs={RECIPE.epochs}", "--set", "threads=1"
    server = started("server", "ials", "--listen", "127.0.0.1:0", *tls, "--json", *own)
    assert server.stderr is not None
    address = server.stderr.readline().split()[-1]
    clients = [
        started(
            *(
                "client",
                "--log",
                keys / f"c{n}.csv",
                "--server",
                address,
                "--secret",
                keys / "secret",
                "--name",
                f"c{n}",
            ),
            *("--out", tmp_path / f"m{n}", "--key", keys / f"c{n}.key", "--ca", keys / "server.pem"),
        )
        for n in range(3)
    ]
    for process in [*clients, server]:
        output, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    assert '"c2"' in output
    whole = central(RECIPE)
    for n in range(3):
        model = load(tmp_path / f"m{n}")
        assert isinstance(model, IALSModel)
        assert distance(model, whole) < 1e-4


def test_a_client_with_a_wrong_key_is_refused(keys: Path) -> None:
    from palate.privacy.federated.flower import Clients, private_key, public_keys, serving, take_part

    notes: list[str] = []
    here = Clients(public_keys(keys / "clients"), notes.append)
    certificates = tuple((keys / name).read_bytes() for name in ("server.pem", "server.pem", "server.key"))
    errors: list[str] = []

    def join(name: str, key: str, wait: float) -> None:
        party = Party(name, parts_of(LOG, 3)[int(key[1])], SECRET)
        try:
            take_part(party, address, certificates[0], private_key(keys / f"{key}.key"), wait)
        except PalateError as error:
            errors.append(str(error))

    with serving("127.0.0.1:0", certificates, here) as address:  # type: ignore[arg-type]
        threads = [
            Thread(target=join, args=each) for each in (("c0", "c1", 0.1), ("c1", "c1", 9.0), ("c2", "c2", 9.0))
        ]
        for thread in threads:
            thread.start()
        threads[0].join()
        Thread(target=join, args=("c0", "c0", 9.0)).start()
        Run(EASE(), Group(here.members, notes.append, 3, wait=20)).train()
    for thread in threads:
        thread.join()
    assert "connection refused: client c0: the signature is not by its key" in notes
    assert len(errors) == 1
    assert "client c0 gives up" in errors[0]
