"""The settings of a service, and how its processes get them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from palate.live.weights import EVENT_WEIGHTS

STORE = "PALATE_STORE"  # environment variable with the URL for `palate train`
VARIABLE = "PALATE_SERVE"  # environment variable with the settings for worker processes


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of a service.

    store          path or URL
    models         folder of the versions of the model, None for the one beside an SQLite store
    weights        of each event type
    keys           whether requests need an API key
    rate           requests a second of one client, 0 for no limit
    rates          file that workers share to count these requests
    most_bytes     of a request's body
    allowed_hosts  hosts that a Host header may name; `*` is any
    recipe         what trainings fit, as options of `palate train`
    retrain        when to train again, as the option says it; None for never
    without_model  whether it is ready with events and no model
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
    recipe: tuple[str, ...] = ("--recipe", "auto", "--search", "10%")
    retrain: str | None = None
    without_model: bool = False

    def to_environment(self) -> None:
        """Store the settings for the processes that this one starts."""
        os.environ[VARIABLE] = json.dumps(asdict(self))

    @classmethod
    def from_environment(cls) -> Settings:
        """Read the settings that `to_environment` stored."""
        fields = json.loads(os.environ[VARIABLE])
        return cls(**{**fields, **{name: tuple(fields[name]) for name in ("allowed_hosts", "origins", "recipe")}})
