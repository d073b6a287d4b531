"""Lists stay what they were: 2,000 recorded requests over a fixed store and fixed models, answered again."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from frozen import answer, frozen, served, unpack

CLOSE = 1e-5  # scores closer than this, for their size, are equal, and their items may change places


@pytest.fixture(scope="module")
def kept() -> dict[str, Any]:
    return frozen()


def close(one: float, other: float) -> bool:
    return abs(one - other) <= CLOSE * max(1.0, abs(one))


def same_list(old: list[dict[str, Any]], new: list[dict[str, Any]], name: str, score: str) -> bool:
    """Whether scores are equal place by place, and the items but for those of equal scores."""
    if len(old) != len(new) or not all(close(a[score], b[score]) for a, b in zip(old, new, strict=True)):
        return False
    by_name = {each[name]: each for each in new}
    place = 0
    for _, group in groupby(range(len(old)), key=lambda n: 0 if n == 0 else steps(old, score, n)):
        names = [old[n][name] for n in group]
        last = place + len(names) == len(old)  # of the last, some may give way to others that are not in the list
        if {each[name] for each in new[place : place + len(names)]} != set(names) and not (last and len(names) > 1):
            return False
        place += len(names)
    rest = [(each, by_name[each[name]]) for each in old if each[name] in by_name]
    return all({**a, score: 0} == {**b, score: 0} for a, b in rest)


def steps(rows: list[dict[str, Any]], score: str, n: int) -> int:
    """Number of the group of equal scores that a place is in."""
    return sum(not close(rows[m - 1][score], rows[m][score]) for m in range(1, n + 1))


def same(old: Any, new: Any) -> bool:
    if isinstance(old, dict):
        rest = [
            {key: value for key, value in each.items() if key not in ("id", "items", "cursor", "model")}
            for each in (old, new)
        ]
        about = [each["model"] and each["model"]["recipe"] for each in (old, new)]
        cursors = [each["cursor"] is None for each in (old, new)]
        lists = same_list(old["items"], new["items"], "item_id", "score")
        return lists and rest[0] == rest[1] and about[0] == about[1] and cursors[0] == cursors[1]
    if isinstance(old, list):
        return same_list(old, new, "Id", "Score")
    return bool(old == new)


@pytest.mark.parametrize("model", ["", "factors", "products", "content"])
def test_every_answer_is_what_it_was(kept: dict[str, Any], model: str, tmp_path: Path) -> None:
    bundle = unpack(model, tmp_path) if model else None
    requests = kept["answers"][model]
    assert len(requests) >= 500
    wrong = []
    with served(tmp_path, kept["items"], kept["events"], bundle) as client:
        for n, request in enumerate(requests):
            status, body = answer(client, request)
            if status != request["status"] or not same(request["answer"], body):
                wrong.append((n, request, status, body))
    assert not wrong, f"{len(wrong)} of {len(requests)} differ; the first: {wrong[0]}"
