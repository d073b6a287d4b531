"""The recipes that can be trained federated, and the settings that would need more than sums."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from palate.data.interactions import Interactions
from palate.errors import SettingError, check
from palate.models.base import Recipe
from palate.models.ease import EASE
from palate.models.embedding import Embedding
from palate.models.ials import IALS
from palate.privacy.federated.averaging import AveragingTraining, AveragingWork
from palate.privacy.federated.ease import EaseTraining, EaseWork
from palate.privacy.federated.group import Group
from palate.privacy.federated.ials import IalsTraining, IalsWork
from palate.privacy.federated.messages import Message
from palate.privacy.federated.noisy import PrivateTraining, PrivateWork
from palate.privacy.federated.work import Work
from palate.privacy.private import Private


class Training(Protocol):
    """What the server does for a recipe."""

    def run(self, group: Group) -> Message:
        """Train and return the message of the model."""
        ...


Ways = tuple[Callable[[Any, Interactions], Work], Callable[[Any, int], Training], Mapping[str, object]]
WAYS: Mapping[type[Recipe], Ways] = {
    EASE: (EaseWork, EaseTraining, {"binary": True, "neighbours": None, "half_life_days": None}),
    Embedding: (AveragingWork, AveragingTraining, {}),
    IALS: (IalsWork, IalsTraining.of, {"half_life_days": None}),
    Private: (PrivateWork, PrivateTraining, {"public": True, "fields": (), "seed": None}),
}


def check_federated(recipe: Recipe) -> None:
    """Raise `SettingError` for a recipe, or a setting of one, that cannot be trained federated."""
    if type(recipe) not in WAYS:
        names = ", ".join(sorted(each.__name__ for each in WAYS))
        raise SettingError(
            f"recipe={type(recipe).__name__}(): cannot be trained federated; recipes that can: {names}"
        )
    if isinstance(recipe, Private) and (recipe.by_steps or recipe.counts_alone):
        rule = (
            "cannot be trained federated; clients answer once, for the Gram matrix of EASE, IALS, ItemKNN and SLIST"
        )
        raise SettingError(f"recipe={type(recipe.inner).__name__}(): private, {rule}")
    for name, value in WAYS[type(recipe)][2].items():
        own = getattr(recipe, name)
        check(own == value, f"{type(recipe).__name__}.{name}", own, f"must be {value!r} in a federated training")


def work_of(recipe: Recipe, log: Interactions) -> Work:
    """Return a client's side, over a log on the items agreed on."""
    check_federated(recipe)
    return WAYS[type(recipe)][0](recipe, log)


def training_of(recipe: Recipe, items: int) -> Training:
    """Return the server's side, over so many items."""
    check_federated(recipe)
    return WAYS[type(recipe)][1](recipe, items)
