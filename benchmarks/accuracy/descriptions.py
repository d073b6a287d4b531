"""Describe 200 items of two sets by the small local model, and let a second list of rules judge what was kept.

The judge shares nothing with the check. It reads the rows of the files themselves, not the facts made of them, and
looks for what is known to be a claim (colours, materials, genres, nations, praise, numbers with units, names), then
for any other word that is no part of the row; and it compares who directed and who played with the columns.

python -m benchmarks.accuracy.descriptions --out benchmarks/results/descriptions.md [--seconds 700] [--keep FOLDER]

What an eye said of the first texts of each set stands in results/descriptions.jsonl, by the hash of the text: another
run keeps it, and a text that was not read has no verdict. Films' people and keywords may not be passed on, so
their texts are kept in FOLDER alone.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.common.outcomes import read_outcomes
from benchmarks.common.paths import DATA, RESULTS
from benchmarks.common.tables import grid, parser, publish, title
from palate.data.catalogue import read_catalogue
from palate.describe.describing import SPENT, Budget, Manner, Summary, describe
from palate.describe.lines import Description
from palate.describe.local import Local

JUDGED = RESULTS / "descriptions.jsonl"
SEED = 5  # of the samples: other items than those on which the check was made
EYE = 20  # texts of a set that are read
LISTS = {
    "colour": "black white red blue green yellow pink purple brown gray grey silver gold golden beige ivory orange",
    "material": "wood wooden steel metal plastic glass leather cotton silk wool rubber ceramic silicone paper bamboo",
    "genre": "comedy drama horror thriller romance romantic action adventure fantasy mystery western musical crime "
    "war documentary animated animation sci-fi science-fiction biographical historical",
    "nation": "american british french german italian russian japanese chinese indian spanish english korean mexican",
    "praise": "best great amazing perfect award-winning award new free waterproof luxury premium quality popular top "
    "famous classic unique beautiful leading natural organic safe effective gentle ultimate exclusive original only",
    "doubt": "not no never without all every always most first last more better",
}
# A closed list of words that claim nothing of an item.
SILENT = """a an the it is are has and also with by from in about of for as comes features includes stars starring
directed written film product"""
UNITS = "oz ounce ounces ml gram grams g kg lb inch inches cm mm pack count hours hour years year minutes"


def films() -> pl.DataFrame:
    """Films with title, genres, director, three actors and plot keywords, as the files have them."""
    folder = DATA / "movielens-small"
    keywords = pl.read_csv(folder / "keywords.csv").drop("movie_title")
    return pl.read_csv(folder / "movies.csv").join(keywords, on="movieId")


def products() -> pl.DataFrame:
    """Beauty products with their titles; the keywords of the file are titles once more, cut off within words."""
    frame = pl.read_csv(DATA / "amazon-beauty" / "items.csv").select("item", "title")
    return frame.filter(pl.col("title").is_not_null())


def claims(text: str, row: Mapping[str, Any]) -> Iterator[str]:
    """Yield what the second list of rules finds in a text that the row of the file does not hold."""
    whole = _flat(" ".join(str(value) for value in row.values() if value is not None))
    said = _flat(text)
    for what, words in LISTS.items():
        yield from (f"{what} {w}" for w in words.split() if f" {_flat(w)} " in f" {said} " and _flat(w) not in whole)
    for number, unit in re.findall(r"(\d+(?:\.\d+)?)[\s-]*([a-z%]*)", text.lower()):
        pattern = rf"(?<![\d.]){re.escape(number)}(?![\d])" + (
            rf"[\s\-.]*{unit[:2]}" if unit in UNITS.split() else ""
        )
        if not re.search(pattern, " ".join(map(str, row.values())).lower()):
            yield f"number {number} {unit}"
    for name in re.findall(r"[A-Z][\w'.]+(?: [A-Z][\w'.]+)+", text.replace(". It ", ". it ")):
        bare = re.sub(r"^(The|A|An|El|La) ", "", name)  # "Fog, The" in the file
        if _flat(bare) not in whole:
            yield f"name {name}"
    for word in said.split():
        if word not in SILENT.split() and word not in whole and word.rstrip("s") not in whole:
            yield f"word {word}"
    yield from _misplaced(text, row)


def _misplaced(text: str, row: Mapping[str, Any]) -> Iterator[str]:
    """Who is said to direct or to play, beside the columns."""
    if "director_name" not in row:
        return
    cast = _flat(" ".join(str(row[f"actor_{n}_name"]) for n in (1, 2, 3)))
    ends = r"(?=,? (?:starring|stars|about|from|in|features|is)\b|\.(?: It|$)|$)"
    for names in re.findall(rf"directed by (.+?){ends}", text):
        if _flat(names) != _flat(str(row["director_name"])):
            yield f"directed by {names}"
    for names in re.findall(rf"(?:stars|starring) (.+?){ends}", text):
        for name in re.split(r",? and |, ", names):
            if _flat(name) not in cast:
                yield f"stars {name}"


def _flat(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.lower().replace("'", "")))


def run(name: str, frame: pl.DataFrame, kind: str, folder: Path, count: int, seconds: float) -> tuple[Summary, float]:
    """Describe a sample; returns the summary and the mean seconds of an item that the model was asked for."""
    part, out = read_catalogue(frame.sample(count, seed=SEED)), folder / f"{name}.jsonl"
    shop = read_catalogue(frame)
    summary = describe(part, out, Local(), Manner(kind), budget=Budget(seconds), shop=shop, watch=_watch)
    asked = [line for line in tried(summary) if line.tokens]
    return summary, sum(line.seconds for line in asked) / max(len(asked), 1)


def tried(summary: Summary) -> list[Description]:
    """Lines that the budget let be."""
    return [line for line in summary.lines if line.refused != (SPENT,)]


def _watch(done: int, of_all: int) -> None:
    if done % 10 == 0:
        print(f"{done} of {of_all}", flush=True)


def main() -> None:
    """Measure both sets and print the table, the refusals, and 20 texts of each for the eye."""
    asked = parser(__doc__)
    asked.add_argument("--seconds", type=float, default=700, help="budget of each set")
    asked.add_argument("--items", type=int, default=200, help="items of each set")
    asked.add_argument("--keep", type=Path, help="folder that keeps the texts, so that a run goes on with them")
    given = asked.parse_args()
    if not DATA.is_dir():
        print(f"skipped: {DATA} is absent")
        return
    with tempfile.TemporaryDirectory() as place:
        folder = given.keep or Path(place)
        folder.mkdir(parents=True, exist_ok=True)
        publish("\n".join(_report(folder, given.items, given.seconds)) + "\n", given.out)


def _report(folder: Path, count: int, seconds: float) -> list[str]:
    rows, eyes, verdicts = [], list[str](), judged()
    for name, frame, kind in (("amazon-beauty", products(), "product"), ("movielens-small", films(), "film")):
        summary, mean = run(name, frame, kind, folder, count, seconds)
        lines = tried(summary)
        by_id = {row[frame.columns[0]]: row for row in frame.iter_rows(named=True)}
        counts = [sum(line.status == status for line in lines) for status in ("accepted", "retried", "template")]
        written = [line for line in lines if line.status != "template"]
        found = {line.item_id: list(claims(line.body, by_id[line.item_id])) for line in written}
        read = [verdicts[key] for key in map(mark, written) if key in verdicts]
        wrong = sum(not verdict.startswith("supported") for verdict in read)
        asked = sum(line.tokens > 0 for line in lines)
        share, left = sum(counts[:2]) / max(len(lines), 1), sum(map(bool, found.values()))
        numbers = [len(lines), asked, *counts, f"{share:.0%}", left, f"{wrong} of {len(read)}", f"{mean:.1f}"]
        rows.append([name, *map(str, numbers)])
        eyes += ["", f"## {name}: {EYE} texts", ""]
        shown = [
            [
                line.body if kind == "product" else f"film {line.item_id}",
                "; ".join(found[line.item_id]) or "nothing",
                verdicts.get(mark(line), "not read"),
            ]
            for line in written[:EYE]
        ]
        eyes += grid(["text", "the second list of rules", "by eye"], shown)
        later = {i: [claim.split()[0] for claim in f] for i, f in found.items() if f}
        eyes += ["", f"Found by the second list, by item: {later or 'nothing'}."]
    head = ["set", "items", "asked of the model", "accepted", "retried", "template", "kept of the model"]
    head += ["found by the second list", "wrong by eye", "s an item asked"]
    return [*title("Descriptions by a model of 270M parameters", ("xllamacpp", "palate")), *grid(head, rows), *eyes]


def judged() -> dict[str, str]:
    """Verdicts of an eye by the mark of the text."""
    return {line["text"]: line["verdict"] for line in read_outcomes(JUDGED)}


def mark(line: Description) -> str:
    """Hash of a text."""
    return hashlib.sha256(line.description.encode()).hexdigest()[:16]


if __name__ == "__main__":
    main()
