"""The picture of a comparison: accuracy against training time."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from os import PathLike
from typing import TYPE_CHECKING, NamedTuple

from palate.errors import MissingExtra

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DOT, INK, QUIET, FAINT = "#2a6fbb", "#222222", "#6b6b6b", "#e8e8e8"
LABEL_GAP = 0.06  # of the height of the frame


class Point(NamedTuple):
    """One model: training seconds, accuracy with its interval, share of the catalogue shown."""

    name: str
    seconds: float
    accuracy: float
    interval: tuple[float, float]
    coverage: float


def draw(path: str | PathLike[str], points: Sequence[Point], metric: str, subtitle: str) -> None:
    """Write the picture in the format of the path's ending; the area of a dot grows with coverage."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtra("matplotlib", "plot") from None
    figure = Figure(figsize=(8, 4.5), dpi=150)
    axes = figure.add_axes((0.1, 0.1, 0.6, 0.75))
    for point in points:
        axes.plot([point.seconds] * 2, point.interval, color=DOT, alpha=0.35, linewidth=2.5, solid_capstyle="butt")
        axes.scatter(
            point.seconds, point.accuracy, s=30 + 400 * point.coverage, color=DOT, edgecolor="white", zorder=3
        )
    _clean(axes)
    _time_axis(axes, [point.seconds for point in points])
    _label(axes, points)
    axes.set_title(f"{metric} against training time", loc="left", color=INK, fontsize=13, pad=36)
    axes.annotate(subtitle, (0, 1), (0, 8), "axes fraction", "offset points", color=QUIET, fontsize=9)
    figure.savefig(path, bbox_inches="tight", pad_inches=0.15)


def _clean(axes: Axes) -> None:
    axes.margins(y=0.08)
    axes.grid(color=FAINT, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, pad=7, colors=QUIET, labelsize=9)


def _time_axis(axes: Axes, seconds: Sequence[float]) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axes.set_xscale("log")
    axes.set_xlim(min(seconds) / 3, max(seconds) * 3)
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0) if max(seconds) < 100 * min(seconds) else (1.0,)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _duration(value)))


def _duration(seconds: float) -> str:
    if seconds < 1:
        return f"{seconds * 1000:.3g} ms"
    return f"{seconds:.3g} s" if seconds < 1000 else f"{seconds / 60:.3g} min"


def _label(axes: Axes, points: Sequence[Point]) -> None:
    """Write the names beside the frame, best on top and never on each other, each with a line to its dot."""
    best_first = sorted(points, key=lambda point: -point.accuracy)
    to_fraction = axes.transData + axes.transAxes.inverted()
    wanted = [to_fraction.transform((point.seconds, point.accuracy))[1] for point in best_first]
    for point, height in zip(best_first, _spread(wanted, LABEL_GAP), strict=True):
        axes.annotate(
            f"{point.name}  ({point.coverage:.0%})",
            (point.seconds, point.accuracy),
            (1.04, height),
            textcoords="axes fraction",
            va="center",
            zorder=2,
            fontsize=9.5,
            color=INK,
            arrowprops={
                "arrowstyle": "-",
                "color": QUIET,
                "linewidth": 0.5,
                "relpos": (0, 0.5),
                "shrinkA": 2,
                "shrinkB": 0,
            },
        )
    axes.annotate(
        "model (share of items shown)", (1.04, 1), (0, 8), "axes fraction", "offset points", color=QUIET, fontsize=9
    )


def _spread(heights: Sequence[float], gap: float) -> list[float]:
    """Move falling heights down, then up from 0, until neighbours are `gap` apart."""
    down = list(accumulate(heights, lambda above, own: min(own, above - gap)))
    up = accumulate(reversed(down), lambda below, own: max(own, below + gap), initial=-gap)
    return list(up)[:0:-1]
