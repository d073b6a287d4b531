"""One table, shown two ways: Markdown for files, rich for the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from io import StringIO

from rich.console import Console, RenderableType
from rich.table import Table


@dataclass(frozen=True)
class Grid:
    """A header and rows of text; the first column is left-aligned, the others are numbers."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]

    def markdown(self) -> str:
        """Return a Markdown table."""
        rule = ["---", *("---:" for _ in self.header[1:])]
        return "\n".join("| " + " | ".join(cells) + " |" for cells in (self.header, rule, *self.rows))

    def html(self) -> str:
        """Return a table in HTML."""
        head = "".join(f"<th>{escape(name)}</th>" for name in self.header)
        rows = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>" for cells in self.rows)
        return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"

    def rich(self) -> Table:
        """Return a table for the terminal."""
        table = Table(box=None, header_style="bold", pad_edge=False)
        for place, name in enumerate(self.header):
            table.add_column(name, justify="right" if place else "left", no_wrap=not place)
        for cells in self.rows:
            table.add_row(*cells)
        return table


def page(title: str, notes: Iterable[str]) -> str:
    """Return a title, if there is one, and notes in HTML."""
    head = f"<p><b>{escape(title)}</b></p>" if title else ""
    return f"{head}<ul>{''.join(f'<li>{escape(note)}</li>' for note in notes)}</ul>"


def plain(thing: RenderableType, width: int = 118) -> str:
    """Return what rich would print, as text without colours."""
    out = StringIO()
    Console(file=out, width=width, color_system=None).print(thing)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())
