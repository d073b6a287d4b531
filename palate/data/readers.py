"""Read a log: files and frames in, ids coded, every bad row named."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import polars as pl

from palate.arrays import AnyArray
from palate.data.batch import Batch
from palate.data.coder import Coder
from palate.data.columns import LOG, SIGNED_WEIGHT, find_columns, listed, plain
from palate.data.contexts import MOST_CONTEXTS, MOST_KEYS, PREFIX, as_values, joined
from palate.data.contexts import RULE as CONTEXT_RULE
from palate.data.dialects import Form
from palate.data.event_ids import EVENT_ID, EventIds, id_columns, joined_ids
from palate.data.event_ids import RULE as ID_RULE
from palate.data.faults import Faults, warn_of_form
from palate.data.ids import as_id, check_ids
from palate.data.interactions import Interactions
from palate.data.moments import Times
from palate.data.sources import ahead, batches, place_of
from palate.data.values import LARGEST_WEIGHT, RULES, as_text, as_weight, has_strings, with_point
from palate.data.vocabulary import Vocabulary
from palate.errors import DataError, check

MOST_EVENT_TYPES = 1 << 15
CONVERT: dict[str, Callable[[pl.Series], pl.Series]] = {
    "user": as_id,
    "item": as_id,
    "event": as_text,
    "weight": as_weight,
}


def read_log(
    source: object,
    *,
    user: str | None = None,
    item: str | None = None,
    time: str | None = None,
    weight: str | None = None,
    event: str | None = None,
    context: str | Sequence[str] | None = None,
    event_id: str | Sequence[str] | None = None,
    weights: Mapping[str, float] | None = None,
    min_weight: float | None = None,
    time_unit: str | None = None,
    time_format: str | None = None,
    ids: str = "auto",
    separator: str | None = None,
    decimal: str | None = None,
    encoding: str | None = None,
    header: str | None = None,
    on_error: str = "raise",
) -> Interactions:
    """Read a log of events from a path (file, or folder of parts), a frame (polars, pandas, Arrow) or a matrix.

    source      .csv .tsv .txt .dat .data .inter .jsonl .ndjson .parquet .arrow .ipc or .feather, also as .gz or .zst;
                of a sparse matrix of scipy each number but 0 is an event, the weight: its row the user, its column
                the item
    user, item, time, weight, event
                names of columns with other than the usual names; "" reads none, as weight="" for stars that should
                count 1 each
    context     the name of a column, or a list of them, which hold the context of events: of objects of JSON, such as
                {"device": "phone"}, or of the values of a key that is called as the column. `Ranked` learns from it
    event_id    the name of a column, or a list of them, of the export's own ids of events, such as "order_id": of the
                rows of one id the first counts, and a warning counts the others
    weights     gives event types weights, {"view": 1, "cart": 3, "dislike": -1}; a column of weights
                multiplies them. The effect of a negative weight depends on the model: docs/models.md
    min_weight  events below it are dropped
    time_unit   unit of numeric times: "s", "ms", "us" or "ns"; detected by default
    time_format format of times in text, as in `strptime`: "%d.%m.%Y"
    ids         "text" keeps all ids as strings; "auto" keeps their types, and reads delimited text as integers
                if every id is spelled as a 64-bit integer. Either way ids are compared by their spelling
    separator, decimal, encoding
                of delimited text: one character or "tab"; "," or "."; a name as Python knows it. By default they are
                found by looking at the first bytes, and a warning says what was found
    header      of delimited text: "first", or "none": the name of a column is its number, as in user="1". By default
                a first row of numbers or days is no header, and a warning says which columns were taken for which
    on_error    "raise" stops at the first bad row; "skip" leaves bad rows out, counts them in `log.skipped` and warns

    Times are stored as microseconds since 1970 UTC; a warning counts those that are more than 48 hours ahead of the
    clock, and those before 1980 among later ones. Raises `DataError` with the place, value and rule.
    """
    asked = {"user": user, "item": item, "time": time, "weight": weight, "event": event}
    asked |= _contexts_of(context) | id_columns(event_id)
    _check(asked, weights, min_weight)
    check_ids(ids)
    written = Form.of(separator, decimal, encoding, header)
    rules = RULES if weights is None else RULES | {"event": f"weights= knows {listed(weights)}"}
    if time_format is not None:
        rules = rules | {"time": f"times must be written as {time_format}, in the years 1 to 9999"}
    rules = rules | {EVENT_ID: ID_RULE} | dict.fromkeys(_contexts_of(context), CONTEXT_RULE)
    faults = Faults(on_error, rules, LOG)
    times = Times(time_unit, time_format)
    columns = _Columns(asked, weights, min_weight, times, text=ids == "text")
    for batch in ahead(batches(source, columns.choose, written)):
        columns.add(batch, faults.sift(batch, _converted(batch, times, weights)))
    columns.settle(faults)
    skipped = faults.report(place_of(source))
    form = (*columns.form, *times.form)
    warn_of_form(place_of(source), form)
    log = columns.log(place_of(source))
    return replace(log, skipped=skipped, type_weights=weights or {}, columns=columns.roles, form=form)


def as_log(source: object) -> Interactions:
    """Return a log as it is, and what `read_log` reads of anything else."""
    return source if isinstance(source, Interactions) else read_log(source)


def _contexts_of(context: str | Sequence[str] | None) -> dict[str, str | None]:
    """Return the columns of contexts by their roles."""
    if context is None:
        return {}
    names = [context] if isinstance(context, str) else [*context]
    fine = len(names) <= MOST_KEYS and all(isinstance(each, str) and each for each in names)
    check(fine, "context", context, f"must name columns, {MOST_KEYS} at most")
    return {f"{PREFIX}{name}": name for name in names}


def _check(asked: Mapping[str, object], weights: Mapping[str, float] | None, min_weight: float | None) -> None:
    for role, name in asked.items():
        check(name is None or isinstance(name, str), role, name, "must be the name of a column")
    for kind, factor in (weights or {}).items():
        check(isinstance(kind, str), "weights", kind, "event types are strings")
        fine = abs(factor) <= LARGEST_WEIGHT
        check(bool(fine), "weights", factor, f"the weight of {kind!r} must be a finite number, 1e6 at most in size")
    check(weights is None or len(weights) > 0, "weights", weights, "must name an event type")
    check(min_weight is None or math.isfinite(min_weight), "min_weight", min_weight, "must be a finite number")


def _converted(batch: Batch, times: Times, factors: Mapping[str, float] | None) -> pl.DataFrame:
    """Convert the columns of a batch's frame, null where a rule is broken; with factors, event types weigh these.

    A column "row" numbers the rows from 0, to show which are left in the end.
    """
    convert = dict(CONVERT)
    if plain(batch.columns.get("weight", "")) == SIGNED_WEIGHT:
        convert["weight"] = partial(as_weight, signed=True)
    frame = batch.frame
    if batch.comma and "weight" in batch.columns:
        frame = frame.with_columns(with_point(frame["weight"]))
    values = {role: convert[role](frame[role]) for role in convert if role in frame.columns}
    values |= {role: as_values(frame[role]) for role in frame.columns if role.startswith(PREFIX)}
    if EVENT_ID in frame.columns:
        values[EVENT_ID] = joined_ids(frame)
    if "time" in batch.frame.columns:
        values |= times(batch.frame["time"])
    values["row"] = pl.Series(np.arange(len(batch.row)))
    if factors is not None:
        names, numbers = list(factors), [float(factor) for factor in factors.values()]
        factor = values["event"].replace_strict(names, numbers, default=None, return_dtype=pl.Float64)
        values["event"] = values["event"].set(factor.is_null(), None)
        # An unknown event type loses its row by itself; it must not make the weight look bad.
        values["weight"] = as_weight(factor.fill_null(1) * values.get("weight", 1), signed=True)
    return pl.DataFrame(values)


class _Columns:
    """The columns of a log, coded and grown batch by batch."""

    def __init__(
        self,
        asked: Mapping[str, str | None],
        factors: Mapping[str, float] | None,
        min_weight: float | None,
        times: Times,
        *,
        text: bool,
    ) -> None:
        self._asked = asked
        self._times = times
        self._factors = factors
        self._min_weight = min_weight
        self.roles: dict[str, str] = {}
        self.form: dict[str, None] = {}  # what is unusual in how the files are written
        self._coders = {"user": Coder(), "item": Coder(), "event": Coder(), "context": Coder()}
        self._strings = {"user", "item"} if text else set()
        self._grown: dict[str, Grown] = {}
        self._ids = EventIds()
        self._pool = ThreadPoolExecutor(2)  # users and items are coded side by side

    def choose(self, names: Sequence[str], place: str) -> dict[str, str]:
        """Choose the columns of a file; all parts of a log must have the same ones."""
        needed = ["user", "item"]
        if self._factors is not None:
            needed.append("event")
        elif self._min_weight is not None:
            needed.append("weight")
        keys = {role: () for role in self._asked if role not in LOG}
        roles = find_columns(names, self._asked, {**LOG, **keys}, needed, place)
        if self.roles and self.roles.keys() != roles.keys():
            raise DataError(f"{place}: has columns of {listed(roles)}; the parts before have {listed(self.roles)}")
        self.roles = roles
        return roles

    def add(self, batch: Batch, values: pl.DataFrame) -> None:
        """Append sound rows."""
        self.form |= dict.fromkeys(batch.form)
        if self._min_weight is not None:
            values = values.filter(pl.col("weight") >= pl.lit(self._min_weight, pl.Float32))
        keys = [name for name in values.columns if name.startswith(PREFIX)]
        if keys:
            values = values.drop(keys).with_columns(joined(values.select(keys)))
        row = values["row"].to_numpy()
        kept = row if len(row) < len(batch.row) else slice(None)
        if "time" in values.columns:
            self._times.add(batch, kept, values["kind"])
        columns = {role: values[role] for role in values.columns if role not in ("row", "kind", EVENT_ID)}
        if EVENT_ID in values.columns:
            self._ids.add(values[EVENT_ID])
        for role, array in zip(columns, self._pool.map(self._coded, columns, columns.values()), strict=True):
            self._grown.setdefault(role, Grown(array.dtype)).add(array)
        if batch.typed:
            ids = batch.frame.select("user", "item")
            self._strings |= {column.name for column in ids if has_strings(column)}

    def _coded(self, role: str, column: pl.Series) -> AnyArray:
        return self._coders[role].codes(column) if role in self._coders else column.to_numpy()

    def settle(self, faults: Faults) -> None:
        """Settle the times, when all rows are there; events whose time lies outside all years are faults."""
        if "time" not in self._grown:
            return
        time = self._grown["time"].taken()
        bad, first = self._times.settle(time)
        if bad.any():
            faults.late("time", int(bad.sum()), first)
            self._grown = {role: Grown.of(column.taken()[~bad]) for role, column in self._grown.items()}
            if EVENT_ID in self.roles:
                self._ids.drop(bad)

    def log(self, place: str) -> Interactions:
        """Return the log of all rows added, an event with an id once; none can be added any more."""
        self._pool.shutdown()
        types = self._coders["event"].names().to_list()
        if len(types) > MOST_EVENT_TYPES:
            raise DataError(f"{len(types):,} event types, like {listed(types, 3)}; there can be {MOST_EVENT_TYPES:,}")
        contexts = self._coders["context"].names().to_list()
        if len(contexts) > MOST_CONTEXTS:
            raise DataError(f"{len(contexts):,} contexts, like {contexts[0]}; there can be {MOST_CONTEXTS:,}")
        users, items = (self._coders[role].vocabulary(strings=role in self._strings) for role in ("user", "item"))
        ids = self._once(users, items, place) if EVENT_ID in self.roles else None
        event = self._taken("event")
        return Interactions.of(
            users,
            items,
            self._taken("user"),
            self._taken("item"),
            self._taken("weight"),
            self._taken("time"),
            None if event is None else event.astype(np.int16),
            tuple(types),
            self._taken("context"),
            tuple(contexts),
            ids,
        )

    def _once(self, users: Vocabulary, items: Vocabulary, place: str) -> pl.Series:
        """Leave out the rows whose event an earlier row has; returns the ids of the others, (N,)."""
        columns = {role: column.taken() for role, column in self._grown.items()}
        names = [name for role, name in self.roles.items() if role.startswith(EVENT_ID)]
        kept = self._ids.once(columns["user"], columns["item"], users, items, names)
        self._ids.report(place, self.roles)
        self._grown = {role: Grown.of(values if kept.all() else values[kept]) for role, values in columns.items()}
        return self._ids.taken(kept)

    def _taken(self, role: str) -> Any:
        """Whole column of a role, no longer held here, or None when the log has none."""
        return self._grown.pop(role).taken() if role in self._grown else None


class Grown:
    """An array that grows in place: parts to be joined at the end would need the memory twice."""

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self._values = np.empty(0, dtype)
        self._size = 0

    @classmethod
    def of(cls, values: AnyArray) -> Grown:
        """Begin with these values, which become its own."""
        grown = cls(values.dtype)
        grown._values, grown._size = values, len(values)
        return grown

    def add(self, part: AnyArray) -> None:
        """Append values of the same type."""
        end = self._size + len(part)
        if end > len(self._values):
            self._values.resize(end + end // 8, refcheck=False)
        self._values[self._size : end] = part
        self._size = end

    def taken(self) -> AnyArray:
        """Return the array, cut to size; it must not grow any more."""
        self._values.resize(self._size, refcheck=False)
        return self._values
