"""Rankings of items or users by their similarity to one of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from palate.arrays import Bools, Floats
from palate.data.rankings import Rankings
from palate.data.vocabulary import Id, Vocabulary
from palate.errors import whole
from palate.kernels.topk import nothing, select_top


def most_similar(
    vocabulary: Vocabulary,
    ids: Iterable[Id],
    k: int,
    similarity: Callable[[int], Floats],
    allowed: Bools,
    noun: str = "item",
) -> Rankings:
    """Best k others allowed (I,) for each id, by the similarity of one row to all, (I,); raises `UnknownId`."""
    whole("k", k)
    asked = Vocabulary.series(ids)
    codes = np.array([vocabulary.code(value) for value in asked.to_list()], np.int32)
    item, score = nothing(len(codes), min(int(k), len(vocabulary)))
    for n, code in enumerate(codes.tolist()):
        itself = np.array([0, 1]), codes[n : n + 1]
        item[n], score[n] = (row[0] for row in select_top(similarity(code)[None], allowed, item.shape[1], *itself))
    return Rankings(asked, vocabulary, item, score, (f"target_{noun}_id", f"{noun}_id"))
