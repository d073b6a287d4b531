"""The docs are run: code blocks, commands, links, settings."""

from __future__ import annotations

import importlib
import re
import shlex
from collections.abc import Iterator
from dataclasses import MISSING, fields
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import typer
from starlette.testclient import TestClient
from test_layers import ROOMS

import palate
from palate.cli import app
from palate.models.registry import recipes
from palate.serve.app import create_app, documented
from palate.serve.service import Service
from palate.serve.settings import Settings
from website.routes import route_page, routes

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
ALL_PAGES = [
    page
    for places in (
        "*.md",
        "docs/*.md",
        "benchmarks/*.md",
        "benchmarks/results/*.md",
        "examples/*/*.md",
        ".github/*.md",
    )
    for page in sorted(ROOT.glob(places))
]
COMMANDS: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def blocks(page: Path, *languages: str) -> Iterator[tuple[int, str]]:
    """Line and text of each fenced block in one of these languages."""
    text = page.read_text(encoding="utf-8")
    for match in re.finditer(r"^```(\w+)\n(.*?)^```$", text, re.M | re.S):
        if match[1] in languages:
            yield text[: match.start(2)].count("\n") + 1, match[2]


@every_page
def test_python_blocks_run(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    namespace: dict[str, object] = {"__name__": "__main__"}
    for line, code in blocks(page, "python"):
        exec(compile("\n" * (line - 1) + code, str(page), "exec"), namespace)  # errors name the line of the page


def test_the_first_calls_of_the_service_run_on_an_empty_store(tmp_path: Path) -> None:
    page = (ROOT / "docs/service.md").read_text(encoding="utf-8").replace("\\\n", " ")
    calls = re.findall(r"^curl .*", page, re.M)[:2]
    assert len(calls) == 2
    with TestClient(create_app(Settings(store=str(tmp_path / "s.db")))) as client:
        for call in [calls[1], *calls]:
            words = shlex.split(call)
            given = {name: value for name, value in pairwise(words) if name in ("-X", "-d", "-H")}
            (address,) = (word for word in words if word.startswith("localhost:8000"))
            header = dict([given["-H"].split(": ", 1)]) if "-H" in given else None
            answer = client.request(
                given.get("-X", "POST" if "-d" in given else "GET"),
                address.removeprefix("localhost:8000"),
                content=given.get("-d"),
                headers=header,
            )
            assert answer.status_code == 200, (call, answer.text)


def commands_of(page: Path) -> Iterator[str]:
    for _, text in blocks(page, "console", "bash"):
        yield from (
            line.removeprefix("$ ") for line in text.splitlines() if line.removeprefix("$ ").startswith("palate ")
        )


@every_page
def test_commands_parse(page: Path) -> None:
    for line in commands_of(page):
        _, name, *arguments = shlex.split(line)
        COMMANDS[name].make_context(name, arguments)


def test_there_are_commands_to_parse() -> None:
    assert sum(len(list(commands_of(page))) for page in PAGES) >= 10


def section(name: str) -> str:
    text = (ROOT / "docs/cli.md").read_text(encoding="utf-8")
    found = re.search(rf"^## palate {name}\b.*?(?=^## |\Z)", text, re.M | re.S)
    return found[0] if found else ""


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_is_documented(name: str) -> None:
    documented = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", section(name)))
    commands = [COMMANDS[name], *getattr(COMMANDS[name], "commands", {}).values()]
    parameters = [parameter for command in commands for parameter in command.params]
    options = {
        option
        for parameter in parameters
        for option in (*parameter.opts, *parameter.secondary_opts)
        if option.startswith("-")
    }
    assert options - {"--help"} <= documented
    assert documented - options <= {"--user"}, "options that do not exist"


def test_no_other_command_is_documented() -> None:
    text = (ROOT / "docs/cli.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^## palate (\w+)", text, re.M)) == set(COMMANDS)


@pytest.mark.parametrize("recipe", recipes(), ids=lambda recipe: recipe.__name__)
def test_every_setting_is_documented_with_its_default(recipe: type) -> None:
    text = (ROOT / "docs/models.md").read_text(encoding="utf-8")
    for field in fields(recipe):
        default = "required" if field.default is MISSING else str(field.default).replace("|", "\\|")
        assert re.search(rf"^\| `{field.name}` \| `{re.escape(default)}` \|", text, re.M), (field.name, default)


def prose_of(page: Path) -> str:
    """The text of a page without its code."""
    return re.sub(r"^```.*?^```$|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)


def anchors_of(page: Path) -> set[str]:
    """What links may name in a page, as GitHub and the site make it of titles; the same title again gets a number."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    found: set[str] = set()
    for title in re.findall(r"^#+ (.*)$", text, re.M):
        words = re.sub(r"\]\([^)]*\)", "", title.lower())
        anchor = re.sub(r"[^\w -]", "", words).replace(" ", "-")
        found.add(next(name for name in (anchor, *(f"{anchor}-{n}" for n in range(1, 99))) if name not in found))
    return found


@pytest.mark.parametrize("page", ALL_PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)|^\[[^]]+\]: (\S+)", prose_of(page), re.M):
        link = "".join(target)
        if ":" in link:
            parts = urlsplit(link)
            assert (parts.scheme, "." in parts.netloc, parts.username) == ("https", True, None), link
            continue
        path, _, anchor = link.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert ROOT in there.parents, link
        assert there.is_file(), link
        if anchor:
            assert anchor in anchors_of(there), link


@pytest.mark.parametrize("page", ALL_PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_benchmarks_that_pages_name_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    named = re.findall(r"(?:^|[\s`(])(benchmarks/[\w/-]+\.\w+)", text)
    named += [name.replace(".", "/") + ".py" for name in re.findall(r"python -m (benchmarks\.\w+\.\w+)", text)]
    assert not [path for path in named if not (ROOT / path).is_file() and "/results/" not in path]


@pytest.mark.parametrize("folder", ["accuracy", "speed", "reliability", "peers"])
def test_every_command_of_the_benchmarks_is_in_their_page(folder: str) -> None:
    page = (ROOT / "benchmarks/README.md").read_text(encoding="utf-8")
    part = page.partition(f"### {folder}\n")[2].partition("\n### ")[0]
    listed = set(re.findall(rf"(?:^\|[^|]*\| `|benchmarks\.{folder}\.)(?!python)(\w+)(?=[ `])", part, re.M))
    scripts = (ROOT / "benchmarks" / folder).glob("*.py")
    started = {path.stem for path in scripts if "__main__" in path.read_text(encoding="utf-8")}
    assert listed == started - {"fit", "sasrec", "second_stages", "tune", "victims"}  # other benchmarks start these


def test_the_site_has_every_route_with_its_scope(tmp_path: Path) -> None:
    app = documented(Service.open(Settings(store=str(tmp_path / "s.db"))))
    operations = {(verb.upper(), path) for path, verbs in app.openapi()["paths"].items() for verb in verbs}
    rows = re.findall(r"^\| (\w+) \| `([^`]+)` \| (\w+) \| \w.* \|$", route_page(), re.M)
    assert {row[:2] for row in rows} == operations
    scopes = {row[:2]: row[2] for row in rows}
    assert scopes["GET", "/v1/recommend"] == "read"
    assert scopes["POST", "/v1/events"] == "write"
    assert scopes["DELETE", "/v1/users/{user_id}"] == scopes["POST", "/v1/models/rollback"] == "admin"
    assert scopes["GET", "/health/live"] == "public"


@pytest.fixture(scope="module")
def shapes() -> set[tuple[str, str]]:
    """Method and path of each route, without the names of its parameters."""
    return {(route.method, re.sub(r"\{\w+\}", "{}", route.path)) for route in routes()}


@every_page
def test_routes_that_pages_name_exist(page: Path, shapes: set[tuple[str, str]]) -> None:
    for line in re.findall(
        r"\b((?:(?:GET|POST|PUT|PATCH|DELETE) )+/(?:v1|api|health)/[\w/{}-]*)", page.read_text("utf-8")
    ):
        *methods, path = line.split()
        assert {(method, re.sub(r"\{\w+\}", "{}", path)) for method in methods} <= shapes, line


def test_every_page_is_in_the_index_and_the_site() -> None:
    index = (ROOT / "docs/index.md").read_text(encoding="utf-8")
    site = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    names = {page.name for page in (ROOT / "docs").glob("*.md")} - {"index.md"}
    assert names <= set(re.findall(r"\]\(([\w-]+\.md)", index))
    assert names == set(re.findall(r": ([\w-]+\.md)", site)) - {"index.md"}


def test_the_version_is_the_same_everywhere() -> None:
    version = palate.__version__
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.search(rf"^## .*\b{re.escape(version)}\b", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.M)


def test_the_rooms_of_the_index_are_those_of_the_code() -> None:
    text = (ROOT / "docs/index.md").read_text(encoding="utf-8").partition("## Rooms")[2]
    here = {path.stem for path in (ROOT / "palate").iterdir()}
    assert re.findall(r"^\| `(\w+)` \|", text, re.M) == [room for room in ROOMS if room in here]


LIMIT = re.compile(r"^\| [^|]+ \| ([\d,]+) \| `([\w.]+)\.([A-Z_]+)` \| [^|]+ \|$", re.M)


def test_the_limits_are_those_of_the_code() -> None:
    text = (ROOT / "docs/limits.md").read_text(encoding="utf-8")
    found = LIMIT.findall(text)
    rows = [line for line in text.splitlines() if line.startswith("| ") and not line.startswith("| limit")]
    assert len(found) == len(rows) > 30
    stated = {f"{module}.{name}": number for number, module, name in found}
    real = {
        place: getattr(importlib.import_module(place.rpartition(".")[0]), place.rpartition(".")[2])
        for place in stated
    }
    assert stated == {place: f"{number:,}" for place, number in real.items()}
