"""The server's side of sums: who is here, who masks with whom, who left, and how many bytes went each way."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from palate.arrays import Doubles
from palate.errors import PalateError
from palate.privacy.federated.masks import LEAST, SEED, SHARE, neighbours, unmasked
from palate.privacy.federated.messages import Gone, Link, Message
from palate.privacy.federated.words import from_words, word_type
from palate.privacy.federated.work import FederationError

NEAR = 20  # neighbours of a client, at most
WORKERS = 32  # clients asked at once
PATIENCE = 30.0  # seconds to wait, once, for a client that left
LAST = 5.0  # seconds that a client has to take why it is refused
T = TypeVar("T")


class Again(FederationError):
    """A sum lost a client, or too few are left: what it was for is to be done again."""


@dataclass(eq=False)
class Member:
    """A client that joined: its key for masks, the hashes of its items, and its bytes down and up by kind."""

    name: str
    link: Link
    public: bytes
    proof: bytes
    hashes: list[bytes]
    down: dict[str, int] = field(default_factory=dict)
    up: dict[str, int] = field(default_factory=dict)

    def ask(self, message: Message, seconds: float) -> Message:
        """Return the answer, its bytes counted."""
        kind = str(message.facts.get("of", message.what))
        self.down[kind] = self.down.get(kind, 0) + message.size
        answer = self.link.ask(message, seconds)
        self.up[kind] = self.up.get(kind, 0) + answer.size
        if answer.what == "error":
            raise FederationError(f"client {self.name}: {str(answer.facts.get('error'))[:300]}")
        return answer


@dataclass(eq=False)
class Group:
    """The clients of a run.

    joined   returns the clients that are connected, a new object for each connection
    least    clients without which nothing is summed; `expected` are waited for, `wait` seconds at most
    seconds  for an answer
    """

    joined: Callable[[], list[Member]]
    note: Callable[[str], object] = str
    expected: int = LEAST
    least: int = LEAST
    wait: float = 60.0
    seconds: float = 60.0
    members: list[Member] = field(default_factory=list)
    seen: list[Member] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)
    awaited: set[str] = field(default_factory=set)  # here at the last session
    near: dict[str, list[str]] = field(default_factory=dict)  # of the session
    sums: int = 0  # of the session, so far

    def gather(self, expected: int) -> bool:
        """Take all who are here, after a wait for as many as expected; whether they are others than before."""
        began = time.monotonic()
        while True:
            here = [each for each in self.joined() if each.name not in self.refused]
            away = self.awaited - self.refused - {each.name for each in here}
            limit = self.wait if len(here) < expected else min(self.wait, PATIENCE) if away else -1.0
            if time.monotonic() - began > limit:
                break
            time.sleep(0.02)
        self.awaited = {each.name for each in here}
        if len(here) < self.least:
            raise FederationError(f"{len(here)} clients after {self.wait:g} s; at least {self.least} must be there")
        changed = {id(each) for each in here} != {id(each) for each in self.members}
        self.members = here
        self.seen += [each for each in here if each not in self.seen]
        return changed

    @contextmanager
    def session(self, sums: int) -> Iterator[bool]:
        """Agree on masks for so many sums with all who are here; yields whether they are others than before."""
        changed = self.gather(self.least if self.members else max(self.expected, self.least))
        self.near = neighbours([each.name for each in self.members], NEAR)
        keys = {each.name: [each.public.hex(), each.proof.hex()] for each in self.members}
        session, self.sums = os.urandom(16), 0

        def opening(member: Member) -> Message:
            peers = {name: keys[name] for name in self.near[member.name]}
            facts = {"session": session.hex(), "sums": sums, "least": self.least, "peers": peers}
            return Message("open", facts)

        sealed = self.refuse_malformed(self.all(opening), self.sealed)
        self.complete(keys, sealed)
        shares = {name: {peer: sealed[peer][name] for peer in self.near[name]} for name in keys}
        self.complete(keys, self.all(lambda member: Message("hold", {"sealed": shares[member.name]})))
        yield changed

    def sealed(self, name: str, answer: Message) -> dict[str, str]:
        """Return the shares that a client sealed for its neighbours."""
        return {peer: str(answer.facts["sealed"][peer]) for peer in self.near[name]}

    def seeds_of(self, name: str, answer: Message) -> dict[str, dict[str, bytes]]:
        """Return the seeds and shares that a client gave away."""
        kinds = {"own": SEED, "pairs": SEED, "shares": SHARE}
        found = {kind: {peer: bytes.fromhex(text) for peer, text in answer.facts[kind].items()} for kind in kinds}
        if name not in found["own"] or any(
            len(seed) != kinds[kind] for kind in kinds for seed in found[kind].values()
        ):
            raise ValueError("seeds and shares have other lengths")
        return found

    def complete(self, names: Any, answers: Mapping[str, object]) -> None:
        """Raise `Again` where one of these names is missing."""
        lost = sorted(set(names) - set(answers))
        if lost:
            raise Again(f"{', '.join(lost)} left")

    def all(self, message: Callable[[Member], Message]) -> dict[str, Message]:
        """Ask all members at once; those who leave, or whose answers are errors, are members no more."""
        members = list(self.members)
        with ThreadPoolExecutor(min(WORKERS, max(1, len(members)))) as pool:
            answers = list(pool.map(lambda member: self.one(member, message(member)), members))
        found = {member.name: answer for member, answer in zip(members, answers, strict=True) if answer is not None}
        self.members = [member for member in members if member.name in found]
        return found

    def one(self, member: Member, message: Message) -> Message | None:
        """Return a member's answer, None where there is none; one that errs is asked no more."""
        try:
            return member.ask(message, self.seconds)
        except Gone as error:
            self.note(f"client {member.name}: {error}")
        except PalateError as error:
            self.refuse(member, str(error))
        return None

    def refuse(self, member: Member, rule: str) -> None:
        """Go on without a client for the rest of the run, and tell it why."""
        text = rule if rule.startswith("client ") else f"client {member.name}: {rule}"
        self.refused.add(member.name)
        self.note(text)
        with suppress(PalateError):
            member.link.ask(Message("end", {"error": text}), min(self.seconds, LAST))
        member.link.close()

    def refuse_malformed(self, answers: dict[str, Message], read: Callable[[str, Message], T]) -> dict[str, T]:
        """Return what is read out of answers by name; members whose answers cannot be read are refused."""
        found = {}
        for member in list(self.members):
            try:
                found[member.name] = read(member.name, answers[member.name])
            except (KeyError, ValueError, TypeError, AttributeError) as error:
                self.refuse(member, f"its answer is malformed: {error!r}")
                self.members.remove(member)
        return found

    def sum(self, asked: Message, shape: tuple[int, int], bound: Doubles, bits: int, *, whole: bool) -> Doubles:
        """Return the sum of the parts (R, C) of all members, within ± bound (R,).

        Raises `Again` where too few are left, and where one left if the sum must be `whole`.
        """
        k, before = self.sums, [each.name for each in self.members]
        self.sums += 1
        answers = self.all(lambda _: Message("sum", asked.facts | {"of": asked.what, "k": k}, asked.arrays))
        kind = word_type(bits)
        total = np.zeros(shape, kind)
        for member in list(self.members):
            words = answers[member.name].arrays
            fits = len(words) == 1 and words[0].dtype == kind and words[0].shape == shape
            if fits:
                total += words[0]
            else:
                sent = ", ".join(f"{each.dtype} {each.shape}" for each in words) or "nothing"
                self.refuse(member, f"sum {asked.what!r} is {sent}; it must be {kind} {shape}")
                self.members.remove(member)
                del answers[member.name]
        if whole:
            self.complete(before, answers)
        if len(answers) < self.least:
            raise Again(f"{len(answers)} clients are left; at least {self.least} must be")
        return from_words(self.unmask(k, total, list(answers)), bound, bits)

    def unmask(self, k: int, total: Any, present: list[str]) -> Any:
        """Have those present give away what hides the sum, and no more."""
        lists = {"k": k, "present": present, "absent": sorted(set(self.near) - set(present))}
        revealed = self.refuse_malformed(self.all(lambda _: Message("reveal", lists)), self.seeds_of)
        try:
            words = unmasked(total, present, self.near, revealed)
        except (KeyError, ValueError) as error:
            raise Again(f"what hides a sum does not fit together: {error!r}") from None
        if words is None:
            raise Again("too few are left to unmask a sum")
        return words

    def announce(self, message: Message, wait: float = 0.0) -> list[str]:
        """Send all a message, and for some seconds those who took part and are not here; returns who took it."""
        end, taken = time.monotonic() + wait, set[str]()
        while True:
            self.members = [each for each in self.joined() if each.name not in self.refused | taken]
            self.seen += [each for each in self.members if each not in self.seen]
            taken.update(self.all(lambda _: message))
            if {each.name for each in self.seen} <= taken | self.refused or time.monotonic() > end:
                return sorted(taken)
            time.sleep(0.05)
