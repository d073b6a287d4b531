"""A grammar for a small model that would rather invent: which facts may follow which word, by the check's own table.

GBNF, as llama.cpp reads it: the model chooses among sentences that the facts allow, and the check reads them too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence

from palate.describe.facts import DATED, Facts
from palate.describe.words import OPENERS, RELATED, is_size, terms

CLAUSES = {  # after the item's name or "It", and later in the sentence
    "is": (" is", ""),
    "stars": (" stars", ""),
    "starring": ("", " starring"),
    "directed": (" is directed by", " directed by"),
    "written": (" is written by", " written by"),
    "features": (" features", ""),
    "about": (" is about", " about"),
    "by": (" is by", " by"),
    "from": (" is from", " from"),
    "in": (" comes in", " in"),
}
LONGEST = 5  # words of a value
MOST = 6  # values after one word
PLACED = {"stars", "starring", "directed", "written", "by", "from", "in"}  # keep their case, need no article


def grammar(facts: Facts) -> str:
    """Rules for the sentences that may go on after the item's name."""
    rules: list[str] = []
    openers = [opener for opener in CLAUSES if opener == "is" or any(_values(facts, opener))]
    for opener in openers:
        values = list(_values(facts, opener))
        rules += _kinds(values, facts) if opener == "is" else _listed(values, opener)
    verbs = [f"{_text(CLAUSES[opener][0])} {opener}-0" for opener in openers if CLAUSES[opener][0] and opener != "is"]
    first = _one_of({opener: CLAUSES[opener][1] for opener in openers if opener != "in"})
    # After another name it is unclear which one "from" and "in" refer to.
    later = _one_of({opener: CLAUSES[opener][1] for opener in openers if opener not in ("in", "from")})
    second = '" It" clause "."' if verbs and ("in" in openers or facts.sentences > 1) else ""
    clause = [f"clause ::= ({' | '.join(verbs)}) {later}"] if verbs else []
    return "\n".join([f'root ::= " is" is-0 {first} "." {second}', *clause, *rules])


def _one_of(tails: Mapping[str, str]) -> str:
    """Allow one of these parts of a sentence, or none."""
    parts = [f"{_text(text)} {opener}-0" for opener, text in tails.items() if text]
    return f"({' | '.join(parts)})?" if parts else ""


def _values(facts: Facts, opener: str) -> Iterator[str]:
    """Short values that fit after a word: of the title its noun, and its sizes after "in"."""
    asked, others = OPENERS[opener]
    for name, values in facts.by_field().items():
        words = {word.removesuffix("s") for word in name.split()}
        if name == "title":
            ends = _ends(facts) if opener in ("is", "in") else ()
            yield from (end for end in ends if _is_size(end) == (opener == "in"))
        elif not asked.isdisjoint(words) or (
            others and opener not in ("is", "in") and RELATED.isdisjoint(words) and name != "categories"
        ):
            yield from [v for v in values if len(v.split()) <= LONGEST and not re.fullmatch(r"[\d.]+", v)][:MOST]


def _ends(facts: Facts) -> Iterator[str]:
    """Two words and more of the noun that ends the name, and the size at the end of the title."""
    noun = facts.noun
    words = facts.name.split()
    for low in range(len(words)):
        for high in range(low + 2, min(low + LONGEST, len(words)) + 1):
            end = " ".join(words[low:high]).rstrip(",.")
            said = tuple(terms(end))
            if len(said) > 1 and said == noun[-len(said) :]:
                yield end
    if facts.size:
        yield facts.size


def _is_size(text: str) -> bool:
    return any(map(is_size, terms(text)))


def _kinds(values: Sequence[str], facts: Facts) -> list[str]:
    """Say what an item is: its kind, with categories and the year before it, or the end of its name."""
    year = DATED.search(facts.title)
    categories = [category.lower() for category in facts.by_field().get("categories", ())][:MOST]
    kind = _text(f" {facts.kind}")
    chosen = [f"{_text(f' {_article(facts.kind)} {facts.kind}')}"]
    rules = []
    if categories:
        bare = [_text(f" {category}") for category in categories]
        rules += _chain(bare, "dated") if year else []
        rules += _chain(bare, "sorted", [_text(f" {_article(each)} {each}") for each in categories])
        chosen.append(f"sorted-0 {kind}")
    if year:
        article = "an" if year[1].startswith("18") else "a"
        chosen.append(f"{_text(f' {article} {year[1]}')} {'dated-0?' if categories else ''} {kind}")
    ends = [] if year else values
    forms = [_with_article(form) for form in dict.fromkeys(form for end in ends for form in (end, end.lower()))]
    if forms and not categories:
        chosen = []  # the end of a name says more than the kind
    return [f"is-0 ::= {' | '.join([*chosen, *forms])}", *rules]


def _listed(values: Sequence[str], opener: str) -> list[str]:
    if opener in PLACED:
        forms = [_text(f" {value}") for value in values]
        return [f"in-0 ::= {' | '.join(forms)}"] if opener == "in" else _chain(forms, opener)
    return _chain([_topic(value) for value in values], opener)


def _chain(forms: Sequence[str], name: str, starts: Sequence[str] | None = None) -> list[str]:
    """Rules for a list of some of the values, in their order, so that none comes twice; "and" before the last."""
    rests = [f"{name}-rest-{n}" for n in range(len(forms) - 1)]
    rules = [
        f"{name}-0 ::= "
        + " | ".join(f"{form} {f'{rests[n]}?' if n < len(rests) else ''}" for n, form in enumerate(starts or forms))
    ]
    for n, rest in enumerate(rests):
        later = range(n + 1, len(forms))
        more = [f'"," {forms[m]} {rests[m]}' for m in later if m < len(rests)]
        last = [f'" and" {forms[m]}' for m in later]
        rules.append(f"{rest} ::= {' | '.join([*more, *last])}")
    return rules


def _topic(value: str) -> str:
    alone = " " not in value
    forms = [_with_article(form) if alone else _text(f" {form}") for form in dict.fromkeys((value, value.lower()))]
    return f"({' | '.join(forms)})"


def _with_article(noun: str) -> str:
    """Allow a noun with its article, and without; sizes and plurals have none."""
    bare = _text(f" {noun}")
    if _is_size(noun) or noun.endswith(("s", "ing")):
        return bare
    return f"{_text(f' {_article(noun)}')}? {bare}"


def _article(noun: str) -> str:
    return "an" if noun[0].lower() in "aeiou" else "a"


def _text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
