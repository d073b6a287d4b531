"""The fact check of English: every word, what stands beside it, and what it is said of must be in the facts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from palate.describe.facts import DATED, Facts
from palate.describe.words import ARTICLES, NEUTRAL, OPENERS, RELATED, VERBS, is_denial, is_mark, stem, terms

CATEGORY = "categories"
NUMBER = re.compile(r"[\d.]+")


@dataclass(frozen=True)
class Unit:
    """A piece of a sentence: the item's name, the kind of item, a fact, a word that states nothing, or a stop."""

    role: str  # item, kind, fact, plain, stop
    said: str
    terms: tuple[str, ...] = ()
    fields: frozenset[str] = frozenset()


@dataclass
class Support:
    """What facts allow: terms with the fields they stand in, terms that stand together, whole values."""

    words: dict[str, set[str]] = field(default_factory=dict)
    pairs: set[tuple[str, str]] = field(default_factory=set)
    values: dict[str, set[str]] = field(default_factory=dict)

    def add(self, field_name: str, value: str) -> None:
        """Let a value of a field be said."""
        # A number alone says nothing without its field: "30" of a width is no thirty of anything.
        named = f"{field_name} (number)" if NUMBER.fullmatch(value) and field_name not in RELATED else field_name
        self.values.setdefault(value.lower(), set()).add(named)
        value_terms, dated = list(terms(value)), set(DATED.findall(value)) if field_name == "title" else set()
        self.pairs.update(pair for pair in pairwise(value_terms) if not any(map(is_mark, pair)))
        for term in value_terms:
            if not is_mark(term):
                self.words.setdefault(term, set()).update({named, "year"} if term in dated else {named})


def support_of(facts: Facts) -> Support:
    """Collect what may be said of an item; a withheld title supports nothing."""
    found = Support()
    for name, values in facts.by_field().items():
        for value in values if name != "title" or "title" not in facts.withheld else ():
            found.add(name, value)
    return found


def english_faults(body: str, facts: Facts) -> Iterator[str]:
    """Find what the sentences state beyond the facts, each with the words in question."""
    support = support_of(facts)
    sentences = list(_sentences(body, facts, support))
    said: set[str] = set()
    for n, sentence in enumerate(sentences):
        yield from _unknown(sentence)
        yield from _strangers(sentence, support)
        yield from _relations(sentence)
        yield from _titled(sentence, facts)
        yield from _subjects(sentence)
        content = [unit.terms for unit in sentence if unit.role == "fact"]
        words = [term for each in content for term in each]
        if len(set(words)) < len(words):
            yield f"says twice: {max(words, key=words.count)}"
        if n and not set(words) - said:
            yield "a sentence that adds nothing new"
        said.update(words)
    if not said:
        yield "no fact is stated"
    if not any(unit.role == "item" for sentence in sentences for unit in sentence):
        yield f"does not name the item: {facts.name}"


def _sentences(body: str, facts: Facts, support: Support) -> Iterator[list[Unit]]:
    """Cut a text into sentences of units, whole values first, so that a name keeps its dots and small words."""
    phrases = sorted({*facts.names, *support.values} - {""}, key=len, reverse=True)
    pattern = re.compile(r"(?<!\w)(" + "|".join(map(re.escape, phrases)) + r")(?!\w)", re.I)
    sentence: list[Unit] = []
    for n, part in enumerate(pattern.split(body)):
        if n % 2:
            whole = part.lower() in facts.names
            part_terms = tuple(term for term in terms(part) if not is_mark(term))
            fields = frozenset(support.values.get(part.lower(), ()))
            sentence.append(Unit("item" if whole else "fact", part, part_terms, fields))
            continue
        for unit in _units(part, facts, support):
            if unit.said == "." and sentence:
                yield sentence
                sentence = []
            elif unit.said != ".":
                sentence.append(unit)
    if sentence:
        yield sentence


def _units(text: str, facts: Facts, support: Support) -> Iterator[Unit]:
    for term in terms(text):
        if is_mark(term):
            yield Unit("stop", term)
        elif term == stem(facts.kind):
            yield Unit("kind", term, (term,))
        elif term in NEUTRAL:
            yield Unit("plain", term)
        else:
            yield Unit("fact", term, (term,), frozenset(support.words.get(term, ())))


def _unknown(sentence: Sequence[Unit]) -> Iterator[str]:
    yield from (f"not in the facts: {unit.said}" for unit in sentence if unit.role == "fact" and not unit.fields)


def _strangers(sentence: Sequence[Unit], support: Support) -> Iterator[str]:
    """Words that stand together in the text, and in no fact; before the kind stand categories and years."""
    for chain in _chains(sentence):
        if chain[-1].role == "kind" and all(
            CATEGORY in unit.fields or NUMBER.fullmatch(unit.said) for unit in chain[:-1]
        ):
            continue
        for left, right in pairwise(chain):
            pair = (left.terms[-1:] or ("",))[0], (right.terms[:1] or ("",))[0]
            if pair not in support.pairs and right.role != "kind":
                yield f"together in no fact: {left.said} {right.said}"


def _chains(sentence: Sequence[Unit], stops: bool = False) -> Iterator[list[Unit]]:
    """Yield runs of units that no small word or mark parts; with `stops` those too, alone."""
    chain: list[Unit] = []
    for unit in (*sentence, Unit("stop", ".")):
        if unit.role in ("plain", "stop"):
            if chain:
                yield chain
            if stops:
                yield [unit]
            chain = []
        else:
            chain.append(unit)


def _relations(sentence: Sequence[Unit]) -> Iterator[str]:
    """Find a value in the place of another: a director stands after "directed", a keyword after "about"."""
    opener = "is"
    for n, unit in enumerate(sentence):
        if unit.role == "plain":
            if unit.said in ("from", "in") and opener != "is":  # of which: the item, or the one just named?
                yield f"{unit.said!r} after {opener!r}"
            opener = _opener(unit.said, opener)
        elif unit.role == "item" and any(each.role != "plain" or each.said not in ARTICLES for each in sentence[:n]):
            yield f"the item in the place of a fact: {unit.said}"
        elif unit.role == "kind" and opener != "is":
            yield f"{unit.said} after {opener!r}"
        elif unit.role == "fact" and unit.fields and not _fits(unit.fields, opener):
            yield f"{unit.said} ({', '.join(sorted(unit.fields))}) after {opener!r}"


def _titled(sentence: Sequence[Unit], facts: Facts) -> Iterator[str]:
    """Trust a title alone with little: the noun that ends it, its size, what the item is free of."""
    size = tuple(term for term in terms(facts.size) if not is_mark(term))
    opener = "is"
    for chain in _chains(sentence, stops=True):
        if chain[0].role in ("plain", "stop"):
            opener = _opener(chain[0].said, opener)
            continue
        only = [unit for unit in chain if unit.role == "fact" and unit.fields and unit.fields <= {"title"}]
        title_terms = tuple(term for unit in only for term in unit.terms if not is_denial(term))
        noun = opener == "is" and len(title_terms) > 1 and title_terms == facts.noun[-len(title_terms) :]
        if title_terms and title_terms != size and not noun:
            yield f"the title alone does not say: {' '.join(title_terms)}"


def _opener(word: str, before: str) -> str:
    if word == "by" and before in ("directed", "written"):
        return before
    if word in OPENERS:
        return word
    return "is" if word in VERBS or word == "it" else before


def _fits(fields: Iterable[str], opener: str) -> bool:
    asked, others = OPENERS[opener]
    return any(not asked.isdisjoint(_words(name)) or (others and RELATED.isdisjoint(_words(name))) for name in fields)


def _words(field_name: str) -> set[str]:
    """Words of a field's name; the number of a nameless one is never free."""
    words = set(field_name.split())
    return {word.removesuffix("s") for word in words} | ({"keyword"} if "(number)" in words else set())


def _subjects(sentence: Sequence[Unit]) -> Iterator[str]:
    """Every sentence, and every verb, is about the item, never about a name or a keyword."""
    first = next((unit for unit in sentence if unit.said not in ARTICLES), None)
    if first is not None and not (first.role in ("item", "kind") or first.said == "it" or "title" in first.fields):
        yield f"a sentence about something else: {first.said}"
    seen = False
    for left, right in pairwise([unit for unit in sentence if unit.said != "also"]):
        if right.role == "plain" and right.said in VERBS:
            of_item = left.role in ("item", "kind") or left.said in ("it", "and", "this")
            if not (of_item or ("title" in left.fields and not seen)):
                yield f"a statement about something else than the item: {left.said} {right.said}"
            seen = True
