"""Events of an import: those of any log, and those of an export, exactly as they were stored."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from palate.arrays import AnyArray, Bools, Doubles, Floats, Ints, Longs
from palate.data.batch import Batch
from palate.data.coder import Coder
from palate.data.columns import LOG
from palate.data.contexts import PREFIX, RULE, as_values, joined
from palate.data.faults import Faults
from palate.data.interactions import Interactions
from palate.data.moments import moments
from palate.data.readers import Grown, read_log
from palate.data.sources import batches, place_of
from palate.data.values import LARGEST_WEIGHT, RULES, as_number, as_text, as_truth
from palate.errors import DataError
from palate.store.exported import NoExport, Reading, places_of
from palate.store.recording import MOST_CHARACTERS, MOST_TYPE_CHARACTERS, check_text

# Columns of an export by role. Those of the first four are always there; weight_given or event_id marks an export.
KEYS = {"user": "user_id", "item": "item_id", "event": "event_type", "time": "timestamp"}
WEIGHT, SIGNED = "weight", "signed_weight"  # the second where a weight is below 0, which a log's weights must not be
GIVEN, EVENT_ID, CONTEXT = "weight_given", "event_id", "context"
EVENT_IDS = {"event_id": ("eventid",)}  # aliases
ROLE = f"{PREFIX}{CONTEXT}"
EXPORT_RULES = RULES | {
    "weight": f"weights must be numbers of a size up to {LARGEST_WEIGHT:.4g}",
    "given": "must be true or false",
    "event_id": "event ids must be text",
    ROLE: RULE,
}
LENGTHS = {"user": MOST_CHARACTERS, "item": MOST_CHARACTERS, "event": MOST_TYPE_CHARACTERS}
CODED = {"user": np.int32, "item": np.int32, "event": np.int16}


@dataclass(frozen=True, eq=False)
class EventRows:
    """N events, grouped by user, each user's by time.

    names: the ids of users and items, and event types; code: the place of each event's among them, (N,); time (N,)
    int64 or None; weight (N,), nan where none was given, or None: float32 of a log, float64 of an export;
    event_id (N,) or None, `own` where another export has them; context (N,): places among `contexts`, or None.
    """

    names: Mapping[str, pl.Series]
    code: Mapping[str, AnyArray]
    time: Longs | None
    weight: Floats | Doubles | None
    event_id: pl.Series | None = None
    context: Ints | None = None
    contexts: Sequence[str] = ()
    own: bool = False

    def __len__(self) -> int:
        return len(self.code["user"])

    def parts(self, size: int) -> Iterator[slice]:
        """Cut into parts of at least `size` events, so that equal events stand in one part."""
        user = self.code["user"]
        last = user[1:] != user[:-1] if self.time is None else _differs(user) | _differs(self.time)
        low = 0
        while low < len(self):
            behind = last[low + size - 1 :]
            high = low + size + int(behind.argmax()) if behind.any() else len(self)
            yield slice(low, high)
            low = high

    def taken(self, rows: Longs) -> EventRows:
        """Return these events, in this order."""
        return replace(
            self,
            code={role: code[rows] for role, code in self.code.items()},
            time=None if self.time is None else self.time[rows],
            weight=None if self.weight is None else self.weight[rows],
            event_id=None if self.event_id is None else self.event_id.gather(rows),
            context=None if self.context is None else self.context[rows],
        )


def _differs(values: AnyArray) -> Bools:
    different: Bools = values[1:] != values[:-1]
    return different


def read_events(source: object, event_type: str, reading: Reading) -> EventRows:
    """Read what `read_log` reads, or an export of a store, with the type of events that have none.

    Raises `DataError` with the row for what a store does not take.
    """
    if isinstance(source, Interactions):
        return _of_log(source, event_type)
    try:
        if reading.keys() - {"on_error"}:
            raise NoExport
        rows = _read_export(source, reading.get("on_error", "raise"))
    except NoExport:
        rows = _of_log(read_log(source, **reading), event_type)
    for role, names in rows.names.items():
        for name in names.filter(_is_odd(names, LENGTHS[role])):
            place = next(places_of(source, role, LOG, reading.get(role), name), "import")
            check_text(place, "event_type" if role == "event" else f"{role}_id", name, LENGTHS[role])
    for name in (
        [] if rows.event_id is None else rows.event_id.filter(_is_odd(rows.event_id, MOST_CHARACTERS)).drop_nulls()
    ):
        check_text("import", "event_id", name)
    return rows


def _is_odd(texts: pl.Series, most: int) -> pl.Series:
    return (texts.str.len_bytes() > most) | texts.str.contains("\0", literal=True)


def _of_log(log: Interactions, event_type: str) -> EventRows:
    types, kind = log.event_types, log.event
    if kind is None or log.type_weights:  # a service would multiply by the weight of the type once more
        types, kind = (event_type,), np.zeros(len(log), np.int16)
    names = {"user": log.users.ids, "item": log.items.ids, "event": pl.Series(types, dtype=pl.String)}
    weighted = bool((log.weight != 1).any())
    if weighted and not (np.abs(log.weight) <= LARGEST_WEIGHT).all():
        raise DataError(f"import: weight is {np.abs(log.weight).max()}; {EXPORT_RULES['weight']}")
    return EventRows(
        {role: ids.cast(pl.String) for role, ids in names.items()},
        {"user": log.user, "item": log.item, "event": kind},
        log.timestamp,
        log.weight if weighted else None,
        log.event_ids,
        context=log.context,
        contexts=log.contexts,
        own=log.event_ids is not None,
    )


def _read_export(source: object, on_error: str) -> EventRows:
    """Read an export; raises `NoExport` for what is none."""
    coders = {role: Coder() for role in CODED}
    grown = {role: Grown(np.dtype(kind)) for role, kind in {**CODED, "time": np.int64, "weight": np.float64}.items()}
    ids, contexts, said = [pl.Series("event_id", [], pl.String)], Coder(), [np.zeros(0, np.int32)]
    faults = Faults(on_error, EXPORT_RULES, KEYS)
    for batch in batches(source, _export_columns):
        values = faults.sift(batch, _converted(batch))
        for role, coder in coders.items():
            grown[role].add(coder.codes(values[role]).astype(CODED[role]))
        grown["time"].add(values["time"].to_numpy())
        grown["weight"].add(_weights(values))
        if ROLE in values.columns:
            said.append(contexts.codes(joined(values.select(ROLE))))
        ids.append(values.get_column("event_id", default=pl.Series([None] * len(values), dtype=pl.String)))
    faults.report(place_of(source))
    found = {role: column.taken() for role, column in grown.items()}
    time, weight = found.pop("time"), found.pop("weight")
    names = {role: coder.names() for role, coder in coders.items()}
    context = np.concatenate(said) if len(said) > 1 else None
    rows = EventRows(names, found, time, weight, pl.concat(ids), context, contexts.names().to_list())
    return _once(rows.taken(np.lexsort((time, found["user"]))), source)


def _export_columns(names: Sequence[str], _: str) -> dict[str, str]:
    others = set(names[len(KEYS) :])
    if [*names[: len(KEYS)]] != [*KEYS.values()] or not others <= {WEIGHT, SIGNED, GIVEN, EVENT_ID, CONTEXT}:
        raise NoExport
    if not others & {GIVEN, EVENT_ID}:
        raise NoExport
    roles = {WEIGHT: "weight", SIGNED: "weight", GIVEN: "given", EVENT_ID: "event_id", CONTEXT: ROLE}
    return KEYS | {roles[name]: name for name in others}


def _converted(batch: Batch) -> pl.DataFrame:
    """Convert a batch, null where a rule is broken."""
    texts = [role for role in ("user", "item", "event", "event_id") if role in batch.columns]
    values: dict[str, pl.Series] = {role: as_text(batch.frame[role]) for role in texts}
    values["time"] = moments(batch.frame["time"])
    if "weight" in batch.columns:
        weight = as_number(batch.frame["weight"])
        values["weight"] = weight.set(~(weight.abs() <= LARGEST_WEIGHT), None)
    if "given" in batch.columns:
        values["given"] = as_truth(batch.frame["given"])
    if ROLE in batch.columns:
        values[ROLE] = as_values(batch.frame[ROLE])
    return pl.DataFrame(values)


def _weights(values: pl.DataFrame) -> Doubles:
    """Weights of sound rows, nan where none was given, (N,)."""
    if "weight" not in values.columns:
        return np.full(len(values), np.nan)
    weight = values["weight"].fill_null(np.nan)
    if "given" in values.columns:
        weight = weight.set(~values["given"].fill_null(value=True), np.nan)
    return weight.to_numpy()


def _once(rows: EventRows, source: object) -> EventRows:
    """Leave out the events whose id stands in an earlier row; raises `DataError` where one id has two contents."""
    ids = rows.event_id
    if ids is None or not ids.count():
        return replace(rows, event_id=None)
    frame = pl.DataFrame({**rows.code, "time": rows.time, "weight": rows.weight, "event_id": ids})
    again = frame.with_row_index("row").filter(
        pl.col("event_id").is_not_null() & ~pl.col("event_id").is_first_distinct()
    )
    if not len(again):
        return rows
    differing = frame.filter(pl.col("event_id").is_in(again["event_id"].implode())).unique()
    twice = differing.filter(pl.col("event_id").is_duplicated())["event_id"]
    if len(twice):
        raise id_conflict(twice[0], places_of(source, "event_id", EVENT_IDS, None, twice[0]))
    kept = np.ones(len(rows), np.bool_)
    kept[again["row"].to_numpy()] = False
    return rows.taken(np.flatnonzero(kept))


def id_conflict(event_id: str, places: Iterable[str]) -> DataError:
    """Say where one event id stands with two contents."""
    return DataError(
        f"{' and '.join(places)}: event_id {event_id!r} with different events; an id is that of one event"
    )
