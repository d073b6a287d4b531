"""The prose check of `make lint`: phrases that read badly, and what to write instead.

It reads the pages and the help of every command. Code blocks, inline code and quoted links are left out.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from palate.cli import app

ROOT = Path(__file__).parents[1]
# A phrase (without case) and what to write instead.
BANNED = {
    r"of (whom|which) nothing is known": "without events",
    r"so many\b(?! \w+ that)": "the number, or `that many`",
    r"\btold\b|\bis told|\bare told": "is stated, is named, is passed",
    r"may all that": "may do all of that",
    r"\b(person|people|persons)\b": "user, users",
    r"\b(everybody|anybody|somebody|nobody)\b": "every user, any user, a user, no user",
    r"\b(un)?met\b": "known, cold-start; or `meets`",
    r"\blikeness\b": "similarity",
    r"\bgoods\b": "items",
    r"\bcrew\b": "threads",
    r"look for the like": "find similar items",
    r"what items are like": "the content of items",
    r"\bif not told otherwise": "by default",
    r"as it comes\b|as they come\b": "with its defaults",
    r"\bbe rid of": "remove",
    r"beside others": "beside other libraries",
    r"\bnow and then\b": "at intervals, sometimes",
    r"\bgive and take|gives and takes": "creates and revokes",
    r"and, once installed,": "split the sentence",
}
LEFT_OUT = re.compile(r"^```(?s:.*?)^```|`[^`\n]*`|\]\([^)]*\)", re.M)


def faults(text: str) -> Iterator[tuple[int, str, str]]:
    """Line, phrase found and advice, for each banned phrase of a text."""
    seen = LEFT_OUT.sub(lambda part: re.sub(r"[^\n]", " ", part[0]), text)
    for pattern, instead in BANNED.items():
        words = pattern.replace(" ", r"\s+")  # a phrase may go on in the next line
        for match in re.finditer(words, seen, re.I):
            yield seen[: match.start()].count("\n") + 1, " ".join(match[0].split()), instead


def pages() -> Iterator[Path]:
    """Return the pages that are prose of the project; a changelog quotes old names."""
    yield from (ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "benchmarks/README.md"))
    yield from sorted((ROOT / "docs").glob("*.md"))


def help_texts() -> Iterator[tuple[str, str]]:
    """Return place and help of every command and option."""
    root: Any = typer.main.get_command(app)
    waiting = [("palate", root)]
    while waiting:
        name, command = waiting.pop()
        waiting += [(f"{name} {below}", sub) for below, sub in getattr(command, "commands", {}).items()]
        yield f"{name} --help", command.help or ""
        yield from ((f"{name} {each.opts[0]}", getattr(each, "help", None) or "") for each in command.params)


def main() -> None:
    """Print every fault with its place; exit code 1 where there is one."""
    texts = [(str(page.relative_to(ROOT)), page.read_text(encoding="utf-8")) for page in pages()]
    found = [
        f"{place}:{line}: {phrase!r}; write {instead}"
        for place, text in [*texts, *help_texts()]
        for line, phrase, instead in faults(text)
    ]
    print(*found, sep="\n")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
