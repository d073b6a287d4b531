"""Hooks of the documentation site: the reference is made from the program, and linked files of the repository join.

mkdocs calls the functions whose names begin with `on_`.
"""

from __future__ import annotations

import importlib
import inspect
import logging
import posixpath
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from routes import route_page  # mkdocs loads hooks with their own folder on the path

import palate
from palate.cli import app
from palate.models.base import Recipe

ROOT = Path(__file__).parents[1]
OUTSIDE = "repository"  # where files from outside of docs/ stand in the site
LINK = re.compile(r"(\]\()([^)\s#]+)(#[^)\s]*)?(\))")
CODE = re.compile(r"^```.*?^```$", re.M | re.S)
FOREIGN = re.compile(r"<(?:script|img|iframe|source)\b[^>]*\bsrc=\"?(?:https?:)?//|<link\b[^>]*\bhref=\"?https?://")
ROOMS = {
    "data": "Logs, catalogues, histories, splits and rankings",
    "models": "Recipes and models",
    "evaluation": "Measuring and comparing",
    "errors": "Errors and warnings",
    "store": "Events and items in a database",
}

log = logging.getLogger("mkdocs.hooks.palate")


# The reference, made of the program.


def api_pages() -> Iterator[tuple[str, str]]:
    """Path and Markdown of the pages of the Python API: what `palate` exports, by the room that it comes from."""
    rooms: dict[str, list[str]] = defaultdict(list)
    for name in palate.__all__:
        module = getattr(palate, name).__module__
        rooms[module.split(".")[1]].append(f"{module}.{name}")
    rooms["models"][:0] = ["palate.models.base.Recipe", "palate.models.base.Model"]
    rooms["errors"] = public_names("palate.errors")
    rooms["store"] = [
        full_name("palate.store.events", "Store"),
        full_name("palate.store.events", "Event"),
        full_name("palate.store.items", "Item"),
    ]
    index = [
        "# Python API\n",
        "`palate` exports the names of these tables. Errors and the store are imported from their modules.\n",
    ]
    for room, names in sorted(rooms.items(), key=lambda pair: [*ROOMS, pair[0]].index(pair[0])):
        title = ROOMS.get(room, room.capitalize())
        index += [f"\n## {title}\n", "| name | meaning |", "|---|---|"]
        index += [f"| [`{name.rpartition('.')[2]}`]({room}.md#{name}) | {meaning(name)} |" for name in names]
        yield f"reference/{room}.md", f"# {title}\n\n" + "\n".join(map(entry, names))
    yield "reference/index.md", "\n".join(index) + "\n"


def entry(name: str) -> str:
    """Return the directive of one name. A recipe shows its signature, which has the settings, and no methods."""
    found = value(name)
    recipe = isinstance(found, type) and issubclass(found, Recipe) and found is not Recipe
    return f"::: {name}\n" + ("    options: {members: false}\n" if recipe else "")


def public_names(module: str) -> list[str]:
    """Full names of the public classes and functions that a module itself defines."""
    found = vars(importlib.import_module(module)).items()
    own = {name for name, value in found if getattr(value, "__module__", "") == module}
    return [f"{module}.{name}" for name, _ in found if name in own and not name.startswith("_")]


def full_name(module: str, name: str) -> str:
    """Return the name under the module that defines it."""
    return f"{getattr(importlib.import_module(module), name).__module__}.{name}"


def value(full_name: str) -> Any:
    """Import what a full name stands for."""
    module, _, name = full_name.rpartition(".")
    return getattr(importlib.import_module(module), name)


def meaning(full_name: str) -> str:
    """Return the first sentence of a docstring, fit for a cell of a table."""
    text = inspect.getdoc(value(full_name)) or ""
    return paragraph(text.partition("\n\n")[0]).partition(". ")[0].rstrip(".").replace("|", "\\|")


def command_page() -> str:
    """Markdown of every command with its arguments and options, as the program states them."""
    group: Any = typer.main.get_command(app)
    parts = [
        "# Commands\n",
        "Made from the program: `palate COMMAND --help` says the same. Examples and what commands share are in"
        " [Use the command line](../cli.md).\n",
    ]
    for name, command in sorted(group.commands.items()):
        inner = getattr(command, "commands", None)
        parts += [f"## palate {name}\n", f"{paragraph(command.help)}\n"]
        for below, sub in sorted(inner.items()) if inner else ():
            parts += [f"### palate {name} {below}\n", f"{paragraph(sub.help)}\n", *parameters(sub, f"{name} {below}")]
        if not inner:
            parts += parameters(command, name)
    return "\n".join(parts)


def parameters(command: Any, name: str) -> Iterator[str]:
    """Usage and table of one command."""
    shown = [each for each in command.params if not getattr(each, "hidden", False)]
    named = [each for each in shown if each.param_type_name == "argument"]
    words = " ".join(str(each.name).upper() + ("..." if each.nargs == -1 else "") for each in named)
    yield f"```console\npalate {name} [OPTIONS] {words}".rstrip() + "\n```\n"
    yield "| argument or option | meaning |\n|---|---|"
    for each in shown:
        spelled = [str(each.name).upper()] if each in named else [*each.opts, *each.secondary_opts]
        value = "" if each in named or getattr(each, "is_flag", False) else f" {str(each.name).upper()}"
        if each not in named and each.metavar and value:
            value = f" {each.metavar}"
        default = each.default() if callable(each.default) else each.default
        plain = isinstance(default, str | int | float) and default not in ("", False)
        given = f"; `{default}` if left out" if plain else ""
        text = paragraph(getattr(each, "help", None)).rstrip(".").replace("|", "\\|")
        yield f"| `{', '.join(spelled)}{value}` | {text}{given}{'; required' if each.required else ''} |"
    yield ""


def paragraph(text: str | None) -> str:
    """Help text on one line."""
    return " ".join((text or "").split())


# Files of the repository.


def place(target: Path) -> str:
    """Where a file of the repository stands in the site, relative to its root."""
    docs = ROOT / "docs"
    if target.is_relative_to(docs):
        return target.relative_to(docs).as_posix()
    return f"{OUTSIDE}/{target.relative_to(ROOT).as_posix()}"


def outside_links(page: Path) -> Iterator[Path]:
    """Files outside of docs/ that a page links to."""
    for match in LINK.finditer(CODE.sub("", page.read_text(encoding="utf-8"))):
        target = (page.parent / match[2]).resolve()
        if ":" not in match[2] and target.is_file() and target.is_relative_to(ROOT) and OUTSIDE in place(target):
            yield target


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the reference, and every file that pages link to, and those that these link to."""
    api = dict(api_pages())
    made = {**api, "reference/commands.md": command_page(), "reference/routes.md": route_page()}
    for path, text in made.items():
        files.append(File.generated(config, path, content=text))
    reference = next(part["Reference"] for part in config.nav or [] if "Reference" in part)
    reference[1] = {"Python API": ["reference/index.md", *sorted(api.keys() - {"reference/index.md"})]}
    waiting = [ROOT / "docs" / file.src_path for file in files.documentation_pages() if file.generated_by is None]
    found: set[Path] = set()
    while waiting:
        new = set(outside_links(waiting.pop())) - found
        found |= new
        waiting += [path for path in new if path.suffix == ".md"]
    for path in sorted(found):
        files.append(File.generated(config, place(path), abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links to files of the repository into links to their places in the site."""
    path = page.file.src_path
    if path.startswith("reference/"):
        return markdown
    source = ROOT / path.removeprefix(f"{OUTSIDE}/") if path.startswith(OUTSIDE) else ROOT / "docs" / path

    def moved(match: re.Match[str]) -> str:
        target = (source.parent / match[2]).resolve()
        if ":" in match[2] or not target.is_relative_to(ROOT):
            return match[0]
        there = posixpath.relpath(place(target), posixpath.dirname(path))
        return f"{match[1]}{there}{match[3] or ''}{match[4]}"

    return LINK.sub(moved, markdown)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Show a pipe in the code of a cell, where it is escaped, as a pipe."""
    return re.sub(r"<code>[^<]*</code>", lambda code: code[0].replace("\\|", "|"), html)


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """Warn of a page that loads something from another site; a strict build fails then."""
    if found := FOREIGN.search(output):
        log.warning("%s loads from another site: %s", page.file.src_path, found[0])
    return output
