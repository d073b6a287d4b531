"""English words in the form they are compared in, and the few that state nothing of an item."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cache

TOKEN = re.compile(r"(?<!\w)\.\d+|\d+(?:[.,]\d+)*|[^\W\d_]+(?:['’][^\W\d_]+)*|[^\w\s]|_")
NUMBERS = {word: str(n) for n, word in enumerate(("zero", "one", "two", "three", "four", "five", "six"))}
NUMBERS |= {"seven": "7", "eight": "8", "nine": "9", "ten": "10"}
NUMBERS |= {"eleven": "11", "twelve": "12", "dozen": "12", "twenty": "20", "hundred": "100", "thousand": "1000"}
UNITS = {
    **dict.fromkeys(("ounce", "oz"), "ounce"),
    "fl": "fluid",
    **dict.fromkeys(("milliliter", "millilitre", "ml"), "ml"),
    **dict.fromkeys(("liter", "litre"), "liter"),
    **dict.fromkeys(("gram", "gm", "g"), "gram"),
    **dict.fromkeys(("kilogram", "kg"), "kg"),
    **dict.fromkeys(("pound", "lb"), "pound"),
    **dict.fromkeys(("inch",), "inch"),
    **dict.fromkeys(("centimeter", "centimetre", "cm"), "cm"),
    **dict.fromkeys(("millimeter", "millimetre", "mm"), "mm"),
    **dict.fromkeys(("meter", "metre"), "meter"),
    **dict.fromkeys(("foot", "feet", "ft"), "foot"),
    **dict.fromkeys(("count", "ct"), "count"),
    **dict.fromkeys(("piece", "pc"), "piece"),
    **dict.fromkeys(("second", "sec"), "second"),
    **dict.fromkeys(("minute", "min"), "minute"),
    **dict.fromkeys(("hour", "hr"), "hour"),
    **{unit: unit for unit in ("fluid", "watt", "volt", "percent", "degree", "pack", "day", "week", "month")},
    **{unit: unit for unit in ("year", "dollar", "euro", "mg", "gb", "tb", "mah", "spf")},
}
NEGATORS = {"no", "not", "non", "without", "never", "un"}
HALVES = {"free", "less", "proof", "resistant", "repellent"}  # turn what stands before them round
COLOURS = {"black", "white", "grey", "gray", "red", "blue", "green", "yellow", "orange", "pink"}
COLOURS |= {"purple", "brown", "beige", "gold", "silver", "nude", "clear"}
SIZES = {"fluid", "ounce", "ml", "liter", "gram", "kg", "pound", "inch", "cm", "mm", "count", "piece", "pack"}
CONTENTS = re.compile(
    r"(?<![\w.,/])\.?\d[\d.,]*[\s\-]*(?:fl(?:uid|\.)?[\s\-]*)?"
    r"(?:oz|ounces?|ml|milliliters?|grams?|gm?|kg|lbs?|pounds?|liters?|count|ct|pcs|pieces?)\.?\)?$",
    re.I,
)
SEVERAL = {"and", "with", "+", "/", "*", "set", "kit", "duo", "trio", "system", "collection", "pack", "pair", "bundl"}
SHARED, SHORTEST = 5, 3  # words that a noun of a shop follows; letters of its last word
ARTICLES = {"a", "an", "the", "this", "its"}
VERBS = {"is", "has", "comes", "includes", "features", "stars", "contains"}
NEUTRAL = (
    ARTICLES | VERBS | {"it", "and", "also", "by", "with", "about", "from", "in", "directed", "written", "starring"}
)
SMALL = NEUTRAL | {"of", "for", "to", "on", "at", "or"}
TOPICS = frozenset({"keyword", "tag", "plot", "topic", "theme", "subject"})
CAST = frozenset({"actor", "actress", "cast", "star"})
MAKERS = frozenset({"brand", "maker", "manufacturer", "publisher", "studio"})
AUTHORS = frozenset({"author", "writer", "artist", "composer", "creator"})
# A word, the fields whose values may follow it, and whether fields of no such relation may.
OPENERS: Mapping[str, tuple[frozenset[str], bool]] = {
    "is": (frozenset(), True),
    "features": (TOPICS | CAST, True),
    "includes": (TOPICS, True),
    "with": (TOPICS | CAST, True),
    "about": (TOPICS, False),
    "directed": (frozenset({"director"}), False),
    "written": (AUTHORS, False),
    "stars": (CAST, False),
    "starring": (CAST, False),
    "by": (MAKERS | AUTHORS | {"director"}, False),
    "from": (MAKERS | {"country", "year", "decade"}, False),
    "in": (frozenset({"language", "year"}), True),
}
RELATED = frozenset().union(*(fields for fields, _ in OPENERS.values()))


@cache
def stem(word: str) -> str:
    """Bring a word to the form it is compared in: no case, accents, plural, -ed, -ing; numbers as digits."""
    bare = unicodedata.normalize("NFKD", word.lower().replace("’", "'"))
    bare = "".join(c for c in bare if not unicodedata.combining(c)).removesuffix("'s").replace("'", "")
    if bare in NUMBERS or bare[-1:].isdigit():
        digits = NUMBERS.get(bare, bare.replace(",", ""))
        return f"0{digits}" if digits.startswith(".") else digits
    if bare in NEUTRAL | NEGATORS | HALVES:
        return bare
    if bare in UNITS or bare.removesuffix("s") in UNITS:
        return UNITS[bare if bare in UNITS else bare.removesuffix("s")]
    for ending, instead in (("ies", "y"), ("sses", "ss"), ("ches", "ch"), ("shes", "sh"), ("xes", "x"), ("s", "")):
        if bare.endswith(ending) and len(bare) > len(ending) + 2 and not bare.endswith(("ss", "us", "is")):
            bare = bare.removesuffix(ending) + instead
            break
    for ending in ("ing", "ed"):
        if bare.endswith(ending) and len(bare) > len(ending) + 3:
            bare = bare.removesuffix(ending)
            break
    return bare.removesuffix("e") if len(bare) > 3 else bare


def is_size(term: str) -> bool:
    """Whether a term is a number with its unit of size."""
    number, _, unit = term.partition(" ")
    return unit in SIZES and re.fullmatch(r"[\d.]+", number) is not None


def is_denial(term: str) -> bool:
    """Whether a term is a word and its negation: "oil free", "no greasy"."""
    first, _, last = term.partition(" ")
    return bool(last) and (first == "no" or last in HALVES)


def is_mark(term: str) -> bool:
    """Whether a term is punctuation."""
    return not term[-1].isalnum()


def terms(text: str) -> Iterator[str]:
    """Terms of a text in its order, and its punctuation but for hyphens and apostrophes, which part no words.

    A number and its unit are one term, and so are a negation and what it denies: "oil-free", "non-greasy".
    """
    held: list[str] = []
    for token in TOKEN.findall(text.replace("&", " and ")):
        if token in "-–'’":
            continue
        word = token if is_mark(token) else stem(token)
        last = held[-1] if held else "."
        measured = word in UNITS.values() and re.fullmatch(r"[\d.]+", last) is not None
        if not is_mark(word) and not is_mark(last) and (last in NEGATORS or word in HALVES or measured):
            held[-1] = f"{'no' if last in NEGATORS else last} {word}"
        else:
            held.append(word)
    yield from held


def noun_of(name: str) -> tuple[str, ...]:
    """Terms of a name up to its first small word or mark, without a size at the end: in English its noun ends them.

    Empty where what follows says that the words before were no noun of the item: "Fruit of the Earth" is no fruit.
    """
    noun: list[str] = []
    for term in terms(name):
        if term in ("of", "by", "and", "or", "/", "+", "*"):
            return ()
        if term in SMALL or is_mark(term):
            break
        noun.append(term)
    while noun and (is_size(noun[-1]) or noun[-1] in UNITS.values()):
        noun.pop()
    doubtful = any(term[0].isdigit() for term in noun) or (noun and noun[-1] in map(stem, COLOURS))
    return () if doubtful else tuple(noun)


def nouns_of(names: Iterable[str]) -> frozenset[tuple[str, ...]]:
    """Return ends of names, of two words or more, that follow at least five other words: they say what items are.

    "Body lotion" ends many names of a shop; a line, a shade or a half of a brand ends few.
    """
    before: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for noun in map(noun_of, names):
        for n in range(2, len(noun)):
            before[noun[-n:]].add(noun[-n - 1])
    return frozenset(end for end, words in before.items() if len(words) >= SHARED and len(end[-1]) >= SHORTEST)


def size_of(title: str) -> str:
    """Size at the end of a title that has no other number and is not of several things, else nothing.

    Elsewhere a size may be a part's: "1 Inch Flat Iron". Lengths are never stated.
    """
    found = CONTENTS.search(title)
    alone = len(re.findall(r"\d[\d.,/]*", title)) == 1 and SEVERAL.isdisjoint(terms(title))
    return found[0].rstrip(".)") if found and alone else ""
