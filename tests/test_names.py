"""Names are the field's own: identifiers hold no banned word, the glossary holds every term once."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# A word of an identifier, what to use instead (docs/glossary.md), and how often palate/ still has it: a number may
# only fall, and a line whose number is 0 stays.
BANNED = {
    "told": ("manifest, as_dict, describe_..., by case", 0),
    "tell": ("describe, report", 0),
    "unmet": ("cold_items", 0),
    "met": ("known", 0),
    "goods": ("items", 0),
    "crew": ("team, threads", 0),
    "likeness": ("item_similarity", 0),
    "people": ("users, batch_size", 0),
    "person": ("user", 0),
    "persons": ("users", 0),
    "who": ("user", 0),
    "whom": ("user", 0),
    "whose": ("user, owner", 0),
    "everybody": ("all_users", 0),
    "anybody": ("any_user", 0),
    "somebody": ("user", 0),
    "nobody": ("no_user", 0),
    "risen": ("log_gap_features", 0),
    "lately": ("recent", 0),
    "rested": ("throttled", 0),
    "desks": ("workspaces", 0),
    "trail": ("session_state", 0),
    "toward": ("content_profile", 0),
    "adopt": ("import_model", 0),
    "adopting": ("import_model", 0),
}


def words_of(identifier: str) -> list[str]:
    """Split snake_case and CamelCase into lower-case words."""
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", identifier)]


def names_of(source: str) -> list[tuple[str, int]]:
    """Return the identifiers of a Python file with their lines."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return [(token.string, token.start[0]) for token in tokens if token.type == tokenize.NAME]


@cache
def places() -> dict[str, list[str]]:
    """Return where each banned word is in a name of palate/."""
    found: dict[str, list[str]] = {word: [] for word in BANNED}
    for path in sorted((ROOT / "palate").rglob("*.py")):
        for name, line in names_of(path.read_text(encoding="utf-8")):
            for word in set(words_of(name)) & BANNED.keys():
                found[word].append(f"{path.relative_to(ROOT)}:{line}: {name}")
    return found


@pytest.mark.parametrize("word", BANNED)
def test_no_name_gains_a_banned_word(word: str) -> None:
    instead, most = BANNED[word]
    here = places()[word]
    assert len(here) <= most, f"{word!r} in {len(here)} names, at most {most}; use {instead}:\n" + "\n".join(here)


def test_files_have_no_banned_names() -> None:
    allowed = {"people", "adopting"}
    names = Counter(
        word for path in (ROOT / "palate").rglob("*.py") for word in words_of(path.stem) if word in BANNED
    )
    assert names.keys() <= allowed


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("told_of", ["told", "of"]),
        ("ModelTold", ["model", "told"]),
        ("IALSModel", ["ials", "model"]),
        ("MOST_PEOPLE", ["most", "people"]),
        ("_who2", ["who"]),
        ("metadata", ["metadata"]),
    ],
)
def test_words_of_a_name(name: str, words: list[str]) -> None:
    assert words_of(name) == words


def test_the_glossary_has_every_term_once_in_order() -> None:
    text = (ROOT / "docs/glossary.md").read_text(encoding="utf-8")
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| ")][1:]
    assert all(len(row) == 3 for row in rows), "term | meaning | where"
    terms = [row[0].removeprefix("| ") for row in rows]
    assert terms == sorted(set(terms))
    assert {
        "user",
        "item",
        "event",
        "history",
        "candidate",
        "slate",
        "cold-start item",
        "contribution",
        "manifest",
    } <= {*terms}
    assert {"recipe", "model", "bundle", "store", "version", "fold-in", "anchor item"} <= {*terms}
    assert not [word for row in rows for word in words_of(" ".join(row[:2])) if word in {"told", "person", "people"}]


# Files that may ask for the sign of an event's weight: the rows of all histories, and the store's in SQL.
SIGNS = {"palate/data/ragged.py", "palate/store/schema.py"}


def sign_tests(source: str) -> list[int]:
    """Return the lines that compare a weight with 0, cut weights off at it, or take their signs."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in {"np.maximum", "np.minimum", "np.sign"}:
            sides = [*node.args, ast.Constant(0)] if ast.unparse(node.func) == "np.sign" else node.args[:2]
        else:
            continue
        if any(map(is_weight, sides)) and any(map(is_zero, sides)):
            found.append(node.lineno)
    return found


def is_weight(node: ast.expr) -> bool:
    """Whether it is a weight of events: `weight`, `log.weight[n]`, `pl.col("weight")`."""
    while isinstance(node, ast.Subscript):
        node = node.value
    if isinstance(node, ast.Call):
        return any(isinstance(each, ast.Constant) and each.value == "weight" for each in node.args)
    name = getattr(node, "id", None) or getattr(node, "attr", "")
    return name in {"weight", "weights"}


def is_zero(node: ast.expr) -> bool:
    if isinstance(node, ast.Call) and len(node.args) == 1:  # np.float32(0)
        return is_zero(node.args[0])
    return isinstance(node, ast.Constant) and not isinstance(node.value, bool) and node.value in (0, "0")


def test_the_sign_of_a_weight_is_read_in_one_place() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in sorted((ROOT / "palate").rglob("*.py"))
        for line in sign_tests(path.read_text(encoding="utf-8"))
        if str(path.relative_to(ROOT)) not in SIGNS
    ]
    assert not found, (
        "ask `liked`, `disliked` or `weighted` of a log, of rows, or of palate.data.ragged:\n" + "\n".join(found)
    )


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("log.weight > 0", True),
        ("0 >= rows.weight[a:b]", True),
        ("weight[n][m] != 0.0", True),
        ("np.maximum(log.weight, np.float32(0))", True),
        ("np.sign(weight)", True),
        ("pl.col('weight') < 0", True),
        ("weight > 1", False),
        ("log.weight_decay > 0", False),
        ("len(weights) > 0", False),
    ],
)
def test_a_sign_test_is_seen(code: str, found: bool) -> None:
    assert bool(sign_tests(code)) == found
