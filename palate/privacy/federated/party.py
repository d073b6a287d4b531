"""A client: it answers what the server asks, and at the end it has the model."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from palate.data.interactions import Interactions
from palate.data.vocabulary import Vocabulary
from palate.errors import DataError, PalateError, SettingError, check
from palate.models.base import Model, Recipe
from palate.models.registry import as_recipe
from palate.privacy.federated.masks import KeyPair, Masks
from palate.privacy.federated.messages import Message
from palate.privacy.federated.recipes import work_of
from palate.privacy.federated.words import to_words
from palate.privacy.federated.work import HASH, Known, agreed_rows, item_hashes, on_agreed
from palate.privacy.private import Private

SECRET = 16  # bytes of the clients' secret, at least


class Party:
    """A client with a name, its log and the secret that clients share and the server does not know.

    items   more items whose ids are known here, as those of a catalogue
    public  agree on those alone: a list that says nothing of the log
    """

    def __init__(
        self, name: str, log: Interactions, secret: bytes, items: Vocabulary | None = None, *, public: bool = False
    ) -> None:
        check(len(secret) >= SECRET, "secret", f"{len(secret)} bytes", f"must be {SECRET} bytes or more")
        check(0 < len(name) <= 64 and name.isprintable(), "name", name, "must be 1 to 64 printable characters")
        check(not public or items is not None, "public", public, "needs a list of items")
        self.name, self.log, self.secret, self.public = name, log, secret, public
        self.items = log.items if items is None else items if public else log.items.union(items)
        self.hashes = item_hashes(self.items, secret)
        self.result: Model | None = None
        self.failure = ""
        self.recipe: Recipe | None = None
        self.bytes = {"down": 0, "up": 0}
        self.keys = KeyPair(name, secret)
        self.answers: dict[str, Callable[[Message], Message]] = {
            "hello": self.hello,
            "begin": self.begin,
            "open": self.open,
            "hold": self.hold,
            "sum": self.sum,
            "reveal": self.reveal,
            "model": self.model,
            "end": self.end,
        }

    def answer(self, message: Message) -> Message:
        """Return the answer to a message; what this client cannot do is said in an answer "error"."""
        self.bytes["down"] += message.size
        try:
            if message.what not in self.answers:
                raise DataError(f"message {message.what!r}: clients know {', '.join(self.answers)}")
            answer = self.answers[message.what](message)
        except PalateError as error:
            answer = self.failed(str(error))
        except (KeyError, ValueError, TypeError, IndexError, AttributeError) as error:
            answer = self.failed(f"message {message.what!r} is malformed or out of turn: {error!r}")
        self.bytes["up"] += answer.size
        return answer

    def failed(self, rule: str) -> Message:
        """Say what went wrong."""
        self.failure = rule
        return Message("error", {"error": rule})

    def hello(self, message: Message) -> Message:
        """Give name, key and the hashes of the items; a new connection has a new key."""
        self.keys = KeyPair(self.name, self.secret)
        hashes = np.frombuffer(b"".join(self.hashes), np.uint8).reshape(-1, HASH)
        facts = {"name": self.name, "public": self.keys.public.hex(), "proof": self.keys.proof.hex()}
        return Message("hello", facts, (hashes,))

    def begin(self, message: Message) -> Message:
        """Take the recipe and the items agreed on."""
        agreed = [bytes(each) for each in message.arrays[0]]
        self.rows = agreed_rows(self.hashes, agreed)
        recipe = as_recipe(message.facts["recipe"])
        if isinstance(recipe, Private) and not (
            self.public and (self.rows >= 0).all() and len(self.rows) == len(agreed)
        ):
            raise DataError("a private training needs one public list of items, the same at each client")
        if self.recipe is None:  # else this client is back, and its users' vectors are still here
            own = on_agreed(self.log, agreed_rows(item_hashes(self.log.items, self.secret), agreed), agreed)
            self.recipe, self.work = recipe, work_of(recipe, own)
        return Message("begin")

    def open(self, message: Message) -> Message:
        """Agree on masks with the neighbours."""
        facts = message.facts
        agreed = {
            name: self.keys.agreed(name, bytes.fromhex(public), bytes.fromhex(proof))
            for name, (public, proof) in facts["peers"].items()
        }
        sums, least = min(int(facts["sums"]), 64), int(facts["least"])
        self.masks = Masks(self.name, agreed, bytes.fromhex(facts["session"]), sums, least)
        return Message("open", {"sealed": {peer: text.hex() for peer, text in self.masks.sealed().items()}})

    def hold(self, message: Message) -> Message:
        """Keep the neighbours' shares."""
        self.masks.hold({peer: bytes.fromhex(text) for peer, text in message.facts["sealed"].items()})
        return Message("hold")

    def sum(self, message: Message) -> Message:
        """Send this client's part behind masks."""
        facts = message.facts
        part = self.work.part(facts["of"], facts | {"least": self.masks.least}, message.arrays)
        words = to_words(part.values, part.share, part.bound, part.bits)
        return Message("sum", {}, (self.masks.masked(int(facts["k"]), words),))

    def reveal(self, message: Message) -> Message:
        """Give away what hides a sum."""
        facts = message.facts
        seeds = self.masks.reveal(int(facts["k"]), facts["present"], facts["absent"])
        texts = {kind: {peer: seed.hex() for peer, seed in each.items()} for kind, each in seeds.items()}
        return Message("reveal", texts)

    def model(self, message: Message) -> Message:
        """Make the model of the items that are known here."""
        found = np.flatnonzero(self.rows >= 0).astype(np.int32)
        known = Known(self.items.select(found), self.rows[found])
        self.result = self.work.model(message.facts, message.arrays, known)
        return Message("model")

    def end(self, message: Message) -> Message:
        """Take the reason why there is no model."""
        self.failure = str(message.facts.get("error", ""))
        return Message("end")

    def finished(self) -> Model:
        """Return the model. Raises `SettingError` where there is none."""
        if self.result is None:
            reason = self.failure or "the server ended without a model"
            raise SettingError(f"client {self.name}: {reason.removeprefix(f'client {self.name}: ')}")
        return self.result
