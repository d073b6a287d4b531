"""What the commands share on the terminal: answers on stdout, everything else on stderr."""

from __future__ import annotations

import json
import signal
from types import TracebackType

import numpy as np
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from palate.models.base import Progress as FitProgress

# Titles may hold brackets and colons: nothing is markup here.
stdout = Console(highlight=False, markup=False, emoji=False)
stderr = Console(highlight=False, markup=False, emoji=False, stderr=True)


def print_json(answer: object) -> None:
    """Print an answer for programs."""
    typer.echo(json.dumps(answer, ensure_ascii=False, indent=2, default=np.generic.item))


def note(text: str) -> None:
    """Print a line for the user on stderr, which a program that reads stdout does not see."""
    typer.echo(text, err=True)


class FitBar:
    """A `Watch` that draws a bar. Ctrl-C ends everything; with `keep` it is left to the fit, which keeps an epoch."""

    def __init__(self, title: str, *, keep: bool = False, console: Console = stderr) -> None:
        self.losses: list[float] = []
        self.epochs = 0
        self.rate = 0.0
        self._keep = keep
        columns = (
            TextColumn("{task.description}"),
            BarColumn(24),
            TaskProgressColumn(),
            TextColumn("{task.fields[state]}"),
            TimeElapsedColumn(),
        )
        self._bar = Progress(*columns, console=console)
        self._task = self._bar.add_task(title, total=1.0, state="")

    @property
    def stopped(self) -> bool:
        """Whether the fit ended before its last epoch."""
        return len(self.losses) < self.epochs

    def __enter__(self) -> FitBar:
        self._before = signal.getsignal(signal.SIGINT)
        if not self._keep and self._before != signal.SIG_IGN:  # in the background Ctrl-C is for others
            signal.signal(signal.SIGINT, _end)
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and not self.stopped:
            self._bar.update(self._task, completed=1.0)
        self._bar.stop()
        if not self._keep:
            signal.signal(signal.SIGINT, self._before)

    def __call__(self, progress: FitProgress) -> None:
        """Draw how far the fit has come."""
        if progress.epoch <= len(self.losses):  # the next recipe begins
            self.losses.clear()
        if progress.loss is not None:
            self.losses.append(progress.loss)
        self.epochs, self.rate = progress.epochs, progress.rate
        loss = f"  loss {self.losses[-1]:.4f}" if self.losses else ""
        state = f"epoch {progress.epoch}/{progress.epochs}{loss}  {progress.rate / 1e6:.2f} M samples/s"
        if not progress.epochs:
            state = "reading items"
        self._bar.update(self._task, completed=progress.done, state=state)


class WorkBar:
    """A bar of the things done, of all."""

    def __init__(self, title: str, *, console: Console = stderr) -> None:
        columns = TextColumn("{task.description}"), BarColumn(24), MofNCompleteColumn(), TimeElapsedColumn()
        self._bar = Progress(*columns, console=console)
        self._task = self._bar.add_task(title, total=None)

    def __enter__(self) -> WorkBar:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def __call__(self, done: int, of_all: int) -> None:
        """Draw how far the work has come."""
        self._bar.update(self._task, completed=done, total=of_all)


def _end(*_: object) -> None:
    """Leave by another way than KeyboardInterrupt, which a fit takes as the wish to keep what it has."""
    note("interrupted")
    raise SystemExit(130)
