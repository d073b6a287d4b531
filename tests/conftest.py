"""Small, lopsided logs: 30 users and 20 items, so that swapped axes fail."""

from __future__ import annotations

import pytest
from hypothesis import settings

from palate.data.interactions import Interactions
from palate.testing.logs import ITEMS, USERS, block_events, catalogue_of, log_of

__all__ = ["ITEMS", "USERS", "block_events", "catalogue_of", "log_of"]

settings.register_profile("palate", deadline=None)  # a first call compiles
settings.load_profile("palate")


@pytest.fixture
def block_log() -> Interactions:
    return log_of(block_events())
