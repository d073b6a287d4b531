"""Bad input: requests that schemathesis makes from the OpenAPI, filters, raw sockets that break the rules of HTTP.

Filters are bytes at random, sentences of a grammar, things nested in one another, all of Unicode.
"""

from __future__ import annotations

import random
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import quote

from benchmarks.common.client import ADDRESS, Client, connected
from benchmarks.common.served import Served

PATIENCE = 10.0  # seconds after which an answer counts as hung
COLUMNS = ("title", "price", "categories", "item_id", "available", "nothing", "ä", '"price"')
LITERALS = ("1", "-2.5", "1e400", "NULL", "TRUE", "'sci-fi'", "'%'", "''", "'2024-05-31'", "9" * 40, "'\U0001f600'")
SIGNS = ("=", "<>", "<", "<=", ">", ">=", "+", "-", "*", "/", "%", "||", "LIKE", "AND", "OR", "IS", "::", "->")
NAMES = ("ABS", "COALESCE", "CONTAINS", "LENGTH", "LOWER", "ROUND", "UPPER", "SLEEP", "EXISTS")
FORMS = (
    "({0})",
    "NOT {0}",
    "{0} IN ({1}, {2})",
    "{1} IN {0}",
    "{0} BETWEEN {1} AND {2}",
    "{0} LIKE {1} ESCAPE '!'",
    "{0} IS NOT NULL",
    "{0} = ANY({1})",
    "CASE WHEN {0} THEN {1} END",
    "CAST({0} AS INT)",
    "(SELECT {0} FROM {1})",
)


# Filters


def filters(draw: random.Random) -> str:
    """Make a filter of one kind or another."""
    kind = draw.randrange(8)
    if kind > 5:
        return sound(draw, draw.randrange(1, 7))
    if kind == 0:
        return bytes(draw.randrange(256) for _ in range(draw.randrange(80))).decode("latin-1")
    if kind == 1:
        return "".join(
            chr(draw.choice((draw.randrange(0xD800), draw.randrange(0xE000, 0x110000)))) for _ in range(20)
        )
    if kind == 2:
        return nested(draw, draw.randrange(1, 1500))
    if kind == 3:  # a sound one with one letter changed
        text = list(sound(draw, 3))
        text[draw.randrange(len(text))] = chr(draw.randrange(32, 0x250))
        return "".join(text)
    if kind == 4:
        words = (*COLUMNS, *LITERALS, *SIGNS, *NAMES, "(", ")", ",", "'", '"', "--", "/*", ";")
        return " ".join(draw.choice(words) for _ in range(draw.randrange(1, 40)))
    return sentence(draw, 5)


def sound(draw: random.Random, depth: int) -> str:
    """Make a condition that can be read, unless it is too long."""
    if depth > 1 and draw.random() < 0.8:
        form = draw.choice(("({0} AND {1})", "({0} OR {1})", "NOT ({0})"))
        return form.format(sound(draw, depth - 1), sound(draw, depth - 1))
    number = draw.choice(
        ("price", "ABS(price - 7)", "ROUND(price / 3, 1)", "LENGTH(title)", "price % 2", "-1", "1e9")
    )
    text = draw.choice(("title", "item_id", "LOWER(title)", "COALESCE(title, 'x')", "'Item number 7'"))
    form = draw.choice(
        (
            f"{{0}} {draw.choice(SIGNS[:6])} 20",
            "{0} BETWEEN 2 AND price",
            "{1} = title",
            "{1} LIKE '%1_'",
            "{1} IN ('12', '\u00e4', title)",
            "{0} IS NOT NULL",
            "CONTAINS(categories, 'drama')",
        )
    )
    return form.format(number, text)


def sentence(draw: random.Random, depth: int) -> str:
    """Make something that follows a grammar, wider than that of conditions."""
    if depth == 0 or draw.random() < 0.2:
        return draw.choice((*COLUMNS, *LITERALS))
    parts = [sentence(draw, depth - 1) for _ in range(3)]
    kind = draw.random()
    if kind < 0.5:
        return f"{parts[0]} {draw.choice(SIGNS)} {parts[1]}"
    if kind < 0.7:
        return f"{draw.choice(NAMES)}({', '.join(parts[: draw.randrange(4)])})"
    return draw.choice(FORMS).format(*parts)


def nested(draw: random.Random, depth: int) -> str:
    """Make something deep, or long."""
    opened, closed = draw.choice((("(", ")"), ("NOT ", ""), ("-", ""), ("ABS(", ")"), ("[", "]"), ("CASE ", " END")))
    chain = draw.choice((" AND ", " OR ", " + ", ", ", " = "))
    return draw.choice((opened * depth + "price" + closed * depth, chain.join(["price"] * depth)))


def fuzz_filters(served: Served, count: int, seed: int = 0) -> dict[str, Any]:
    """Send filters at random, by GET and POST, as filters, boosts and for similar items."""
    draw = random.Random(seed)
    client = served.client(PATIENCE)
    statuses: Counter[int] = Counter()
    longest, hung, worst = 0.0, 0, ""
    for _ in range(count):
        text = filters(draw)
        began = time.perf_counter()
        try:
            statuses[_ask(client, draw, text)] += 1
        except TimeoutError:
            hung += 1
        took = time.perf_counter() - began
        if took > longest:
            longest, worst = took, text
    answers = {str(status): statuses[status] for status in sorted(statuses)}
    return {"answers": answers, "hung": hung, "longest_s": round(longest, 2), "longest_filter": worst[:80]}


def _ask(client: Client, draw: random.Random, text: str) -> int:
    kind = draw.randrange(4)
    if kind == 0:
        return client.get(f"/v1/recommend?user_id=1&filter={quote(text)}").status
    if kind == 1:
        return client.get(f"/v1/similar/1?filter={quote(text)}").status
    if kind == 2:
        return client.post("/v1/recommend", {"user_id": "1", "boost": [{"condition": text, "factor": 2}]}).status
    return client.post("/v1/recommend", {"user_id": "1", "filter": text}).status


# Everything


def fuzz_routes(served: Served, examples: int, phases: str, seed: int = 1) -> dict[str, Any]:
    """Have schemathesis test every route; returns what it found."""
    command = [
        str(Path(sys.executable).with_name("schemathesis")),
        "run",
        f"http://{ADDRESS}:{served.port}/openapi.json",
    ]
    command += ["--checks", "not_a_server_error", "--max-examples", str(examples), "--mode", "all"]
    command += ["--seed", str(seed)]
    command += ["--phases", phases, "--request-timeout", str(PATIENCE), "--no-color"]
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    failures = re.findall(r"^_+ (.+?) _+$", done.stdout, re.MULTILINE)
    return {
        "exit_code": done.returncode,
        "failures": failures,
        "tail": "" if not done.returncode else done.stdout[-3000:],
    }


# Sockets


def _head(*lines: str) -> bytes:
    return "\r\n".join((*lines, "", "")).encode("latin-1")


RAW: dict[str, bytes] = {
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)),
    "half a line": b"GET /v1/reco",
    "HTTP/0.9": b"GET /\r\n\r\n",
    "no host": b"GET /v1/recommend HTTP/1.1\r\n\r\n",
    "NUL in the path": b"GET /v1/recommend?user_id=\x00 HTTP/1.1\r\nhost: localhost\r\n\r\n",
    "bad escapes": _head("GET /v1/users/%ff%fe%zz?limit=%00 HTTP/1.1", "host: localhost"),
    "bytes in the path": "GET /v1/users/\u00e4\u00ff HTTP/1.1\r\nhost: localhost\r\n\r\n".encode("latin-1"),
    "a long address": _head(f"GET /v1/recommend?user_id={'x' * 200_000} HTTP/1.1", "host: localhost"),
    "huge headers": _head(
        "GET /health/live HTTP/1.1", "host: localhost", *(f"x-{n}: {'y' * 1000}" for n in range(5000))
    ),
    "many headers": _head("GET /health/live HTTP/1.1", "host: localhost", *(f"x-{n}: y" for n in range(50_000))),
    "content-length is text": _head("POST /v1/events HTTP/1.1", "host: localhost", "content-length: many"),
    "content-length below 0": _head("POST /v1/events HTTP/1.1", "host: localhost", "content-length: -5"),
    "content-length is huge": _head("POST /v1/events HTTP/1.1", "host: localhost", f"content-length: {1 << 62}"),
    "two content-lengths": _head(
        "POST /v1/events HTTP/1.1", "host: localhost", "content-length: 2", "content-length: 3"
    )
    + b"{}",
    "body too short": _head("POST /v1/events HTTP/1.1", "host: localhost", "content-length: 100") + b"{}",
    "body too long": _head("POST /v1/events HTTP/1.1", "host: localhost", "content-length: 2") + b"{}" + b"x" * 1000,
    "bad chunks": _head("POST /v1/events HTTP/1.1", "host: localhost", "transfer-encoding: chunked")
    + b"zz\r\n{}\r\n",
    "length and chunks": _head(
        "POST /v1/events HTTP/1.1", "host: localhost", "content-length: 2", "transfer-encoding: chunked"
    )
    + b"0\r\n\r\n",
    "endless chunks": _head("POST /v1/events HTTP/1.1", "host: localhost", "transfer-encoding: chunked")
    + (b"100000\r\n" + b" " * (1 << 20) + b"\r\n") * 40,
    "not UTF-8": _head("POST /v1/events HTTP/1.1", "host: localhost", "content-length: 4") + b'"\xff\xfe"',
    "deep JSON": _head("POST /v1/recommend HTTP/1.1", "host: localhost", "content-length: 200000") + b"[" * 200_000,
    "an unknown method": _head("BREW /v1/recommend HTTP/1.1", "host: localhost"),
    "an upgrade": _head(
        "GET / HTTP/1.1", "host: localhost", "connection: upgrade", "upgrade: websocket", "sec-websocket-key: x"
    ),
}


def break_rules(served: Served) -> dict[str, str]:
    """Send what is no sound request; returns what each was answered."""
    answers = {name: _sent(served.port, content) for name, content in RAW.items()}
    answers["200 slow bodies"] = _slow(served)
    return answers


def _sent(port: int, content: bytes) -> str:
    """First line of the answer; or that there was none, as when the server waits for more."""
    with connected(port, 2.0) as opened:
        try:
            opened.sendall(content)
            opened.shutdown(socket.SHUT_WR)
            answer = opened.recv(1 << 16)
        except TimeoutError:
            return "no answer within 2 s"
        except OSError as error:
            return f"closed: {error.strerror}"
    return answer.split(b"\r\n")[0].decode("latin-1") or "closed"


def _slow(served: Served, many: int = 200) -> str:
    """Open requests whose bodies never end, and ask another beside them."""
    opened = [connected(served.port) for _ in range(many)]
    for each in opened:
        each.sendall(_head("POST /v1/events HTTP/1.1", "host: localhost", "content-length: 100") + b"{")
    began = time.perf_counter()
    status = served.client(PATIENCE).get("/v1/recommend?user_id=1").status
    took = time.perf_counter() - began
    for each in opened:
        each.close()
    return f"{status} for another in {1000 * took:.0f} ms"


# Together


def counted(served: Served) -> Counter[str]:
    """Count all answers by their status, as the service itself has."""
    with connected(served.port) as opened:
        opened.sendall(_head("GET /metrics HTTP/1.1", "host: localhost", "connection: close"))
        text = b"".join(iter(lambda: opened.recv(1 << 16), b"")).decode()
    found: Counter[str] = Counter()
    for status, count in re.findall(r'palate_request_seconds_count\{.*status="(\d+)".*\} (\S+)', text):
        found[status] += int(float(count))
    return found
