from __future__ import annotations

import contextlib
import sqlite3
import time
from datetime import UTC, date, datetime
from typing import Any

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from palate.conditions.compile import compile_condition
from palate.conditions.syntax import MOST_CHARACTERS, MOST_DEPTH
from palate.errors import ConditionError

FRAME = pl.DataFrame(
    {
        "item_id": ["a", "b", "c", "d", "e"],
        "price": [10.5, 20.0, None, 15.25, 99.0],
        "year": [1999, 2005, 2010, None, -7],
        "votes": pl.Series([5, -7, 0, None, 2**62]),
        "category": ["sci-fi", "drama", None, "sci-fi", "50%_off"],
        "adult": [False, None, True, False, True],
        "genres": [["Comedy", "War"], ["Drama"], None, [], ["Comedy"]],
        "flags": [[False, None], [True, None], [None], [], [False]],
        "sizes": [[1, 2], [40], None, [], [3]],
        "day": [date(2024, 1, 1), date(2024, 5, 31), None, date(2025, 1, 1), date(1969, 7, 20)],
        "seen": pl.Series(
            [datetime(2024, 1, 1, 12, tzinfo=UTC), None, None, None, datetime(1969, 7, 20, tzinfo=UTC)],
            dtype=pl.Datetime("ms", "UTC"),
        ),
        "Title": ["A", "b", "Ä", "d d", "e\ne"],
        "title": ["x", "x", "x", "x", "x"],
        "Brand name": ["q", "q", "r", None, "r"],
        "nothing": pl.Series([None] * 5, dtype=pl.Null),
        "*": [1, 2, 3, 4, 5],
        "^a.*$": [5, 4, 3, 2, 1],
        "select": range(1, 6),
        "case": range(5, 0, -1),
        "and": [0] * 5,
        "kind": pl.Series(["x", "y", None, "x", "y"], dtype=pl.Categorical),
        "size": pl.Series([{"w": 1}] * 5),
    }
)


def truth_of(text: str, frame: pl.DataFrame = FRAME) -> list[bool | None]:
    """What a condition is for each row."""
    found = frame.with_columns(compile_condition(text, frame.schema).alias("found"))["found"]
    assert found.dtype == pl.Boolean
    return found.to_list()


def chosen(text: str) -> str:
    """Ids of the rows for which a condition holds."""
    return "".join(row for row, holds in zip(FRAME["item_id"], truth_of(text), strict=True) if holds)


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("price < 20 AND category = 'sci-fi' AND NOT adult", "ad"),
        ("price between 10.5 and 20", "abd"),
        ("price NOT BETWEEN 10.5 AND 20", "e"),
        ("category IN ('drama', 'x')", "b"),
        ("category NOT IN ('drama', 'x')", "ade"),
        ("category NOT IN ('drama', NULL)", ""),
        ("year IN (1999.0, 3)", "a"),
        ("price IN (20, 99)", "be"),
        ("NOT (price < 20 OR adult)", ""),
        ("category IS NULL", "c"),
        ("adult IS NOT NULL AND NOT adult", "ad"),
        ("category = NULL OR NULL", ""),
        ("nothing = 1 OR nothing IS NULL", "abcde"),
        ("TRUE", "abcde"),
        ("1 = 2", ""),
        ("adult = FALSE", "ad"),
        ("(adult = TRUE) = FALSE", "ad"),
        ("'Comedy' = ANY(genres)", "ae"),
        ("ANY(genres) = 'Comedy'", "ae"),
        ("'Comedy' IN genres", "ae"),
        ("'Comedy' NOT IN genres", "bd"),
        ("CONTAINS(genres, 'Comedy')", "ae"),
        ("genres = 'Comedy'", "ae"),
        ("genres <> 'Comedy'", "bd"),
        ("genres IN ('War', 'Drama')", "ab"),
        ("genres IN ('War', NULL)", "a"),
        ("genres IS NULL", "c"),
        ("genres = NULL", ""),
        ("'category' = ANY(genres) OR category = ANY(genres)", ""),
        ("40.0 = ANY(sizes)", "b"),
        ("sizes IN (2, 3.0)", "ae"),
        ("year / 10 = 199", "a"),
        ("votes / 2 = -3", "b"),
        ("votes % 2 = -1", "b"),
        ("year / 0 IS NULL AND price / 0 IS NULL AND year % 0 IS NULL", "abcde"),
        ("year / 2.0 = 999.5", "a"),
        ("votes * 4 IS NULL", "de"),
        ("votes + votes > 0", "a"),
        ("-year = 7", "e"),
        ("- -year = 1999", "a"),
        ("1 + 2 * 3 - 4 = 3", "abcde"),
        ("ABS(votes) = 7", "b"),
        ("ABS(-price) = 20", "b"),
        ("ROUND(price) = 11", "a"),
        ("ROUND(price, 1) = 15.3", "d"),
        ("LENGTH(category) = 6", "ad"),
        ("LOWER(Title) = 'ä'", "c"),
        ("UPPER(category) = 'DRAMA'", "b"),
        ("COALESCE(price, 0) = 0", "c"),
        ("COALESCE(nothing, year, 1.5) = 1.5", "d"),
        ("COALESCE(adult, TRUE)", "bce"),
        ("'Comedy' = ANY(COALESCE(genres, genres))", "ae"),
        ("year IN (votes, 5, price * 2)", ""),
        ("votes IN (year, 5 + 0, 0)", "ac"),
        ("1 IN (1, year)", "abcde"),
        ("adult = ANY(flags)", "a"),
        ("genres IN (category, 'Drama')", "b"),
        ("day >= '2024-05-31'", "bd"),
        ("'2024-01-01' = day", "a"),
        ("day IN ('2024-01-01', '2025-01-01')", "ad"),
        ("day BETWEEN '2024-01-01' AND '2024-12-31T00:00:00Z'", "ab"),
        ("seen = '2024-01-01T13:00:00+01:00'", "a"),
        ("seen < day", ""),
        ("COALESCE('2024-01-01', day) = '2024-01-01'", "abcde"),
        ("TITLE = 'x' OR 1 = 1", None),
        ("\"Title\" = 'b'", "b"),
        ("title = 'x'", "abcde"),
        ("\"Brand name\" = 'q'", "ab"),
        ("\"brand NAME\" = 'q'", "ab"),
        ("PRICE < 11", "a"),
        ('"*" = 2', "b"),
        ('"^a.*$" = 2', "d"),
        ("kind = 'x'", "ad"),
        ("adult = category IS NULL", "acd"),
        ('select < 2 AND case = 5 AND "and" = 0', "a"),
        ("price = 10.5 AND\n\tyear = 1999", "a"),
    ],
)
def test_conditions(text: str, ids: str | None) -> None:
    if ids is None:
        with pytest.raises(ConditionError, match=r"column 'TITLE' could be 'Title', 'title'"):
            compile_condition(text, FRAME.schema)
    else:
        assert chosen(text) == ids


@pytest.mark.parametrize(
    ("pattern", "ids"),
    [
        ("LIKE 'sci%'", "ad"),
        ("LIKE '%fi'", "ad"),
        ("LIKE '%i-f%'", "ad"),
        ("LIKE '%'", "abde"),
        ("LIKE ''", ""),
        ("LIKE 's_i%'", "ad"),
        ("LIKE 'd____'", "b"),
        ("LIKE 'S%'", ""),
        ("ILIKE 'S%'", "ad"),
        ("NOT LIKE 'sci%'", "be"),
        ("LIKE '50!%!_%' ESCAPE '!'", "e"),
        ("NOT LIKE '50!%!_%' ESCAPE '!'", "abd"),
        ("LIKE '.*'", ""),
        ("LIKE NULL", ""),
    ],
)
def test_like(pattern: str, ids: str) -> None:
    assert chosen(f"category {pattern}") == ids


def test_underscore_stands_for_a_line_end_too() -> None:
    assert chosen("\"Title\" LIKE 'e_e'") == "e"


def test_every_character_of_a_pattern_but_two_stands_for_itself() -> None:
    letters = [chr(code) for code in range(1, 256) if chr(code) not in "%_'"]
    frame = pl.DataFrame({"letter": letters})
    for letter in letters:
        found = truth_of(f"letter LIKE '{letter}'", frame)
        assert [each for each, holds in zip(letters, found, strict=True) if holds] == [letter]


@pytest.mark.parametrize(
    ("text", "position", "rule"),
    [
        ("price < 20 AND prise > 3", 15, "column 'prise' is unknown; did you mean 'price'? known are"),
        ("qqq = 1", 0, "column 'qqq' is unknown; known are"),
        ("price < 'cheap'", 8, "'cheap' (text) cannot be compared with price (a number)"),
        ("category IN ('a', 3)", 18, "3 (a number) cannot be compared with category (text)"),
        ("adult = 1", 8, "1 (a number) cannot be compared with adult (true or false)"),
        ("year BETWEEN 1 AND 'x'", 19, "'x' (text) cannot be compared with year (a number)"),
        ("genres < 'a'", 0, "a list knows only = and <> with a single value"),
        ("genres = genres", 0, "a list knows only = and <> with a single value"),
        ("genres = 3", 9, "3 (a number) cannot be compared with genres (text)"),
        ("category + 1 = 2", 0, "category (text): + needs numbers"),
        ("price % 2 = 0", 0, "price (a number): % needs whole numbers"),
        ("LOWER(price) = 'x'", 6, "price (a number): LOWER needs text"),
        ("ROUND(price, -1) = 1", 14, "ROUND keeps 0 to 15 digits"),
        ("price LIKE 'x'", 0, "price (a number): LIKE needs text"),
        ("category LIKE category", 14, "the pattern of LIKE must stand in quotes"),
        ("category LIKE 'x' ESCAPE 'ab'", 25, "ESCAPE follows LIKE and names one character"),
        ("category LIKE 'x!' ESCAPE '!'", 14, "ends with the character that ESCAPE names"),
        ("'x' = ANY(category)", 10, "category (text) is no list"),
        ("'x' <> ANY(genres)", 11, "ANY goes with = and a single value"),
        ("CONTAINS(category, 'x')", 9, "category (text) is no list"),
        ("day > 'soon'", 6, "'soon' is no time; write '2024-05-31'"),
        ("day > 5", 6, "5 (a number) cannot be compared with a time"),
        ("COALESCE(price, 'x') = 1", 16, "'x' (text) cannot be compared with price"),
        ("price", 0, "price (a number): neither true nor false"),
        ("NOT 'x'", 4, "'x' (text): neither true nor false"),
        ("adult AND year", 10, "year (a number): neither true nor false"),
        ("size = 1", 0, "column 'size' is of type Struct"),
        ("price < 1e999", 8, "a number must be finite"),
        ("price IS 5", 0, "IS goes with NULL or NOT NULL"),
        ("adult = TRUE = TRUE", 0, "a comparison within another needs parentheses"),
        ("adult = category IN ('x')", 8, "a comparison within another needs parentheses"),
        ("", 0, "a condition must not be empty"),
        (" \n", 0, "a condition must not be empty"),
        ("price < 20 foo", 11, "cannot be read at 'foo'"),
        ("price <", 6, "cannot be read at '<'"),
        ("(price < 20", 9, "cannot be read at '20'"),
        ("= 1", 2, "cannot be read at '1'"),
        ("CURRENT_DATE > day", 0, "column 'CURRENT_DATE' is unknown"),
        ("ANY(genres)", 4, "ANY goes with = and a single value"),
        ("ANY(genres) = ANY(genres)", 18, "ANY goes with = and a single value"),
        ("category = 'x", 11, "never closed"),
        ('category = "x', 11, "never closed"),
        ("category = '\ud800'", 12, "half a surrogate pair"),
        ("category = N'x'", 11, "quotes and nothing before them"),
        ("price < ?", 8, "? means nothing"),
        ("price < :p", 8, ": means nothing"),
        ("price < @p", 8, "@ means nothing"),
        ("price < 20; DROP TABLE items", 10, "; means nothing"),
        ("price < 20;", 10, "; means nothing"),
        ("price::text = 'x'", 5, ":: means nothing"),
        ("category || 'x' = 'y'", 9, "|| means nothing"),
        ("price < 20 -- and more", 11, "no comments"),
        ("price /* x */ < 20", 6, "no comments"),
        ("price < (SELECT 1)", 16, "cannot be read at '1'"),
        ("price IN (SELECT 1)", 17, "cannot be read at '1'"),
        ("CAST(price AS text) = 'x'", 0, "function CAST is unknown; known are ABS,"),
        ("day = DATE '2024-01-01'", 11, "cannot be read at"),
        ("CASE WHEN adult THEN TRUE END", 5, "cannot be read at 'WHEN'"),
        ("price = 1 OR now() > day", 13, "function now is unknown; known are ABS, COALESCE,"),
        ("category RLIKE 'x*'", 9, "cannot be read at 'RLIKE'"),
        ("category SIMILAR TO 'x*'", 9, "cannot be read at 'SIMILAR TO'"),
        ("items.price < 1", 0, "COLUMN is not understood with 'table'"),
        ("price BETWEEN SYMMETRIC 9 AND 1", 14, "column 'SYMMETRIC' is unknown"),
        ("price IN ()", 0, "IN takes 1 to 1,000 values, not 0"),
        ("price IN (" + ",".join("1" * 1001) + ")", 0, "IN takes 1 to 1,000 values, not 1,001"),
        ("1" + "+1" * 40 + " = 1", 0, "25 deep"),
        ("year IN (" + ",".join(["year/1"] * 101) + ")", 702, "there can be 100 comparisons and computations"),
        (" OR ".join(["year = 1"] * 101), 1200, "there can be 100 comparisons and computations"),
        ("price IN (" + ", ".join(["title"] * 101) + ")", 703, "there can be 100 comparisons and computations"),
        ("COALESCE(" + ", ".join(["title"] * 101) + ") = 'x'", 702, "there can be 100 comparisons and computations"),
        ("category LIKE '" + "%_" * 1900 + "'", 14, "a pattern of LIKE has up to 20 % and 50 _"),
        ("category LIKE '" + "a%" * 21 + "'", 14, "a pattern of LIKE has up to 20 % and 50 _"),
    ],
)
def test_faults_are_found_without_running_and_name_their_place(text: str, position: int, rule: str) -> None:
    with pytest.raises(ConditionError) as caught:
        compile_condition(text, FRAME.schema)
    assert rule in str(caught.value)
    assert str(caught.value).startswith(f"condition, character {position + 1}: ")
    assert (caught.value.condition, caught.value.position) == (text, position)


@pytest.mark.parametrize("many", [1, MOST_DEPTH, MOST_DEPTH + 1, 1000])
@pytest.mark.parametrize(("before", "after"), [("(", ")"), ("NOT ", ""), ("NOT (", ")"), ("- ", "")])
def test_nesting_is_bounded(many: int, before: str, after: str) -> None:
    text = before * many + ("adult" if before != "- " else "1") + after * many + (" = 1" if before == "- " else "")
    levels = many * (2 if before == "NOT (" else 1) + (1 if before == "- " else 0)
    if levels <= MOST_DEPTH:
        compile_condition(text, FRAME.schema)
    else:
        with pytest.raises(ConditionError, match=r"deep|characters"):
            compile_condition(text, FRAME.schema)


@pytest.mark.parametrize(
    "text",
    [
        "(" * 100_000,
        "NOT " * 5000,
        " AND ".join(["adult"] * 2000),
        "(" * MOST_CHARACTERS,
        ")" * MOST_CHARACTERS,
        "NOT " * 1000,
        " - " * 1300,
        "CASE " * 800,
        "adult BETWEEN " * 280,
        "ABS(" * 1000,
        "adult IN (" * 400,
        "adult IS NULL " * 280,
        "adult=" * 600 + "adult",
        "year+" * 700 + "1 = 1",
        "EXISTS " * 570,
        "INTERVAL " * 440,
        "'" * 3999,
        '"' * 3999,
        "price IN (" + ",".join(["(1)"] * 990) + ")",
        "year" + " / 1" * 23 + " = 1",
        "year" + " % 9" * 23 + " = 1",
        "price = 1 / " + "(1 / " * 11 + "price" + ")" * 11,
        "COALESCE(" * 23 + "year" + ", votes)" * 23 + " = 1",
        "(" * 11 + "adult" + " BETWEEN adult AND TRUE)" * 11,
        "(" * 11 + "adult" + " IN (adult, adult, adult, adult, adult))" * 11,
        "adult IN (" * 12 + "adult, adult" + ")" * 12,
        "ABS(-" * 11 + "year" + ")" * 11 + " = 1",
        "category LIKE '" + "%_" * 1900 + "'",
        "category ILIKE '" + "ſ%" * 1900 + "'",
    ],
)
def test_no_text_takes_long(text: str) -> None:
    start = time.process_time()
    with contextlib.suppress(ConditionError):
        truth_of(text)
    assert time.process_time() - start < 2


def test_long_chains_are_no_nesting() -> None:
    assert truth_of(" AND ".join(["adult"] * 390)) == FRAME["adult"].to_list()
    assert truth_of(" OR ".join(["adult"] * 390)) == FRAME["adult"].to_list()


WORDS = """
price year adult genres day category nothing kind size 1 2.5 'x' '' NULL TRUE AND OR NOT IN LIKE ILIKE BETWEEN
IS ( ) ( ) , = <> < >= + - * / % LOWER LENGTH COALESCE ROUND ABS ANY CONTAINS ESCAPE '2024-01-01' CASE WHEN
END SELECT FROM CAST AS INTERVAL . ; -- /* */ [ ] { } :: ? @ # $ ~ ^ & | ! \\ ` " ' e\u0301 \u00a0 WITH OVER
DISTINCT UNION STRUCT MAP ARRAY JSON X E N B U& DATE TIMESTAMP EXTRACT SUBSTRING TRIM IF TRY_CAST CURRENT_DATE
VALUES SET SHOW DESCRIBE PIVOT LATERAL UNNEST FILTER GROUP ORDER BY LIMIT COLLATE
"""
WORD = st.sampled_from(WORDS.split())


@settings(max_examples=700, deadline=None)
@given(text=st.one_of(st.text(max_size=60), st.lists(WORD, max_size=14).map(" ".join), st.lists(WORD).map("".join)))
@example(text="a = 1e")
@example(text="$$x$$ = 1")
@example(text="N''")
def test_any_text_gives_an_expression_or_a_condition_error(text: str) -> None:
    with contextlib.suppress(ConditionError):
        truth_of(text)


# The same conditions in SQLite

NUMBERS = st.sampled_from(["i", "j", "x", "0", "1", "2", "7", "1.5", "2.0", "NULL"])
WHOLES = st.sampled_from(["i", "j", "0", "2", "3"])
TEXTS = st.sampled_from(["s", "t", "'a'", "'ab'", "'B'", "''", "NULL", "LOWER(s)", "UPPER(t)", "COALESCE(s, t)"])
TRUTHS = st.sampled_from(["b", "TRUE", "FALSE", "NULL", "b = TRUE", "i IS NULL", "s IS NOT NULL"])
SIGN = st.sampled_from(["=", "<>", "!=", "<", "<=", ">", ">="])
PATTERN = st.text("ab%_!B", max_size=4).map(lambda text: "'" + text.replace("!", "") + "'")


def numbers(depth: int) -> st.SearchStrategy[str]:
    if depth == 0:
        return NUMBERS
    deeper = numbers(depth - 1)
    return st.one_of(
        NUMBERS,
        st.tuples(deeper, st.sampled_from("+-*/"), deeper).map(" ".join),  # which binds first is SQLite's to say
        st.tuples(st.just("("), deeper, st.sampled_from("+-*/"), deeper, st.just(")")).map(" ".join),
        st.tuples(WHOLES, st.just("%"), WHOLES).map(" ".join).map("({})".format),
        deeper.map("-({})".format),
        deeper.map("ABS({})".format),
        st.tuples(WHOLES, WHOLES).map(", ".join).map("COALESCE({})".format),
        # SQLite types each value by itself; here a column of both kinds is one of floats.
        st.tuples(deeper, deeper).map(lambda pair: f"COALESCE(1.0 * ({pair[0]}), 1.0 * ({pair[1]}))"),
        TEXTS.map("LENGTH({})".format),
    )


def truths(depth: int) -> st.SearchStrategy[str]:
    number, negated = numbers(2), st.sampled_from(["", "NOT "])
    plain = st.one_of(
        TRUTHS,
        st.tuples(number, SIGN, number).map(" ".join),
        st.tuples(TEXTS, SIGN, TEXTS).map(" ".join),
        st.tuples(number, negated, number, number).map(lambda v: f"{v[0]} {v[1]}BETWEEN {v[2]} AND {v[3]}"),
        st.tuples(number, negated, st.lists(NUMBERS, min_size=1, max_size=3)).map(
            lambda v: f"{v[0]} {v[1]}IN ({', '.join(v[2])})"
        ),
        st.tuples(TEXTS, negated, st.lists(TEXTS, min_size=1, max_size=3)).map(
            lambda v: f"{v[0]} {v[1]}IN ({', '.join(v[2])})"
        ),
        st.tuples(TEXTS, negated, PATTERN).map(lambda v: f"{v[0]} {v[1]}LIKE {v[2]}"),
        st.tuples(number, st.sampled_from(["IS NULL", "IS NOT NULL"])).map(lambda v: f"({v[0]}) {v[1]}"),
    )
    if depth == 0:
        return plain
    deeper = truths(depth - 1)
    return st.one_of(
        plain,
        st.tuples(deeper, st.sampled_from(["AND", "OR"]), deeper).map(" ".join),
        st.tuples(deeper, st.sampled_from(["AND", "OR"]), deeper).map(" ".join).map("({})".format),
        deeper.map("NOT {}".format),
        deeper.map("NOT ({})".format),
        st.tuples(deeper, st.sampled_from(["=", "<>"]), deeper).map(lambda v: f"({v[0]}) {v[1]} ({v[2]})"),
    )


ROWS = pl.DataFrame(
    {
        "i": [None, 0, 1, -7, 7, 2, 3, -2],
        "j": [3, None, 0, 2, -2, 7, 3, -1],
        "x": [0.5, -1.5, None, 2.0, 7.0, 0.0, 1e300, -3.25],
        "s": ["a", None, "ab", "", "B", "a%", "ba", "AB"],
        "t": ["ab", "a", "", None, "b", "a_b", "B", "ab"],
        "b": [True, False, None, True, False, None, True, False],
    }
)


@pytest.fixture(scope="module")
def sqlite() -> Any:
    with sqlite3.connect(":memory:", check_same_thread=False) as connection:
        connection.execute("CREATE TABLE rows (i INTEGER, j INTEGER, x REAL, s TEXT, t TEXT, b BOOLEAN)")
        connection.executemany("INSERT INTO rows VALUES (?, ?, ?, ?, ?, ?)", ROWS.rows())
        connection.execute("PRAGMA case_sensitive_like = ON")
        yield connection
    connection.close()


@settings(max_examples=300, deadline=None)
@given(text=truths(2))
@example(text="0 = COALESCE(0, i) AND (1 + 1) = COALESCE(1 + 1, i)")
@example(text="i / 2 * j % 2 - -j = 1 OR NOT b AND s LIKE '_%' AND 7 / 2 = 3")
def test_sqlite_agrees(sqlite: Any, text: str) -> None:
    theirs = [row[0] for row in sqlite.execute(f"SELECT {text} FROM rows ORDER BY rowid")]
    ours = truth_of(text, ROWS)
    assert ours == [None if value is None else bool(value) for value in theirs], text
