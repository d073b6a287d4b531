"""What is proven of a private model, in a plain sentence."""

from __future__ import annotations

from dataclasses import dataclass

from palate.privacy.ledger import Ledger, Release

UNIT = "one user with all events"
PROTECTS = "the item weights of the model, its popularity and, unless it is public, its list of items"
LEAVES = (
    "the list that a user gets, which is made of that user's own history; histories in a store, a log or a bundle; "
    "time and memory of the fit; what other models, stages or reports say of the same log"
)


@dataclass(frozen=True)
class Guarantee:
    """(epsilon, delta)-differential privacy of a fit, for logs that differ by one `unit`.

    protects   what of the model it holds for
    leaves     what it does not hold for
    public     whether the list of items counts as known, and is no part of what is protected
    insecure   whether the noise came from a seed: then nothing is protected from those who can guess it
    releases   the entries of the ledger
    """

    epsilon: float
    delta: float
    releases: tuple[Release, ...]
    public: bool = False
    insecure: bool = False
    unit: str = UNIT
    protects: str = PROTECTS
    leaves: str = LEAVES

    @property
    def ledger(self) -> Ledger:
        """The releases as a ledger."""
        return Ledger(self.releases)

    @property
    def sentence(self) -> str:
        """What the guarantee says to a reader."""
        if self.insecure:
            return "Nothing is protected: the noise of this model was made from a seed, for tests."
        items = "The list of items is public. " if self.public else ""
        return (
            f"With or without {self.unit}, any model comes out with nearly the same probability: at most "
            f"e^{self.epsilon:g} times as likely, but for a chance of {self.delta:g}. {items}"
            f"Protected: {self.protects}. Not protected: {self.leaves}."
        )

    def __str__(self) -> str:
        return self.sentence
