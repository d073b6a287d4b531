"""How often items have their events in each context: on a phone, in an app, at a place."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated

import numpy as np

from palate.arrays import Array, Floats, Ints, Longs
from palate.data.contexts import MOST_KEYS, POSITION, parsed
from palate.data.interactions import Interactions
from palate.data.vocabulary import Vocabulary
from palate.kernels.forest import entries
from palate.ranking.usual import count_pairs, more_than_usual

MOST_VALUES = 32  # of a key, the most frequent ones; all others count as unknown


@dataclass(frozen=True, eq=False)
class UsualContexts:
    """What the events of a log say of one key of their contexts.

    values (V)                 the values of the key, the most frequent first
    share (V,)                 of the events with one of them
    start, value, events       events of each item with a value, (I + 1,) and (N,)
    whole (I,)                 events of each item with any of them
    """

    key: str
    values: Vocabulary
    share: Annotated[Floats, Array("values", least=0)]
    start: Annotated[Longs, Array("items+1", starts="pairs")]
    value: Annotated[Ints, Array("pairs", below="values")]
    events: Annotated[Floats, Array("pairs", least=0)]
    whole: Annotated[Floats, Array("items", least=0)]

    @classmethod
    def all_of(cls, log: Interactions, row: Ints, items: int) -> tuple[UsualContexts, ...]:
        """Count over a log, by the rows (N,) of its events' items, for each key that has several values."""
        if log.context is None:
            return ()
        contexts = [parsed(text) for text in log.contexts]
        events = np.bincount(log.context, minlength=len(contexts)).tolist()
        keys = Counter[str]()
        for context, count in zip(contexts, events, strict=True):
            keys.update(dict.fromkeys(context.keys() - {POSITION}, count))
        found = []
        for key, _ in sorted(keys.most_common(MOST_KEYS)):
            of_context = [context.get(key, "") for context in contexts]
            values = Counter[str]()
            for value, count in zip(of_context, events, strict=True):
                values[value] += count
            del values[""]
            names = [value for value, count in values.most_common(MOST_VALUES) if count]
            if len(names) < 2 and not np.any([not value and n for value, n in zip(of_context, events, strict=True)]):
                continue
            place = {name: n for n, name in enumerate(names)}
            code = np.array([place.get(value, -1) for value in of_context])[log.context]
            found.append(cls._counted(key, names, code[code >= 0], row[code >= 0], items))
        return tuple(found)

    @classmethod
    def _counted(cls, key: str, names: list[str], code: Longs, row: Ints, items: int) -> UsualContexts:
        share = np.bincount(code, minlength=len(names)) / len(code)
        whole = np.bincount(row, minlength=items).astype(np.float32)
        table = count_pairs(row, code, (items, len(names)))
        return cls(key, Vocabulary.of(names), share.astype(np.float32), *table, whole)

    @cached_property
    def _code(self) -> dict[str, int]:
        return {str(value): n for n, value in enumerate(self.values.ids)}

    def features(self, value: str, item: Ints) -> Floats:
        """Return the number of a value, -1 for an unknown one, and how much more often items have it, (2, C).

        The latter is the logarithm of the ratio to what is usual, 0 for an unknown value.
        """
        found = np.zeros((2, len(item)), np.float32)
        code = self._code.get(value, -1)
        found[0] = code
        if code >= 0:
            share = self.share[code]
            there = entries(self.start, self.value, self.events, item, code)
            found[1] = more_than_usual(there, share, self.whole[item])
        return found
