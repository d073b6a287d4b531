"""What the catalogue says of an item, in a form that a text can be held against."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass, replace
from html import unescape

from palate.data.catalogue import Catalogue
from palate.data.columns import CATALOGUE, plain
from palate.data.vocabulary import Id
from palate.describe.words import noun_of, nouns_of, size_of
from palate.errors import SettingError

LONGEST_VALUE = 400  # characters; a longer one is cut at a word
LONGEST_NAME = 60  # characters of a title that sentences repeat as it is
MOST_VALUES = 24
UNSAID = {"image", "audio", "available", "price"}  # files, and what changes from day to day
NOTHING = re.compile(r"\(.*\)|n/?a|none|null|nan|unknown|-+|\s*", re.I)  # "(no genres listed)"
DATED = re.compile(r"\((1[89]\d\d|20\d\d)\)")  # a year in a title
ADDRESS = re.compile(r"(https?:)?//|www\.|\S+@\S+\.\w", re.I)
# What speaks to the writer instead of telling of the item. Such a value supports nothing and is not shown to a model.
INSTRUCTION = re.compile(
    r"\b(ignore|disregard|forget|override|bypass)\b.{0,60}\b(above|previous|prior|earlier|instructions?|rules?|prompts?|facts)\b"
    r"|\b(write|say|output|respond|reply|print|answer|describe|claim|mention|state|tell|call|include|add)\b"
    r".{0,40}\b(that|only|instead|exactly|as follows|users?|readers?|customers?|it|this|text|description)\b"
    r"|\b(text|description|answer|output)\b.{0,20}\b(must|should|shall|has to|needs to)\b"
    r"|\byou (are|must|should|will|shall) (now |an? |not |always )|\bas an ai\b"
    r"|(^|\n)\s*(system|assistant|user|instructions?)\s*:|<\|.*?\|>|\[/?inst\]|</?\w+[^>]*>|\{\{|```|^#+ "
    r"|忽略|无视|不要理会|你(现在)?(是|必须|应该)|请(写|输出|回答|说)|系统提示|指令",
    re.I | re.S,
)


@dataclass(frozen=True)
class Fact:
    """One value of a field."""

    field: str
    value: str


@dataclass(frozen=True)
class Facts:
    """What the catalogue states of an item.

    kind      what every item of the catalogue is: film, product
    title     as the catalogue has it, on one line; the id where there is none
    facts     all that a text may state, without the title
    withheld  fields with values that read like instructions
    noun      terms at the end of the name that say what the item is: all that is trusted of a title but its size
    """

    item_id: Id
    kind: str
    title: str
    facts: tuple[Fact, ...]
    withheld: tuple[str, ...] = ()
    noun: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The title as a sentence says it: without what is in parentheses, and cut where it is long."""
        short = re.split(r"\s+[\(\[]|[（【]", self.title)[0] or self.title
        turned = re.fullmatch(r"(.+), (The|A|An|Les?|La|Il|El|Das|Der|Die)", short)
        return f"{turned[2]} {turned[1]}" if turned else _first_part(short)

    @property
    def names(self) -> set[str]:
        """All that a text may call the item, in lower case: its name, its title, and the name up to a comma."""
        part = self.name.partition(",")[0]
        return {self.name.lower(), self.title.lower(), part.lower() if " " in part else self.name.lower()}

    @property
    def size(self) -> str:
        """Size of the whole item that the title states, or nothing."""
        return size_of(self.title)

    @property
    def tells(self) -> bool:
        """Whether a text can state anything but the kind of the item."""
        return bool(self.facts or self.noun or self.size)

    @property
    def sentences(self) -> int:
        """Least number of sentences: two, or one where the facts are of fewer than three fields."""
        return 2 if len(self.by_field()) > 3 else 1

    def by_field(self) -> dict[str, list[str]]:
        """Values of each field, the title first."""
        found: dict[str, list[str]] = {"title": [self.title]}
        for fact in self.facts:
            found.setdefault(fact.field, []).append(fact.value)
        return found


def facts_of(
    catalogue: Catalogue,
    item: Id,
    *,
    kind: str,
    fields: Sequence[str] | None = None,
    nouns: Set[tuple[str, ...]] | None = None,
) -> Facts:
    """Collect what the catalogue states of an item; `fields` names its columns, by default all that can be said.

    nouns: those of `shop_nouns`, which are sought anew by default

    Raises `UnknownId`, and `SettingError` for a field that the catalogue lacks.
    """
    unknown = set(fields or ()).difference(catalogue.fields)
    if unknown:
        raise SettingError(f"field {min(unknown)!r}: the catalogue has {', '.join(catalogue.fields)}")
    row = catalogue.row(item)
    title = _line(str(row.get("title") or item))
    facts: list[Fact] = []
    withheld = {"title"} if INSTRUCTION.search(title) else set()
    for column in fields or filter(_is_said, catalogue.fields):
        for cell in () if column == "title" else _cells(row[column]):
            if INSTRUCTION.search(cell):
                withheld.add(field_name(column))
            else:
                facts += [Fact(field_name(column), _line(value)) for value in cell.split("|") if _tells(value)]
    bare = Facts(item, kind, title, (), tuple(sorted(withheld)))
    known = _words(title)
    found = [
        fact
        for fact in dict.fromkeys(facts)
        if not all(any(word.startswith(part) for word in known) for part in _words(fact.value))
    ]
    name = noun_of(bare.name)
    trusted = shop_nouns(catalogue) if nouns is None else nouns
    ends = [name[low:] for low in range(len(name)) if name[low:] in trusted]
    return replace(bare, facts=tuple(found[:MOST_VALUES]), noun=next(iter(ends), ()))


def shop_nouns(catalogue: Catalogue) -> frozenset[tuple[str, ...]]:
    """Nouns that end many titles of a catalogue; works with a year, "Christmas Story (2009)", are named by none."""
    if "title" not in catalogue.fields:
        return frozenset()
    titles = catalogue.frame["title"].drop_nulls()
    return nouns_of(Facts("", "", _line(title), ()).name for title in titles if not DATED.search(title))


def field_name(column: str) -> str:
    """Name of a column as words, those of a kind alike: `actor_1_name` and `actor_2_name` are actor."""
    words = re.sub(r"([a-z])([A-Z])", r"\1 \2", column).replace("_", " ").replace("-", " ").lower().split()
    kept = [word for word in words if word not in ("name", "names") and not word.isdigit()]
    return " ".join(kept) or column


def _words(text: str) -> set[str]:
    """Words of a text, and its hyphenated ones as one."""
    low = text.lower()
    return {*re.findall(r"\w+", low), *re.findall(r"\w+", re.sub(r"[-'’]", "", low))}


def _first_part(title: str) -> str:
    """Cut a title where shops begin to list: before numbers, and a long one at a comma, a dash, "for" or "with"."""
    if len(title) <= LONGEST_NAME:
        part, comma, rest = title.partition(", ")
        return part if comma and " " in part and re.search(r"\d", rest) else title.rstrip(",;!? ")
    part = re.split(r"[,，|]\s?|(?<=[a-z]{3})[.!?]\s|\s[-–]\s?|\s(?:for|with)\s", title, flags=re.I)[0].rstrip()
    return part if " " in part else title


def _is_said(column: str) -> bool:
    known = plain(column)
    return column not in UNSAID and not known.endswith("id") and known not in CATALOGUE["item"]


def _cells(value: object) -> Iterator[str]:
    """Texts of a cell: a list's parts, numbers as they are written."""
    parts: Iterable[object] = value if isinstance(value, list) else [value]
    for part in parts:
        if isinstance(part, float):
            yield f"{part:g}" if abs(part) < 1e5 else f"{part:.15g}"
        elif part is not None and not isinstance(part, bool):
            yield str(part)


def _tells(value: str) -> bool:
    """Whether a value is neither nothing nor an address."""
    return not NOTHING.fullmatch(value.strip()) and not ADDRESS.search(value)


def _line(text: str) -> str:
    """Put a text on one line, without control characters, and cut it at a word."""
    flat = " ".join("".join(c if c.isprintable() else " " for c in unescape(text)).split())
    return flat if len(flat) <= LONGEST_VALUE else flat[:LONGEST_VALUE].rsplit(" ", 1)[0]
