"""Requests at random for every route of an OpenAPI document, valid and not; `hostile.py` measures what they cost."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

from benchmarks.common.client import ADDRESS
from benchmarks.reliability.bad_input import filters

MOST = 64 << 10  # bytes of a request
TEXTS = ("a", "", "\0", "%", "_", "é", "\U0001f600", "\\", '"', "'", ",", "1,", "%_", "../", "\r\n", "<b>", "\ud800")
NUMBERS = (0, -1, 1e308, -1e-320, 2**63, 2**70, -(2**200), 10**400, 0.1, 1e18, 253402300799)
KNOWN = ("1", "7", "300")


class Request(NamedTuple):
    """What is sent."""

    method: str
    path: str
    body: bytes = b""
    kind: str = "application/json"

    def content(self) -> bytes:
        """Write it."""
        head = f"{self.method} {self.path} HTTP/1.1\r\nhost: {ADDRESS}\r\n"
        kind = f"content-type: {self.kind}\r\ncontent-length: {len(self.body)}\r\n" if self.body else ""
        return f"{head}{kind}\r\n".encode("latin-1", "replace") + self.body


class Maker:
    """Makes requests for the routes of an OpenAPI document."""

    def __init__(self, document: dict[str, Any], seed: int) -> None:
        self.draw = random.Random(seed)
        self.schemas = document["components"]["schemas"]
        self.routes = [
            (method.upper(), path, operation)
            for path, methods in sorted(document["paths"].items())
            for method, operation in sorted(methods.items())
        ]

    def sound(self) -> Iterator[Request]:
        """Make a request for each route, as its schema says."""
        for method, path, operation in self.routes:
            yield self.request(method, path, operation, wild=0.0)

    def wild(self) -> Iterator[Request]:
        """Make requests for routes at random, without end."""
        while True:
            method, path, operation = self.draw.choice(self.routes)
            made = self.request(method, path, operation, self.draw.choice((0.0, 0.2, 0.5, 1.0)))
            if len(made.content()) <= MOST:
                yield made

    def request(self, method: str, path: str, operation: dict[str, Any], wild: float) -> Request:
        """Make one; each of its parts is wild with this probability."""
        query: list[tuple[str, str]] = []
        parts: dict[str, str] = {}
        for parameter in operation.get("parameters", []):
            value = self.parameter(parameter, wild)
            if parameter["in"] == "path":
                parts[parameter["name"]] = quote(value, safe="", errors="replace")
            elif parameter["in"] == "query" and self.draw.random() < 0.5:
                times = self.draw.choice((1, 1, 1, 2, 500)) if self.draw.random() < wild else 1
                query += [(parameter["name"], value)] * times
        named = path.format(**parts)
        address = f"{named}?{urlencode(query, errors='replace')}" if query else named
        if "requestBody" not in operation:
            return Request(method, address)
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        return Request(method, address, *self.body(schema, wild))

    def parameter(self, parameter: dict[str, Any], wild: float) -> str:
        """Make a parameter of a path or a query, as text."""
        if parameter["name"] == "filter" or self.draw.random() < 0.05:
            return conditions(self.draw)
        if parameter["in"] == "path" and self.draw.random() >= wild:
            return self.draw.choice(KNOWN)
        value = self.value(parameter.get("schema", {}), wild)
        text = value if isinstance(value, str) else json.dumps(value)
        return text[: self.draw.choice((30, 1000, MOST))] or "1"

    def body(self, schema: dict[str, Any], wild: float) -> tuple[bytes, str]:
        """Make a body, and say of what kind it is."""
        if self.draw.random() < wild / 4:
            return self.draw.randbytes(self.draw.randrange(1, 2000)), "application/json"
        if self.draw.random() < wild / 4:
            line = json.dumps(self.value(schema, wild)).encode() + b"\n"
            return (line * (1 + MOST // len(line)))[: MOST - 3000], "application/x-ndjson"
        return json.dumps(self.value(schema, wild)).encode()[: MOST - 3000], "application/json"

    def value(self, schema: dict[str, Any], wild: float, depth: int = 0) -> Any:
        """Make a value of a schema, or a wild one."""
        if self.draw.random() < wild / 2:
            return self.wild_value()
        if "$ref" in schema:
            return self.value(self.schemas[schema["$ref"].rpartition("/")[2]], wild, depth)
        if "anyOf" in schema:
            return self.value(self.draw.choice(schema["anyOf"]), wild, depth)
        if "enum" in schema:
            return self.draw.choice(schema["enum"])
        makers: dict[str, Callable[[], Any]] = {
            "object": lambda: self.object(schema, wild, depth),
            "array": lambda: self.array(schema, wild, depth),
            "string": lambda: self.draw.choice((*KNOWN, "view", "title", "2024-05-31T00:00:00Z")),
            "integer": lambda: self.draw.randint(int(schema.get("minimum", 0)), int(schema.get("maximum", 50))),
            "number": lambda: self.draw.uniform(schema.get("minimum", 0), min(schema.get("maximum", 9), 1e6)),
            "boolean": lambda: self.draw.random() < 0.5,
            "null": lambda: None,
        }
        return makers.get(schema.get("type", "null"), makers["null"])()

    def object(self, schema: dict[str, Any], wild: float, depth: int) -> dict[str, Any]:
        """Make an object: what is required, half of what is not, and sometimes more."""
        made = {
            name: conditions(self.draw) if name in ("filter", "condition") else self.value(each, wild, depth + 1)
            for name, each in schema.get("properties", {}).items()
            if name in schema.get("required", ()) or self.draw.random() < 0.5
        }
        if self.draw.random() < wild / 4:
            many = self.draw.choice((1, 50, 1500, 6000))
            made |= {f"{self.draw.choice(('n', 'name'))}{self.draw.random()}": 1 for _ in range(many)}
        return made

    def array(self, schema: dict[str, Any], wild: float, depth: int) -> list[Any]:
        """Make a list; a wild one may be long."""
        one = self.value(schema.get("items", {}), wild, depth + 1)
        if self.draw.random() < wild:
            size = len(json.dumps(one)) + 2
            return [one] * min(self.draw.choice((0, 20, 400, 12_000)), MOST // size)
        return [one, *(self.value(schema.get("items", {}), wild, depth + 1) for _ in range(self.draw.randrange(2)))]

    def wild_value(self) -> Any:
        """Make what no schema asks for."""
        kind, size = self.draw.randrange(8), self.draw.choice((1, 30, 1000, 30_000))
        if kind == 0:
            return self.draw.choice(TEXTS) * size
        if kind == 1:
            return self.draw.choice(NUMBERS)
        if kind == 2:
            return [self.draw.choice((1, "a", None, [], {}, 1.5, True))] * size
        if kind == 3:
            return {f"k{n}": self.draw.choice((1, "a", [])) for n in range(size // 10)}
        if kind == 4:
            nested: Any = 1
            for _ in range(min(size, 400)):
                nested = self.draw.choice(([nested], {"a": nested}))
            return nested
        if kind == 5:
            return conditions(self.draw)
        if kind == 6:
            return "".join(chr(self.draw.randrange(0xD800)) for _ in range(min(size, 3000)))
        return self.draw.choice((None, True, "nan", "null", {}, []))


def costly(draw: random.Random) -> str:
    """Make a filter that is as long as it may be, or nearly: one thing again and again."""
    kind = draw.randrange(6)
    if kind == 0:
        part, ends = (
            f"{draw.choice(('price + 1', 'LENGTH(title) * price', '-price', 'title'))}, ",
            ("price IN (", "1)"),
        )
    elif kind == 1:
        part, ends = draw.choice(("%_", "_%", "%a", "%")), ("title LIKE '", "'")
    elif kind == 2:
        part, ends = draw.choice((" + price", " * 2", " - LENGTH(title)", " || title")), ("price = price", "")
    elif kind == 3:
        part, ends = draw.choice((" OR price > 1", " AND title LIKE '%a%b%'", " OR LOWER(title) = 'x'")), ("TRUE", "")
    elif kind == 4:
        part, ends = draw.choice((("NOT "), ("- "))), ("", "price > 1")
    else:
        part, ends = (
            draw.choice(("'drama' = ANY(categories) OR ", "CONTAINS(categories, 'drama') OR ")),
            ("", "FALSE"),
        )
    return ends[0] + part * ((draw.choice((300, 3900)) - len(ends[1])) // len(part)) + ends[1]


def conditions(draw: random.Random) -> str:
    """Make a filter of any kind."""
    return costly(draw) if draw.random() < 0.4 else filters(draw)
