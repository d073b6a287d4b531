"""Pictures: accuracy against training time, and against other metrics of the lists; what attacks tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate, cycle
from math import exp
from os import PathLike
from typing import TYPE_CHECKING, NamedTuple

from palate.errors import Package, require

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MATPLOTLIB = Package("matplotlib.figure", "matplotlib", "plot")
DOT, INK, QUIET, FAINT = "#2a6fbb", "#222222", "#6b6b6b", "#e8e8e8"
COLOURS = (DOT, "#c4572a", "#3a8a55", "#8454a3", "#9a7b1f")
APART = 30  # dots between points whose labels do not touch
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
    figure = _figure(8, 4.5)
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
    _write(figure, path)


class Spot(NamedTuple):
    """A point of a curve with the intervals of both its numbers, None where there is none."""

    label: str
    x: float
    y: float
    x_bar: tuple[float, float] | None
    y_bar: tuple[float, float] | None


class Curve(NamedTuple):
    """Points of one kind in their order."""

    name: str
    spots: Sequence[Spot]


def draw_curves(path: str | PathLike[str], panels: Mapping[str, Sequence[Curve]], metric: str, subtitle: str) -> None:
    """Write curves of one metric, upwards, against others, a panel each, in the format of the path's ending."""
    figure = _figure(1.2 + 4 * len(panels), 4.2)
    row = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, (name, curves) in zip(row, panels.items(), strict=True):
        for curve, colour in zip(curves, cycle(COLOURS)):
            _curve(axes, curve, colour)
        _clean(axes)
        axes.margins(x=0.12, y=0.12)
        axes.set_xlabel(name, color=INK, fontsize=10)
        axes.locator_params(axis="x", nbins=6)
    row[0].set_ylabel(metric, color=INK, fontsize=10)
    row[0].set_title(f"{metric} against the lists", loc="left", color=INK, fontsize=13, pad=34)
    row[0].annotate(subtitle, (0, 1), (0, 16), "axes fraction", "offset points", color=QUIET, fontsize=9)
    lines, names = row[0].get_legend_handles_labels()
    figure.subplots_adjust(left=0.08, right=0.98, wspace=0.08, top=0.8)
    corner = (0.985, 0.98)
    look = {"ncols": len(names), "frameon": False, "fontsize": 9.5, "labelcolor": INK}
    figure.legend(lines, names, loc="upper right", bbox_to_anchor=corner, **look)
    figure.draw_without_rendering()  # only now it is known where points stand
    for axes, curves in zip(row, panels.values(), strict=True):
        _number(axes, curves)
    _write(figure, path)


def draw_front(
    path: str | PathLike[str], spots: Sequence[Spot], front: Sequence[Spot], metric: str, subtitle: str
) -> None:
    """Write one metric against milliseconds a list, the front as a line, in the format of the path's ending."""
    figure = _figure(8, 4.5)
    axes = figure.add_axes((0.1, 0.12, 0.85, 0.72))
    line = sorted(front, key=lambda spot: spot.x)
    axes.plot([spot.x for spot in line], [spot.y for spot in line], color=DOT, alpha=0.4, linewidth=1.5)
    for spot in spots:
        colour = DOT if spot in front else QUIET
        axes.scatter(spot.x, spot.y, s=60, color=colour, edgecolor="white", zorder=3)
        if spot.y_bar is not None:
            axes.plot([spot.x] * 2, spot.y_bar, color=colour, alpha=0.35, linewidth=2.5, solid_capstyle="butt")
        axes.annotate(spot.label, (spot.x, spot.y), (6, 5), textcoords="offset points", color=INK, fontsize=9)
    _clean(axes)
    axes.margins(x=0.15)
    axes.set_xscale("log", subs=(2, 5))
    for set_labels in (axes.xaxis.set_major_formatter, axes.xaxis.set_minor_formatter):
        set_labels("{x:g}")  # 0.2, not a power of ten
    axes.tick_params(axis="x", which="minor", labelcolor=QUIET, labelsize=9)
    axes.set_xlabel("milliseconds a list", color=INK, fontsize=10)
    axes.set_title(f"{metric} against latency; the line: nothing is better and faster", loc="left", color=INK, pad=24)
    axes.annotate(subtitle, (0, 1), (0, 8), "axes fraction", "offset points", color=QUIET, fontsize=9)
    _write(figure, path)


def draw_attacks(
    path: str | PathLike[str],
    rates: Sequence[float],
    curves: Mapping[str, Sequence[float]],
    epsilon: float | None,
    subtitle: str,
) -> None:
    """Write true positives against false ones, at these rates, in the format of the path's ending.

    epsilon  what is proven: the most that any attack can name, as a line
    """
    figure = _figure(7, 5)
    axes = figure.add_axes((0.1, 0.12, 0.85, 0.72))
    axes.plot(rates, rates, color=QUIET, linewidth=1, linestyle=":", label="by chance")
    if epsilon is not None:
        most = [min(1.0, exp(epsilon) * rate, 1 - exp(-epsilon) * (1 - rate)) for rate in rates]
        axes.plot(rates, most, color=INK, linewidth=1, linestyle="--", label=f"the most at ε = {epsilon:g}")
    for (name, curve), colour in zip(curves.items(), cycle(COLOURS)):
        axes.plot(rates, curve, color=colour, linewidth=1.8, label=name)
    _clean(axes)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_ylim(rates[0], 1.15)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:g}")
    axes.set_xlabel("false positives, share of users not in the model", color=INK, fontsize=10)
    axes.set_ylabel("true positives, share of users in it", color=INK, fontsize=10)
    axes.set_title("What attacks tell of users", loc="left", color=INK, fontsize=13, pad=24)
    axes.annotate(subtitle, (0, 1), (0, 8), "axes fraction", "offset points", color=QUIET, fontsize=8)
    axes.legend(frameon=False, fontsize=9, labelcolor=INK)
    _write(figure, path)


def _figure(width: float, height: float) -> Figure:
    """Make an empty picture, in inches. Raises `MissingExtra`."""
    require([MATPLOTLIB])
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=150)


def _write(figure: Figure, path: str | PathLike[str]) -> None:
    figure.savefig(path, bbox_inches="tight", pad_inches=0.15)


def _curve(axes: Axes, curve: Curve, colour: str) -> None:
    """Draw a line through the points of a curve, the first of them the common one, with their bars and labels."""
    axes.plot(
        [s.x for s in curve.spots], [s.y for s in curve.spots], "-o", color=colour, markersize=4, label=curve.name
    )
    for spot in curve.spots:
        if spot.y_bar is not None:
            axes.plot([spot.x] * 2, spot.y_bar, color=colour, alpha=0.3, linewidth=2, solid_capstyle="butt")
        if spot.x_bar is not None:
            axes.plot(spot.x_bar, [spot.y] * 2, color=colour, alpha=0.3, linewidth=2, solid_capstyle="butt")
    first = curve.spots[0]
    axes.plot([first.x], [first.y], "o", color=INK, markersize=6, zorder=4)


def _number(axes: Axes, curves: Sequence[Curve]) -> None:
    """Write the labels beside the points, but for those that would stand on another label or point."""
    own = [(spot, colour) for curve, colour in zip(curves, cycle(COLOURS), strict=False) for spot in curve.spots]
    place = [axes.transData.transform((spot.x, spot.y)) for spot, _ in own]
    for n, (spot, colour) in enumerate(own):
        free = all(max(abs(other - place[n])) >= APART for m, other in enumerate(place) if m != n)
        if free:
            axes.annotate(spot.label, (spot.x, spot.y), (4, 4), textcoords="offset points", color=colour, fontsize=8)


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
