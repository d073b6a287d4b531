"""How far long work has come: a bar with the time left on a terminal, else a line now and then.

The command line and `progress=True` draw it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any, Self, TypeAlias

from rich.console import Console
from rich.progress import (
    BarColumn,
    ProgressColumn,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import (
    Progress as Columns,
)

from palate.data.times import seconds_text
from palate.training.progress import Progress

EACH = 10.0  # seconds between two lines; what ends sooner prints none


class Bar:
    """A bar of work that is done up to a share of 1; `columns` of rich stand between the title and the times."""

    def __init__(self, title: str, console: Console, *columns: ProgressColumn) -> None:
        self._title, self._console = title, console
        self._bar: Columns | None = None
        if console.is_terminal or console.is_jupyter:
            left = TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(compact=True)
            self._bar = Columns(TextColumn("{task.description}"), BarColumn(24), *columns, *left, console=console)
            self._task = self._bar.add_task(title, total=None, state="")
        self._began = self._said = monotonic()

    def __enter__(self) -> Self:
        self._began = self._said = monotonic()
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self, done: float, of_all: float | None, state: str = "") -> None:
        """Draw that so much is done, of all or of what is not known."""
        if self._bar is not None:
            self._bar.update(self._task, completed=done, total=of_all, state=state)
            return
        if monotonic() - self._said >= EACH:
            self._said = monotonic()
            self._console.print(
                f"{self._title}: {self._line(done, of_all)}{f', {state}' if state else ''}", soft_wrap=True
            )

    def _line(self, done: float, of_all: float | None) -> str:
        passed = monotonic() - self._began
        if not of_all or not done:
            return f"{seconds_text(passed)} so far"
        share = min(done / of_all, 1.0)
        return f"{share:.0%} in {seconds_text(passed)}, about {seconds_text(passed * (1 - share) / share)} left"


Watch: TypeAlias = Callable[[Any], bool | None]


class FitBar:
    """A `Watch` that draws how far a fit has come, on stderr by default."""

    def __init__(self, title: str = "fitting", console: Console | None = None) -> None:
        shown = console or Console(stderr=True, highlight=False, markup=False, emoji=False)
        self.losses: list[float] = []
        self.epochs = 0
        self.rate = 0.0
        self._bar = Bar(title, shown, TaskProgressColumn(), TextColumn("{task.fields[state]}"))

    @property
    def stopped(self) -> bool:
        """Whether the fit ended before its last epoch."""
        return len(self.losses) < self.epochs

    def __enter__(self) -> Self:
        self._bar.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None and not self.stopped:
            self._bar.update(1.0, 1.0)
        self._bar.__exit__()

    def __call__(self, progress: Progress[Any]) -> None:
        """Draw how far the fit has come."""
        if progress.epoch <= len(self.losses):  # the next recipe begins
            self.losses.clear()
        if progress.loss is not None:
            self.losses.append(progress.loss)
        self.epochs, self.rate = progress.epochs, progress.rate
        loss = f"  loss {self.losses[-1]:.4f}" if self.losses else ""
        state = f"epoch {progress.epoch}/{progress.epochs}{loss}  {progress.rate / 1e6:.2f} M samples/s"
        self._bar.update(progress.done, 1.0, state if progress.epochs else "reading items")

    def beside(self, watch: Watch | None) -> Watch:
        """Return what draws, and calls another `Watch` too, which may end the fit."""

        def both(progress: Any) -> bool | None:
            self(progress)
            return None if watch is None else watch(progress)

        return both


@contextmanager
def followed(title: str, watch: Watch | None, progress: bool) -> Iterator[Watch | None]:
    """Return a `Watch` that also draws a bar, or the one that is given."""
    if not progress:
        yield watch
        return
    with FitBar(title) as bar:
        yield bar.beside(watch)
