"""What a private fit tells of a log, and what is proven of its model, in a plain sentence."""

from __future__ import annotations

from dataclasses import dataclass

from palate.errors import check, real, whole

MECHANISMS = ("gaussian", "laplace", "sampled gaussian")
UNIT = "one user with all events"
PROTECTS = "the item weights of the model, its popularity and, unless it is public, its list of items"
LEAVES = (
    "the list that a user gets, which is made of that user's own history; histories in a store, a log or a bundle; "
    "time and memory of the fit; what other models, stages or reports say of the same log"
)


@dataclass(frozen=True)
class Release:
    """Something that was told of a log, with noise.

    mechanism  "gaussian" and "laplace": a sum over users plus noise; "sampled gaussian": of users taken with the
               probability `sampling` each time (Poisson)
    noise      standard deviation of the Gaussian, or the scale of Laplace, over the sensitivity: over the most by
               which one user changes the sum, in L2 or L1
    times      how often
    delta      the chance of something else that gives a user away, as an item of one user alone on a list
    what       in words
    """

    mechanism: str
    noise: float
    times: int = 1
    sampling: float = 1.0
    delta: float = 0.0
    what: str = ""

    def __post_init__(self) -> None:
        check(self.mechanism in MECHANISMS, "mechanism", self.mechanism, f"must be one of {', '.join(MECHANISMS)}")
        check(real("noise", self.noise) > 0, "noise", self.noise, "must be above 0")
        whole("times", self.times)
        check(0 < real("sampling", self.sampling) <= 1, "sampling", self.sampling, "must be above 0, at most 1")
        check(0 <= real("delta", self.delta) < 1, "delta", self.delta, "must be 0 or more, below 1")
        alone = self.sampling == 1 or self.mechanism == "sampled gaussian"
        check(alone, "sampling", self.sampling, f"must be 1 for {self.mechanism!r}")


@dataclass(frozen=True)
class Guarantee:
    """(epsilon, delta)-differential privacy of a fit, for logs that differ by one `unit`.

    protects   what of the model it holds for
    leaves     what it does not hold for
    public     whether the list of items counts as known, and is no part of what is protected
    insecure   whether the noise came from a seed: then nothing is protected from those who can guess it
    releases   what the fit told of the log: entries for a `palate.privacy.ledger.Ledger`
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
    def promise(self) -> str:
        """What is proven, in a sentence."""
        if self.insecure:
            return "Nothing is protected: the noise of this model was made from a seed, for tests."
        return (
            f"With or without {self.unit}, any model comes out with nearly the same probability: at most "
            f"e^{self.epsilon:g} times as likely, but for a chance of {self.delta:g}."
        )

    @property
    def sentence(self) -> str:
        """What the guarantee says to a reader: what is proven, for what, and for what not."""
        if self.insecure:
            return self.promise
        items = "The list of items is public. " if self.public else ""
        return f"{self.promise} {items}Protected: {self.protects}. Not protected: {self.leaves}."

    def __str__(self) -> str:
        return self.sentence
