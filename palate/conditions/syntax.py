"""The syntax of conditions: a text in, a tree of the parts allowed out. The one home of sqlglot (extra `serve`).

sqlglot parses all of SQL; what `PARTS` does not list is refused with its place.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TypeAlias

from palate.conditions.values import Fault
from palate.errors import MissingExtra

try:
    from sqlglot import exp
    from sqlglot.errors import ErrorLevel, ParseError, SqlglotError
    from sqlglot.parser import Parser
    from sqlglot.tokenizer_core import Token, TokenType
    from sqlglot.tokens import Tokenizer
except ModuleNotFoundError:
    raise MissingExtra("sqlglot", "serve") from None

__all__ = [
    "ARITHMETIC",
    "COMPARISONS",
    "MOST_DEPTH",
    "PREDICATES",
    "TOO_DEEP",
    "Part",
    "exp",
    "parsed",
    "place",
    "refuse_others",
]

Part: TypeAlias = "type[exp.Expr]"  # of a condition

MOST_CHARACTERS = 4000
MOST_DEPTH = 25  # the parser takes up to 29 frames of Python's 1,000 for a level

COMPARISONS: dict[Part, str] = {
    exp.EQ: "=",
    exp.NEQ: "<>",
    exp.LT: "<",
    exp.LTE: "<=",
    exp.GT: ">",
    exp.GTE: ">=",
}
ARITHMETIC: dict[Part, str] = {exp.Add: "+", exp.Sub: "-", exp.Mul: "*", exp.Div: "/", exp.Mod: "%"}
FUNCTIONS = (exp.Abs, exp.Any, exp.Lower, exp.Upper, exp.Length)
ONE, TWO = {"this"}, {"this", "expression"}
# What may stand in a condition, and which arguments it may have there: one more could turn the meaning around.
PARTS: dict[Part, set[str]] = {
    exp.Null: set(),
    exp.Literal: {"this", "is_string"},
    **dict.fromkeys((exp.Boolean, exp.Column, exp.Paren, exp.Not, exp.Neg, *FUNCTIONS), ONE),
    **dict.fromkeys((exp.And, exp.Or, exp.Is, exp.Escape, exp.Contains, *COMPARISONS, *ARITHMETIC), TWO),
    **dict.fromkeys((exp.Like, exp.ILike), TWO | {"negate"}),
    exp.In: {"this", "expressions", "field"},
    exp.Between: {"this", "low", "high"},
    exp.Round: {"this", "decimals"},
    exp.Coalesce: {"this", "expressions"},
}
# Dialects differ in which of these binds first, so one inside another needs parentheses.
PREDICATES: tuple[Part, ...] = (
    *(exp.Not, exp.And, exp.Or, exp.Is, exp.In, exp.Between, exp.Like, exp.ILike, exp.Escape),
    *COMPARISONS,
)
SIGNS = {*"(),.+-*/%", "=", "==", "<>", "!=", "<", "<=", ">", ">="}
SPELLED = {TokenType.STRING, TokenType.NUMBER, TokenType.IDENTIFIER}
KEYWORDS = {
    *(TokenType.AND, TokenType.OR, TokenType.NOT, TokenType.IN, TokenType.BETWEEN, TokenType.LIKE, TokenType.ILIKE),
    *(TokenType.ESCAPE, TokenType.IS, TokenType.NULL, TokenType.TRUE, TokenType.FALSE, TokenType.ANY),
}
NAMES = ("ABS", "COALESCE", "CONTAINS", "LENGTH", "LOWER", "ROUND", "UPPER")
TOO_DEEP = f"parentheses, signs and words may stand {MOST_DEPTH} deep in one another, no deeper"


def parsed(text: str) -> exp.Expr:
    """Parse a condition; raises `Fault` for what is no condition, is foreign to one, or would take too long."""
    tokens = _tokens(text)
    try:
        tree = Parser(error_level=ErrorLevel.IMMEDIATE).parse_into(exp.Condition, tokens, text)[0]
    except ParseError as error:
        found = error.errors[0]
        places = {(token.line, token.col): token.start for token in tokens}
        place = places.get((found["line"], found["col"]), 0)
        raise Fault(place, f"cannot be read at {found['highlight']!r}") from None
    except RecursionError:
        raise Fault(0, "is nested too deeply") from None
    if tree is None:
        raise Fault(0, "cannot be read")
    return tree


def _tokens(text: str) -> list[Token]:
    """Cut the text; raises `Fault` for comments, foreign signs, and what is too long or nested too deeply."""
    if len(text) > MOST_CHARACTERS:
        raise Fault(MOST_CHARACTERS, f"has {len(text):,} characters; there can be {MOST_CHARACTERS:,}")
    try:
        text.encode()
        tokens = Tokenizer().tokenize(text)
    except UnicodeEncodeError as error:
        raise Fault(error.start, "half a surrogate pair is no Unicode") from None
    except SqlglotError:
        raise Fault(_opened(text), "what is opened here is never closed") from None
    ends = [0, *(token.end + 1 for token in tokens)]
    starts = [*(token.start for token in tokens), len(text)]
    for end, start in zip(ends, starts, strict=True):
        if text[end:start].strip():
            raise Fault(start - len(text[end:start].lstrip()), "a condition holds no comments")
    if not tokens:
        raise Fault(0, "a condition must not be empty")
    _refuse_depth(tokens)
    return [_known(token, after) for token, after in zip(tokens, [*tokens[1:], None], strict=True)]


def _opened(text: str) -> int:
    """Place of a quote without its end."""
    closed = re.match(r"""(?:[^'"]|'[^']*'|"[^"]*")*+""", text)
    return min(closed.end() if closed else 0, len(text) - 1)


def _known(token: Token, after: Token | None) -> Token:
    """Make a column's name of any word that means nothing in a condition; refuse such a sign or function."""
    if token.token_type in SPELLED | KEYWORDS or token.text in SIGNS:
        return token
    if token.token_type == TokenType.NATIONAL_STRING:
        raise Fault(token.start, "a text has quotes and nothing before them")
    if not token.text[0].isalnum() and token.text[0] != "_":
        raise Fault(token.start, f"{token.text} means nothing in a condition")
    if after is None or after.token_type != TokenType.L_PAREN:
        return Token(TokenType.IDENTIFIER, token.text, token.line, token.col, token.start, token.end)
    if token.text.upper() not in NAMES:
        raise Fault(token.start, f"function {token.text} is unknown; known are {', '.join(NAMES)}")
    return Token(TokenType.VAR, token.text, token.line, token.col, token.start, token.end)


def _refuse_depth(tokens: Sequence[Token]) -> None:
    """Count brackets, and the signs and words before an operand, that stand in one another."""
    before: list[int] = []
    depth = prefixed = 0
    for token in tokens:
        if token.token_type == TokenType.L_PAREN:
            before.append(depth)
            depth += prefixed + 1
            prefixed = 0
        elif token.token_type == TokenType.R_PAREN:
            depth = before.pop() if before else 0
        elif token.token_type in (TokenType.NOT, TokenType.DASH):
            prefixed += 1
        else:
            prefixed = 0
        if depth + prefixed > MOST_DEPTH:
            raise Fault(token.start, TOO_DEEP)


def refuse_others(node: exp.Expr) -> None:
    """Raise `Fault` for a node that is not in `PARTS`, or has arguments that are not."""
    if type(node) not in PARTS:
        raise Fault(place(node), f"{node.key.upper()} is not understood in a condition")
    given = {name for name, argument in node.args.items() if argument not in (None, False, [])}
    if given - PARTS[type(node)]:
        raise Fault(place(node), f"{node.key.upper()} is not understood with {min(given - PARTS[type(node)])!r}")


def place(node: exp.Expr) -> int:
    """Where a node begins: where its first word does, or the first of what it stands in."""
    known = [part.meta["start"] for part in node.walk() if "start" in part.meta]
    if known:
        return int(min(known))
    return place(node.parent) if node.parent else 0
