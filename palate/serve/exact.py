"""Requests are taken as they were sent, or refused: no address and no body means something else here than it says."""

from __future__ import annotations

import json
from collections import Counter
from urllib.parse import unquote_to_bytes

from starlette.types import Scope

from palate.serve.problems import Problem


def check_address(scope: Scope) -> None:
    """Raise `Problem` unless path and query are UTF-8: what is not would be read as other characters."""
    for part, sent in (("path", scope["raw_path"]), ("query", scope["query_string"])):
        try:
            unquote_to_bytes(sent).decode()
        except UnicodeDecodeError:
            shown = sent[:80].decode("latin-1")
            raise Problem(400, f"the {part} {shown!r}: must be UTF-8 once its percent signs are read") from None


def check_names(body: bytes, *, lines: bool) -> None:
    """Raise `Problem` where an object of JSON has a name twice, or a line is not one value of JSON.

    A body that is no JSON at all is left to the route that reads it.
    """
    for n, part in enumerate(body.split(b"\n") if lines else [body], 1):
        try:
            # Numbers stay text: they may be long.
            json.loads(part.decode(), object_pairs_hook=_once, parse_int=str, parse_float=str)
        except (ValueError, RecursionError) as error:
            if lines and part.strip():
                raise Problem(400, f"the body is not JSON: line {n}: {error}") from None


def _once(pairs: list[tuple[str, object]]) -> None:
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        twice = next(name for name, count in Counter(names).items() if count > 1)
        raise Problem(400, f"the body names {twice[:80]!r} twice in one object; a name must be there once")
