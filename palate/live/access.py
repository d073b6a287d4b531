"""Everything that is known of one user: what the GDPR calls access (article 15) and portability (article 20)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from palate.data.contexts import parsed
from palate.data.times import to_iso
from palate.errors import PalateError
from palate.models.registry import load_with_log
from palate.privacy.receipts import Document, names
from palate.store.events import Recorded, Store
from palate.store.versions import Versions

PAGE = 10_000  # events read at once


def known_of(store: Store, user_id: str, limit: int | None = None, before: int | None = None) -> Document:
    """Return what a store knows of a user as JSON has it: attributes, and events, newest first.

    limit   events at most, None for all; the next page starts `before` the `next` of this one
    """
    profile = store.profiles.get(user_id)
    found = list(_events(store, user_id, limit, before))
    return {
        "user_id": user_id,
        "known": profile is not None,
        "attributes": {} if profile is None else dict(profile.attributes),
        **events_of(found, limit),
    }


def events_of(found: Sequence[Recorded], limit: int | None) -> Document:
    """Return events as JSON has them, and where the next page starts, None where these are fewer than `limit`."""
    return {
        "events": [_as_dict(each) for each in found],
        "next": found[-1].seq if limit is not None and len(found) == limit else None,
    }


def receipts_of(store: Store, user_id: str) -> list[Document]:
    """Return the receipts about a user; the time grows with the number of all."""
    return [each for each in store.receipts.all() if names(each, user_id)]


def in_models(versions: Versions, user_id: str) -> list[Document]:
    """Return the versions of the model that keep something of a user alone, and what; or that cannot be read."""
    found = []
    for version in versions.list():
        try:
            model, log = load_with_log(versions.path(version.number))
        except PalateError as error:
            found.append({"version": version.number, "unreadable": str(error)})
            continue
        kept = [
            *(["vector or history of the model"] if user_id in model.known_users() else ()),
            *(["history kept beside the model"] if log is not None and user_id in log.users.texts() else ()),
        ]
        if kept:
            found.append({"version": version.number, "recipe": type(model.recipe).__name__, "keeps": kept})
    return found


def _events(store: Store, user_id: str, limit: int | None, before: int | None) -> Iterator[Recorded]:
    if limit is not None:
        yield from store.events(user_id, limit, before)
        return
    place = before
    while part := store.events(user_id, PAGE, place):
        yield from part
        place = part[-1].seq


def _as_dict(event: Recorded) -> Document:
    return {
        "event_id": event.event_id,
        "user_id": event.user_id,
        "item_id": event.item_id,
        "event_type": event.event_type,
        "timestamp": to_iso(event.time),
        "weight": event.weight,
        **({} if event.context is None else {"context": parsed(event.context)}),
    }
