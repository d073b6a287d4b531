"""A run, from the first client to the model: the server's side, whatever carries the messages."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from palate.errors import PalateError
from palate.models.base import Recipe
from palate.privacy.federated.group import Group, Member
from palate.privacy.federated.messages import Link, Message
from palate.privacy.federated.party import Party
from palate.privacy.federated.recipes import check_federated, training_of
from palate.privacy.federated.work import HASH, FederationError

LINGER = 60.0  # seconds that the model waits for a client that left
MOST_ITEMS = 2_000_000  # of one client


@dataclass(frozen=True)
class Traffic:
    """Bytes of a client in a run, by what was asked: all arrays that went down to it, and up from it."""

    down: dict[str, int]
    up: dict[str, int]


Traffics = dict[str, Traffic]


def traffic_of(members: Iterable[Member]) -> Traffics:
    """Return the bytes by name, of all connections of a client together."""
    found: Traffics = {}
    for each in members:
        mine = found.setdefault(each.name, Traffic({}, {}))
        for total, own in ((mine.down, each.down), (mine.up, each.up)):
            total.update({kind: total.get(kind, 0) + size for kind, size in own.items()})
    return found


def member_of(link: Link, hello: Message) -> Member:
    """Return the member that an answer to "hello" speaks of. Raises `FederationError` for a malformed one."""
    try:
        facts, (hashes,) = hello.facts, hello.arrays
        if (
            hashes.dtype != np.uint8
            or hashes.ndim != 2
            or hashes.shape[1] != HASH
            or not 0 < len(hashes) <= MOST_ITEMS
        ):
            raise ValueError(f"hashes of items are {hashes.dtype} {hashes.shape}, {MOST_ITEMS:,} at most")
        keys = bytes.fromhex(facts["public"]), bytes.fromhex(facts["proof"])
        return Member(str(facts["name"])[:64], link, *keys, [bytes(each) for each in hashes])
    except (KeyError, ValueError, TypeError) as error:
        raise FederationError(f"a client's hello is malformed: {error!r}") from None


def agreed_items(members: Iterable[Member]) -> list[bytes]:
    """Return the hashes of the items of all members, in an order that says nothing."""
    return sorted({each for member in members for each in member.hashes})


class Run:
    """A run of the server: clients that come late are told what was agreed on, and join at the next session."""

    def __init__(self, recipe: Recipe, group: Group) -> None:
        check_federated(recipe)
        self.recipe, self.group = recipe, group
        self.agreed: list[bytes] = []
        self.begun: set[int] = set()  # ids of members

    def joined(self) -> list[Member]:
        """Return those who know what was agreed on."""
        here = self.connected()
        return [each for each in here if not self.agreed or self.begins(each)]

    def begins(self, member: Member) -> bool:
        """Tell a new member the recipe and the items; False where it left or cannot go along."""
        if id(member) in self.begun:
            return True
        if member.name in self.group.refused:
            return False
        hashes = np.frombuffer(b"".join(self.agreed), np.uint8).reshape(-1, HASH)
        answer = self.group.one(member, Message("begin", {"recipe": self.recipe.as_dict()}, (hashes,)))
        if answer is not None:
            self.begun.add(id(member))
        return answer is not None

    def train(self) -> Traffics:
        """Wait for clients, train, and leave a model at each client; returns each client's bytes."""
        group, self.connected = self.group, self.group.joined
        group.joined = self.joined
        try:
            group.gather(max(group.expected, group.least))
            self.agreed = agreed_items(group.members)
            group.note(f"{len(group.members)} clients, {len(self.agreed):,} items")
            group.members = []
            message = training_of(self.recipe, len(self.agreed)).run(group)
        except PalateError as error:
            group.announce(Message("end", {"error": str(error)}))
            raise
        taken = group.announce(message, min(group.wait, LINGER))
        group.note(f"the model is at {', '.join(taken)}")
        return traffic_of(group.seen)


class Direct:
    """A client in the same process."""

    def __init__(self, party: Party) -> None:
        self.party = party

    def ask(self, message: Message, seconds: float) -> Message:
        """Return the answer, by way of its bytes."""
        return Message.decoded(*self.party.answer(Message.decoded(*message.encoded())).encoded())

    def close(self) -> None:
        """Do nothing."""


def simulate(recipe: Recipe, parties: Iterable[Party], note: Callable[[str], object] = str) -> Traffics:
    """Train with clients in this process, as many as there are; each has its `finished` model afterwards."""
    members = [member_of(link, link.ask(Message("hello"), 0)) for link in map(Direct, parties)]
    return Run(recipe, Group(lambda: members, note, len(members), wait=0)).train()
