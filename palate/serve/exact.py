"""Requests are taken as they were sent, or refused: no address and no body means something else here than it says."""

from __future__ import annotations

import json
from urllib.parse import unquote_to_bytes

from starlette.types import Scope

from palate.serve.bounds import MOST_ENTRY
from palate.serve.problems import Problem


def check_address(scope: Scope) -> None:
    """Raise `Problem` unless path and query are UTF-8: what is not would be read as other characters."""
    for part, sent in (("path", scope["raw_path"]), ("query", scope["query_string"])):
        try:
            unquote_to_bytes(sent).decode()
        except UnicodeDecodeError:
            shown = sent[:80].decode("latin-1")
            raise Problem(400, f"the {part} {shown!r}: must be UTF-8 once its percent signs are read") from None


def check_lines(body: bytes) -> None:
    """Raise `Problem` where a line is not one value of JSON."""
    for n, part in enumerate(body.split(b"\n"), 1):
        if len(part) > MOST_ENTRY:
            raise Problem(413, f"line {n} has {len(part):,} bytes; there can be {MOST_ENTRY:,}")
        try:
            # Numbers stay text: they may be long.
            json.loads(part.decode(), parse_int=str, parse_float=str) if part.strip() else None
        except (ValueError, RecursionError) as error:
            raise Problem(400, f"the body is not JSON: line {n}: {error}") from None


def named_twice(name: bytes) -> Problem:
    """Make the error of a name, as it stands between its quotes, that its object has had before."""
    try:
        shown = json.loads(b'"%s"' % name) if len(name) < 1000 else name[:100].decode(errors="replace")
    except ValueError:
        shown = name[:100].decode(errors="replace")
    return Problem(400, f"the body names {shown[:80]!r} twice in one object; a name must be there once")
