"""Describing a catalogue: a draft, a check, a second draft, else a template; finished texts are kept."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from palate.data.catalogue import Catalogue
from palate.describe import check as checking
from palate.describe import prompts
from palate.describe.check import faults_of
from palate.describe.facts import Facts, facts_of, shop_nouns
from palate.describe.lines import Description, appending, read_lines, rewrite
from palate.describe.templates import template
from palate.describe.writers import Writer
from palate.errors import check

STATUSES = ("accepted", "retried", "template")
SPENT = "the budget was spent"


@dataclass(frozen=True)
class Manner:
    """How texts are written.

    kind      a noun for what every item is, which texts may use: film, product
    language  en or zh
    style     asked of the model in these words, as far as the check allows
    fields    columns that may be described; by default all that can be
    """

    kind: str = "product"
    language: str = "en"
    style: str = ""
    fields: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        languages = checking.LANGUAGES
        check(self.language in languages, "language", self.language, f"must be one of {', '.join(languages)}")
        check(bool(self.kind.strip()) and self.kind.isprintable(), "kind", self.kind, "must be a word or a few")


@dataclass(frozen=True)
class Budget:
    """Limits of a run: seconds, and tokens read and written; None is no limit."""

    seconds: float | None = None
    tokens: int | None = None

    def __post_init__(self) -> None:
        for name, limit in (("seconds", self.seconds), ("tokens", self.tokens)):
            check(limit is None or limit >= 0, name, limit, "must be 0 or more")


@dataclass(frozen=True)
class Summary:
    """Lines in the order of the catalogue, the number of kept ones, and the cost of the others."""

    lines: tuple[Description, ...]
    kept: int
    tokens: int
    seconds: float

    @property
    def counts(self) -> dict[str, int]:
        """Number of lines of each status."""
        found = Counter(line.status for line in self.lines)
        return {status: found[status] for status in STATUSES}

    def examples(self, each: int = 2) -> list[Description]:
        """Return the first lines of each status."""
        return [line for status in STATUSES for line in [x for x in self.lines if x.status == status][:each]]


def describe(
    catalogue: Catalogue,
    out: Path,
    writer: Writer | None,
    manner: Manner | None = None,
    *,
    budget: Budget | None = None,
    shop: Catalogue | None = None,
    watch: Callable[[int, int], None] | None = None,
) -> Summary:
    """Write a description of every item of a catalogue to a JSON lines file, and return them all.

    writer  None writes templates only
    budget  once it is spent, items get templates, which the next run writes again
    shop    catalogue that this one is a part of: its titles show which nouns name things; by default this one
    watch   is called with (items done, of all)

    An item whose facts, model and manner are those of its line keeps it. However the run ends, what was written
    stays, and the next one goes on from there. Raises `DataError` for a file that is something else or cannot be
    written, `SettingError` for fields that the catalogue lacks, `WriterError` where the model fails.
    """
    how, limit = manner or Manner(), budget or Budget()
    nouns = shop_nouns(shop or catalogue) if how.language == "en" else frozenset[tuple[str, ...]]()
    facts_by_item = {
        item: facts_of(catalogue, item, kind=how.kind, fields=how.fields, nouns=nouns)
        for item in catalogue.items.ids.to_list()
    }
    keys = {item: _key(facts, how, writer) for item, facts in facts_by_item.items()}
    lines = read_lines(out)
    lines = {item: lines[item] for item in facts_by_item if item in lines}  # without those of removed items
    kept = {item for item, line in lines.items() if line.key == keys[item]}
    began, tokens, done = perf_counter(), 0, len(kept)
    try:
        with appending(out) as append:
            for item in facts_by_item:
                if item in kept:
                    continue
                spent = _spent(limit, tokens, perf_counter() - began)
                line = _described(facts_by_item[item], how, None if spent else writer, keys[item])
                lines[item] = line if not spent or writer is None else _later(line)
                tokens += line.tokens
                append(lines[item])
                done += 1
                if watch is not None:
                    watch(done, len(facts_by_item))
    finally:
        rewrite(out, [lines[item] for item in facts_by_item if item in lines])
    return Summary(tuple(lines[item] for item in facts_by_item), len(kept), tokens, perf_counter() - began)


def _described(facts: Facts, manner: Manner, writer: Writer | None, key: str) -> Description:
    """Two drafts at most; the template where both are refused."""
    began, tokens, refused = perf_counter(), 0, list[str]()
    body, status = template(facts, manner.language), "template"
    # A title that reads like an instruction cannot be named by a model that is not shown it.
    asked = writer is not None and facts.tells and "title" not in facts.withheld
    for attempt in STATUSES[:2] if asked else ():
        assert writer is not None
        draft = writer.write(facts, manner.language, manner.style, refused)
        tokens += draft.tokens
        faults = faults_of(draft.text, facts, manner.language)
        if not faults:
            body, status = draft.text.strip(), attempt
            break
        refused += faults
    return Description(
        item_id=facts.item_id,
        title=facts.title,
        description=f"{facts.title}\n{body}",
        status=status,
        refused=tuple(refused),
        facts=facts.by_field(),
        withheld=facts.withheld,
        model="" if writer is None else writer.name,
        tokens=tokens,
        seconds=round(perf_counter() - began, 3),
        key=key,
    )


def _later(line: Description) -> Description:
    """Return a template whose item is written again by the next run."""
    return Description(**{**vars(line), "refused": (SPENT,), "key": ""})


def _spent(budget: Budget, tokens: int, seconds: float) -> bool:
    over: Sequence[tuple[float, float | None]] = ((tokens, budget.tokens), (seconds, budget.seconds))
    return any(limit is not None and used >= limit for used, limit in over)


def _key(facts: Facts, manner: Manner, writer: Writer | None) -> str:
    """Hash of what a text depends on: facts, manner, model, and the versions of the prompt and the check."""
    content: Mapping[str, object] = {
        "title": facts.title,
        "facts": facts.by_field(),
        "noun": facts.noun,
        "withheld": facts.withheld,
        "manner": [manner.kind, manner.language, manner.style],
        "model": "" if writer is None else writer.name,
        "versions": [prompts.VERSION, checking.VERSION],
    }
    return hashlib.sha256(json.dumps(content, ensure_ascii=False).encode("utf-8", "replace")).hexdigest()[:32]
