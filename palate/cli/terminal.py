"""What the commands share on the terminal: answers on stdout, everything else on stderr."""

from __future__ import annotations

import json
import signal
from typing import Self

import numpy as np
import typer
from rich.console import Console
from rich.progress import MofNCompleteColumn

from palate.models import bars

# Titles may hold brackets and colons: nothing is markup here.
stdout = Console(highlight=False, markup=False, emoji=False)
stderr = Console(highlight=False, markup=False, emoji=False, stderr=True)


def print_json(answer: object) -> None:
    """Print an answer for programs."""
    typer.echo(json.dumps(answer, ensure_ascii=False, indent=2, default=np.generic.item))


def note(text: str) -> None:
    """Print a line for the user on stderr, which a program that reads stdout does not see."""
    typer.echo(text, err=True)


class FitBar(bars.FitBar):
    """The bar of a fit. Ctrl-C ends everything; with `keep` it is left to the fit, which keeps an epoch."""

    def __init__(self, title: str, *, keep: bool = False, console: Console = stderr) -> None:
        super().__init__(title, console)
        self._keep = keep

    def __enter__(self) -> Self:
        self._before = signal.getsignal(signal.SIGINT)
        if not self._keep and self._before != signal.SIG_IGN:  # in the background Ctrl-C is for others
            signal.signal(signal.SIGINT, _end)
        return super().__enter__()

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        super().__exit__(kind, *rest)
        if not self._keep:
            signal.signal(signal.SIGINT, self._before)


class WorkBar(bars.Bar):
    """A bar of the things done, of all."""

    def __init__(self, title: str, *, console: Console = stderr) -> None:
        super().__init__(title, console, MofNCompleteColumn())

    def __call__(self, done: int, of_all: int) -> None:
        """Draw how far the work has come."""
        self.update(done, of_all)


def _end(*_: object) -> None:
    """Leave by another way than KeyboardInterrupt, which a fit takes as the wish to keep what it has."""
    note("interrupted")
    raise SystemExit(130)
