"""The fact check: the rules that a text must pass to be published."""

from __future__ import annotations

import re
from collections.abc import Iterator

from palate.describe.chinese import chinese_faults
from palate.describe.english import english_faults
from palate.describe.facts import ADDRESS, INSTRUCTION, Facts
from palate.errors import check

VERSION = 2  # a text kept under another version is written again
LANGUAGES = {"en": english_faults, "zh": chinese_faults}
LONGEST = 700  # characters of the sentences
SENTENCES = 3
MARKUP = re.compile(r"[<>{}\[\]`*_#|\\~^=@$€£¥!?！？\n]|\"\"")


def faults_of(body: str, facts: Facts, language: str) -> tuple[str, ...]:
    """Find the faults of the sentences about an item; none where they may be kept.

    body has no title line. Every fault names the rule and the words. Raises `SettingError` for another language.
    """
    check(language in LANGUAGES, "language", language, f"must be one of {', '.join(LANGUAGES)}")
    return tuple(dict.fromkeys([*_form(body, facts), *LANGUAGES[language](body, facts)]))


def _form(body: str, facts: Facts) -> Iterator[str]:
    bare = body
    for value in sorted((facts.name, facts.title, *(fact.value for fact in facts.facts)), key=len, reverse=True):
        bare = bare.replace(value, "x")
    marks = MARKUP.search(bare)
    if not body.strip():
        yield "empty"
    elif body.strip()[-1] not in ".。":
        yield "does not end with a full stop"
    if marks:
        yield f"markup or a mark that sentences do without: {marks[0]!r}"
    if ADDRESS.search(bare):
        yield "an address"
    if INSTRUCTION.search(bare):
        yield "reads like an instruction"
    if len(body) > LONGEST:
        yield f"longer than {LONGEST} characters"
    count = len(re.findall(r"[.。](?=\s|$|[^\W\d_a-zA-Z])", bare))
    if not facts.sentences <= count <= SENTENCES:
        yield f"{count} sentences, not {facts.sentences} to {SENTENCES}"
