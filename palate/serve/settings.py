"""How a service is run: what its processes are told when they start."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from palate.live.weights import EVENT_WEIGHTS

STORE = "PALATE_STORE"  # of the environment, through which `palate train` may get the URL
VARIABLE = "PALATE_SERVE"  # of the environment, through which worker processes get their settings


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a service needs to know.

    store          path or URL
    models         folder of the versions of the model, None for the one beside an SQLite store
    weights        of event types
    keys           whether requests need an API key
    rate           requests a second of one client, 0 for no limit
    rates          file through which workers count them together
    most_bytes     of a request's body
    allowed_hosts  that a Host header may name; `palate serve` says which, `*` is any
    origins        sites whose pages may call (CORS)
    """

    store: str
    models: str | None = None
    weights: Mapping[str, float] = field(default_factory=lambda: dict(EVENT_WEIGHTS))
    keys: bool = False
    rate: float = 0.0
    rates: str | None = None
    most_bytes: int = 16 << 20
    allowed_hosts: tuple[str, ...] = ("*",)
    origins: tuple[str, ...] = ()

    def to_environment(self) -> None:
        """Leave the settings for the processes that this one starts."""
        os.environ[VARIABLE] = json.dumps(asdict(self))

    @classmethod
    def from_environment(cls) -> Settings:
        """Read what `to_environment` left."""
        told = json.loads(os.environ[VARIABLE])
        return cls(**{**told, **{name: tuple(told[name]) for name in ("allowed_hosts", "origins")}})
