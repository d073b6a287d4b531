"""The bodies of answers with lists, which the OpenAPI document describes."""

from __future__ import annotations

from pydantic import BaseModel, Field

from palate.ranking.request import Source


class Recommended(BaseModel):
    """An item of a list."""

    item_id: str
    score: float
    source: Source
    reason: str
    because: list[str] = Field(description="Items of the history that contribute most to the score.")
    attributes: dict[str, object] | None = None
    propensity: float | None = Field(
        None, description="Probability that the item stands at its place, where `explore` is an object."
    )


class ModelOut(BaseModel):
    """The model that answered."""

    version: int
    recipe: str | None = None
    created: str | None = None


class Recommendations(BaseModel):
    """A list, best first."""

    id: str = Field(description="What was shown at which place, for `list_id` of events and impressions.")
    items: list[Recommended]
    model: ModelOut | None = None
    cursor: str | None = Field(None, description="Asks for the next page; null when there is none.")
    reason: str | None = Field(None, description="Why the list is empty.")
    warnings: list[str] = Field([], description="For example an attribute that no item has.")


class UserList(Recommendations):
    """The list of one of several users."""

    user_id: str


class UserLists(BaseModel):
    """The lists of several users, in the order of the request."""

    lists: list[UserList]
