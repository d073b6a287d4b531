"""The fact check of Chinese, which puts no space between words: facts and a closed list of phrases cover the text."""

from __future__ import annotations

import re
from collections.abc import Iterator

from palate.describe.facts import Facts
from palate.describe.words import RELATED

LABELS = {
    "categories": "类别",
    "director": "导演",
    "actor": "演员",
    "keywords": "关键词",
    "plot keywords": "关键词",
    "tags": "标签",
    "language": "语言",
    "country": "国家",
    "year": "年份",
    "brand": "品牌",
    "author": "作者",
    "artist": "艺术家",
    "color": "颜色",
    "material": "材质",
    "text": "简介",
}
PHRASES = (
    *(
        "这是一部",
        "这是一款",
        "这是一个",
        "是一部",
        "是一款",
        "是一个",
        "是一件",
        "这款",
        "这部",
        "属于",
        "包括",
        "以及",
    ),
    *("该", "是", "的", "为", "和", "与", "及", "并", "也", "还", "有", "它", "其"),
    *("。", "，", "、", "：", "；", "《", "》", "（", "）", "“", "”", " ", "(", ")", ",", ".", ":", "-"),
)
NEGATORS = "不无非没未防免抗去零"
CJK = re.compile(r"[\u3400-\u9fff]")
LEAST_CJK = 4  # characters that are of no fact


def label_of(field: str) -> str:
    """Name of a field in Chinese, or as it is."""
    return LABELS.get(field, field)


def chinese_faults(body: str, facts: Facts) -> Iterator[str]:
    """Find what the text states beyond the facts: characters that no fact and no neutral phrase covers.

    A value of a field that says what it is to the item, a director, a keyword, stands after the field's label.
    """
    values = [(value, field) for field, field_values in facts.by_field().items() for value in field_values]
    if "title" in facts.withheld:
        values = [(value, field) for value, field in values if field != "title"]
    pieces = {(value.lower(), field) for value, field in values} | {(facts.name.lower(), "title")}
    phrases = sorted([(facts.kind.lower(), "kind"), *pieces], key=lambda piece: -len(piece[0]))
    labels = {label_of(field): field for field in facts.by_field()}
    text, at, label, own, named = body.lower(), 0, "", 0, False
    while at < len(text):
        found = _longest(text, at, phrases)
        heading = next((name for name in sorted(labels, key=len, reverse=True) if text.startswith(name, at)), "")
        if heading and len(heading) >= len(found[0]):
            label, step = labels[heading], len(heading)
            own += len(CJK.findall(heading))
        elif found[0]:
            step = len(found[0])
            named |= found[1] == {"title"}
            if not _fits(found[1], label):
                yield f"{found[0]} ({', '.join(sorted(found[1]))}) without its label"
        else:
            phrase = next((each for each in PHRASES if text.startswith(each, at)), "")
            step = len(phrase) or _word(text, at)
            own += len(CJK.findall(phrase))
            if not phrase:
                yield f"not in the facts: {body[at : at + step]}"
            if phrase in ("。", "；", "."):
                label = ""
        at += step
    if own < LEAST_CJK:
        yield "not in Chinese"
    if not named:
        yield f"does not name the item: {facts.name}"


def _fits(fields: set[str], label: str) -> bool:
    if label:
        return label in fields
    return any(RELATED.isdisjoint({word.removesuffix("s") for word in field.split()}) for field in fields)


def _longest(text: str, at: int, phrases: list[tuple[str, str]]) -> tuple[str, set[str]]:
    """Longest piece of a value, of two characters or the whole of it, that stands at a place, and its fields."""
    best, fields = "", set[str]()
    for value, field in phrases:
        for start in [m.start() for m in re.finditer(re.escape(text[at]), value)]:
            if start and (value[start - 1] in NEGATORS or _inside_word(value, start)):
                continue
            length = _common(text, at, value, start)
            if (length < 2 and length < len(value)) or length < len(best):
                continue
            piece = value[start : start + length]
            fields = fields | {field} if piece == best else {field}
            best = piece
    return best, fields


def _common(text: str, at: int, value: str, start: int) -> int:
    length = 0
    while at + length < len(text) and start + length < len(value) and text[at + length] == value[start + length]:
        length += 1
    while length and (_inside_word(text, at + length) or _inside_word(value, start + length)):
        length -= 1
    return length


def _inside_word(text: str, at: int) -> bool:
    """Whether a place lies within a number or a word of letters that spaces part."""
    return 0 < at < len(text) and bool(re.fullmatch(r"[^\W_\u3400-\u9fff]{2}", text[at - 1 : at + 1]))


def _word(text: str, at: int) -> int:
    """Characters up to the end of the word that begins at a place."""
    end = at + 1
    while _inside_word(text, end):
        end += 1
    return end - at
