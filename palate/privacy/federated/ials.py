"""Federated iALS: the vectors of users stay with the clients; sums over users, items x dim, travel.

An epoch is that of `palate.models.ials`, with the same steps from the same start:

    server → clients            clients → server                                            numbers each way
    items q, turned             b_i = Σ_u max(w, 0) x_u  and  A q_i = Σ_u |w| (x_u·q_i) x_u   I D down, 2 I D up
    directions p, each step     A p_i                                                       I D down, I D up
    items, solved and turned    Gram matrix of the users, solved for these items            I D down, D² up

So (steps + 2) I D numbers of 4 bytes go each way, however many users there are, and D² beside them. The users are
turned as the items are: the server sends the axes, D² numbers, with what is turned by them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from palate.arrays import Doubles, Floats
from palate.compute.threads import cores
from palate.data.interactions import Interactions
from palate.data.ragged import Ragged
from palate.data.vocabulary import Vocabulary
from palate.errors import DataError
from palate.models.ials import EXACT, IALS, IALSModel
from palate.models.user_sums import UserSums, gram_of, solved_items
from palate.privacy.federated.group import Again, Group
from palate.privacy.federated.messages import Message
from palate.privacy.federated.work import Known, Part, Totals, totals_width

LONG = 8.0  # times the root mean square length of the users' vectors: within it no sum is cut
GRAM = 1e6  # square of the longest vector that a Gram matrix counts in full
ATTEMPTS = 20  # of one epoch


def user_starts(users: Vocabulary, recipe: IALS) -> Floats:
    """First vectors (U, D) of users, by seed and id: the same wherever a user is."""
    out = np.empty((len(users), recipe.dim), np.float32)
    for row, each in enumerate(users.ids.cast(str).to_list()):
        digest = hashlib.sha256(f"{recipe.seed}\0{each}".encode()).digest()
        out[row] = np.random.Generator(np.random.SFC64(list(digest[:16]))).standard_normal(recipe.dim, np.float32)
    return out * np.float32(recipe.init_std / np.sqrt(recipe.dim))


def item_starts(items: int, recipe: IALS) -> Floats:
    """First vectors (I, D) of the items agreed on, in their order."""
    rng = np.random.default_rng(recipe.seed)
    size = np.float32(recipe.init_std / np.sqrt(recipe.dim))
    return rng.standard_normal((items, recipe.dim), np.float32) * size


class IalsWork:
    """A client's side: `saved` holds its users' vectors (U, D) before each epoch that may be done again."""

    def __init__(self, recipe: IALS, log: Interactions) -> None:
        self.recipe, self.log = recipe, log
        self.totals = Totals.of(log)
        self.saved: dict[int, Floats] = {0: user_starts(log.users, recipe)}
        self.users = self.saved[0]
        self.sizes = np.zeros(0)

    def part(self, what: str, facts: Mapping[str, Any], arrays: tuple[NDArray[Any], ...]) -> Part:
        """Answer "totals", "gram", "items", "step" and "users"."""
        if what == "totals":
            return self.totals.part()
        if what == "gram":
            return self.begin(facts, *arrays)
        if what == "items":
            return self.both(facts, *arrays)
        if what == "step":
            return self.applied(arrays[0], self.long)
        if what == "users":
            return self.solve(facts, *arrays)
        raise DataError(f"{what!r} is asked for; an IALS client answers totals, gram, items, step and users")

    def begin(self, facts: Mapping[str, Any], sizes: Doubles, items: Floats, spectrum: Floats) -> Part:
        """Take what the epochs need to know; a client that comes late solves its users for the items there are."""
        fit(sizes, (len(self.log.items),))
        self.recipe = replace(self.recipe, unseen_weight=facts["unseen_weight"], l2=facts["l2"])
        self.unit, self.sizes, self.count = facts["unit"], sizes, facts["users"]
        self.sums = self.summed()
        self.own = self.totals.sizes / self.unit
        if facts["epoch"] not in self.saved:
            self.saved[facts["epoch"]] = self.solved(np.zeros_like(self.users), items, spectrum, EXACT)
        return self.gram(self.saved[facts["epoch"]])

    def summed(self) -> UserSums:
        """Return the events with their weights in units of the training, and the penalties of the users."""
        weight = (self.log.weight / self.unit).astype(np.float32)
        ridge = self.recipe.ridge(self.log.start, weight, len(self.log.items))
        rows = Ragged(self.log.start, self.log.item, weight)
        return UserSums.of(rows, len(self.log.items), ridge, self.recipe.threads or cores())

    def both(self, facts: Mapping[str, Any], items: Floats, axes: Floats) -> Part:
        """Return b and A q, (2 I, D)."""
        fit(items, (len(self.log.items), self.recipe.dim))
        self.users, self.long = self.saved[facts["epoch"]] @ axes, facts["long"]
        b = self.sums.liked(self.users)
        second = self.applied(items, self.long)
        share, bound = self.own * self.long, self.sizes * self.long
        return Part(
            np.concatenate([b, second.values]),
            np.concatenate([share, second.share]),
            np.concatenate([bound, second.bound]),
        )

    def applied(self, p: Floats, long: float) -> Part:
        """Return A p_i = Σ_u |w| (x_u·p_i) x_u, (I, D), which is Σ |w| long² |p_i| at most."""
        fit(p, (len(self.log.items), self.recipe.dim))
        most = long**2 * np.linalg.norm(p.astype(np.float64), axis=1)
        return Part(self.sums.applied(self.users, p), self.own * most, self.sizes * most)

    def solve(self, facts: Mapping[str, Any], items: Floats, axes: Floats, spectrum: Floats) -> Part:
        """Solve the users for the items, and return their Gram matrix."""
        users = self.solved(self.users @ axes, items, spectrum, self.recipe.steps)
        epoch = facts["epoch"]
        self.saved = {epoch: self.saved[epoch], epoch + 1: users}
        return self.gram(users)

    def solved(self, users: Floats, items: Floats, spectrum: Floats, steps: int) -> Floats:
        """Return better vectors of users, (U, D)."""
        D = self.recipe.dim
        fit(items, (len(self.log.items), D))
        fit(spectrum, (D,))
        fit(users, (len(self.log.users), D))
        return self.sums.solved(users, items, spectrum, steps)

    def gram(self, users: Floats) -> Part:
        """Return the Gram matrix of the users, (D, D)."""
        most = np.full(users.shape[1], GRAM)
        return Part(gram_of(users), most * len(users), most * self.count, 64)

    def model(self, facts: Mapping[str, Any], arrays: tuple[NDArray[Any], ...], known: Known) -> IALSModel:
        """Return the model of the items known here; α makes all items weigh what they weighed in the training."""
        items, spectrum, likes = arrays
        recipe = replace(self.recipe, unseen_weight=facts["unseen_weight"], l2=facts["l2"])
        users = self.saved.get(facts["epoch"])
        if users is None:
            self.recipe, self.unit = recipe, facts["unit"]
            self.sums = self.summed()
            users = self.solved(np.zeros_like(self.users), items, spectrum, EXACT)
        alpha = facts["unseen_weight"] * len(items) / len(known.rows)
        own = replace(recipe, unseen_weight=alpha)
        rows = known.rows
        return IALSModel(
            own,
            known.items,
            self.log.users,
            np.array(users),
            np.array(items[rows]),
            likes[rows].astype(np.float32),
            np.array(spectrum),
            facts["unit"],
        )


def fit(array: NDArray[Any], shape: tuple[int, ...]) -> None:
    """Raise `DataError` unless an array of the server has the shape: kernels do not look."""
    if array.shape != shape:
        raise DataError(f"array of the server: has the shape {array.shape}; it must be {shape}")


@dataclass
class IalsTraining:
    """The server's side: items (I, D) in axes where those of the users are, and α Σ q qᵀ is `spectrum` (D,)."""

    recipe: IALS
    items: Floats
    epoch: int = 0
    spectrum: Floats = field(default_factory=lambda: np.zeros(0, np.float32))
    gram: Doubles | None = None  # of the users, once a full group has given it
    unit: float = 1.0
    totals: Totals | None = None

    @classmethod
    def of(cls, recipe: IALS, items: int) -> IalsTraining:
        """Begin."""
        return cls(recipe, item_starts(items, recipe), spectrum=np.zeros(recipe.dim, np.float32))

    def run(self, group: Group) -> Message:
        """Train and return the message of the model; an epoch that loses a client is done again without it."""
        attempts = 0
        while self.epoch < self.recipe.epochs:
            try:
                with group.session(self.recipe.steps + 4) as changed:
                    if changed or self.gram is None:
                        self.begin(group)
                    self.one(group)
                attempts = 0
            except Again as lost:
                attempts += 1
                self.gram = None
                group.note(f"epoch {self.epoch + 1} is done again: {lost}")
                if attempts == ATTEMPTS:
                    raise
        assert self.totals is not None
        facts = self.facts()
        return Message("model", facts, (self.items, self.spectrum, self.totals.likes))

    def facts(self) -> dict[str, Any]:
        """Return what clients need to know."""
        assert self.totals is not None
        named = {"unseen_weight": self.recipe.unseen_weight, "l2": self.recipe.l2, "unit": self.unit}
        return named | {"epoch": self.epoch, "users": self.totals.users}

    def begin(self, group: Group) -> None:
        """Sum up the logs of those who are here, and their users' vectors."""
        I = len(self.items)
        every = np.full(1, 2.0**43)
        self.totals = Totals.read(group.sum(Message("totals"), (1, totals_width(I)), every, 64, whole=True))
        if not self.epoch:
            users, events = round(self.totals.users), round(self.totals.events)
            self.recipe = self.recipe.resolved_for(users, I, events, self.totals.noise)
            self.unit = self.totals.unit
        late = self.items if self.epoch else self.items[:0]
        asked = Message("gram", self.facts(), (self.totals.sizes / self.unit, late, self.spectrum))
        self.gram = group.sum(asked, 2 * (self.recipe.dim,), self.gram_bound, 64, whole=True)

    @property
    def gram_bound(self) -> Doubles:
        """Bound of the rows of a Gram matrix of users, (D,)."""
        assert self.totals is not None
        return np.full(self.recipe.dim, GRAM * self.totals.users)

    def one(self, group: Group) -> None:
        """Improve the items, then the users; nothing of the training changes before all has come in."""
        assert self.gram is not None
        assert self.totals is not None
        recipe, (I, D) = self.recipe, self.items.shape
        long = LONG * float(np.sqrt(max(np.trace(self.gram), 1e-30) / self.totals.users))
        sizes = self.totals.sizes / self.unit
        ridge = recipe.ridge(np.arange(I + 1, dtype=np.int64), sizes.astype(np.float32), round(self.totals.users))

        def residual(x: Floats, axes: Floats) -> Doubles:
            most = sizes * long
            bound = np.concatenate([most, most * long * np.linalg.norm(x.astype(np.float64), axis=1)])
            asked = Message("items", {"epoch": self.epoch, "long": long}, (x, axes))
            b, Ax = np.split(group.sum(asked, (2 * I, D), bound, 32, whole=True), 2)
            return b - Ax

        def apply(p: Floats) -> Doubles:
            most = sizes * long**2 * np.linalg.norm(p.astype(np.float64), axis=1)
            return group.sum(Message("step", {}, (p,)), (I, D), most, 32, whole=True)

        new = solved_items(self.items, self.gram, recipe.unseen_weight or 0.0, ridge, recipe.steps, residual, apply)
        asked = Message("users", {"epoch": self.epoch}, (new.items, new.turn, new.spectrum))
        gram = group.sum(asked, (D, D), self.gram_bound, 64, whole=True)
        self.items, self.spectrum, self.gram, self.epoch = new.items, new.spectrum, gram, self.epoch + 1
        group.note(f"epoch {self.epoch} of {recipe.epochs}: {len(group.members)} clients")
