"""The plain text of an item from its facts alone: it is published where no better text passes the check."""

from __future__ import annotations

from collections.abc import Mapping

from palate.describe.chinese import label_of
from palate.describe.facts import LONGEST_VALUE, Facts
from palate.errors import check

ROOM = 2 * LONGEST_VALUE  # characters of the values named
FIELDS = 6  # that are stated


def template(facts: Facts, language: str) -> str:
    """Sentences, without the title line, of the first values of each field. Raises `SettingError`."""
    check(language in ("en", "zh"), "language", language, "must be en or zh")
    by_field = {field: values for field, values in facts.by_field().items() if field != "title"}
    name = facts.title if "title" not in facts.withheld else ""
    return _english(name, facts.kind, by_field) if language == "en" else _chinese(name, facts.kind, by_field)


def _english(name: str, kind: str, by_field: Mapping[str, list[str]]) -> str:
    article = "an" if kind[:1].lower() in "aeiou" else "a"
    first = f"{name} is {article} {kind}" if name else f"This is {article} {kind}"
    rest = [f"{field.capitalize()}: {', '.join(values)}" for field, values in _short(by_field).items()]
    second = "; ".join(rest)
    return " ".join(f"{part.rstrip('.')}." for part in (first, second) if part)


def _chinese(name: str, kind: str, by_field: Mapping[str, list[str]]) -> str:
    rest = [f"{label_of(field)}：{'、'.join(values)}" for field, values in _short(by_field).items()]
    second = "；".join(rest)
    return "".join(f"{part.rstrip('。.')}。" for part in (f"{name or '这'}是一个{kind}", second) if part)


def _short(by_field: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """Return the first values of the first fields, as long as there is room."""
    kept: dict[str, list[str]] = {}
    room = ROOM
    for field, values in list(by_field.items())[:FIELDS]:
        for value in values[:8]:
            room -= len(value)
            if room > 0:
                kept.setdefault(field, []).append(value)
    return kept
