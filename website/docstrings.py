"""Docstrings as Markdown: a paragraph of names and their meanings, in two columns, becomes a list."""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Object

ENTRY = re.compile(r"^([\w`][\w`.,()= ]*?) {2,}(\S.*)$")


class Columns(Extension):
    """The documentation of the API is read from the source with this extension."""

    def on_object(self, *, obj: Object, **kwargs: Any) -> None:
        """Rewrite the docstring of one module, class, function or attribute."""
        if obj.docstring is not None:
            obj.docstring.value = "\n\n".join(map(listed, re.split(r"\n\s*\n", obj.docstring.value)))


def listed(paragraph: str) -> str:
    """Make a list of a paragraph, from its first line in two columns on; other paragraphs stay."""
    lines = paragraph.split("\n")
    begin = next((number for number, line in enumerate(lines) if ENTRY.match(line)), len(lines))
    made = [*lines[:begin], ""] if 0 < begin < len(lines) else lines[:begin]
    for line in lines[begin:]:
        if entry := ENTRY.match(line):
            names = ", ".join(f"`{name.strip('` ')}`" for name in entry[1].split(","))
            made.append(f"- {names}: {entry[2]}")
        else:
            made.append(f"    {line.strip()}")
    return "\n".join(made)
