"""Objects within objects as the parts of a bundle: a dataclass stands as its fields under dotted names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any

from palate.bundles.bundle import Part
from palate.data.vocabulary import Vocabulary


def flat(name: str, value: Any) -> Iterator[tuple[str, Part]]:
    """Yield the parts of a value by name; `name.class` and `name.count` say how to build it again."""
    if is_dataclass(value) and not isinstance(value, Vocabulary):
        yield f"{name}.class", type(value).__name__
        for field in fields(value):
            yield from flat(f"{name}.{field.name}", getattr(value, field.name))
    elif isinstance(value, tuple) and any(map(is_dataclass, value)):
        yield f"{name}.count", len(value)
        for n, each in enumerate(value):
            yield from flat(f"{name}.{n}", each)
    else:
        yield name, value


def whole(name: str, parts: Mapping[str, Part], classes: Mapping[str, type]) -> Any:
    """Build a value from its parts. Raises `LookupError` for a missing part or an unknown class."""
    if name in parts:
        return parts[name]
    if f"{name}.count" in parts:
        return tuple(whole(f"{name}.{n}", parts, classes) for n in range(int(str(parts[f"{name}.count"]))))
    kind: Any = classes[str(parts[f"{name}.class"])]
    return kind(**{own: whole(part, parts, classes) for own, part in held(kind, parts, f"{name}.")})


def held(kind: type, parts: Mapping[str, Part], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield the fields of a class that the parts hold, and the name of each there.

    One with a default may be missing: older bundles do not have it.
    """
    for field in fields(kind):
        name = f"{prefix}{field.name}"
        needed = field.default is MISSING and field.default_factory is MISSING
        if needed or any(part == name or part.startswith(f"{name}.") for part in parts):
            yield field.name, name
