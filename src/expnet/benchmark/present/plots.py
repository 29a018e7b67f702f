"""Plots of a benchmark, for paper and screen; matplotlib's global state is left alone."""

import io
import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.collections import QuadMesh
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import Bbox, BboxBase
from numpy import ndarray

from expnet.benchmark.present import comparison, summary
from expnet.benchmark.present.comparison import Point
from expnet.benchmark.present.summary import HEADLINE
from expnet.benchmark.rows import EXPNETS, Row
from expnet.explanation.escape import printable
from expnet.timing.lengths import Timing

# Plots for pages get the page's ink instead, so that no other colour may be this one.
_INK, _GREY = "#1f2328", "#8a8a8a"
_BLUE, _ORANGE, _GREEN, _PURPLE = "#0072b2", "#d55e00", "#009e73", "#cc79a7"  # Okabe and Ito 2008
_STYLE: Any = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#80808040",
    "axes.axisbelow": True,
    "text.parse_math": False,
    "svg.hashsalt": "expnet",
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), _INK),
}
_WIDTH = 7.2
_COLUMNS = 3


def plots(rows: Sequence[Row]) -> dict[str, Figure]:
    """Return the plots for which there are rows, by name."""
    with matplotlib.rc_context(_STYLE):
        figures = {"trade_off": trade_off(rows), "few_marks": few_marks(rows), "deletion": deletion(rows)}
    return {name: figure for name, figure in figures.items() if figure is not None}


def save(figures: Mapping[str, Figure], folder: Path) -> None:
    """Write each plot as PDF, PNG and SVG."""
    with matplotlib.rc_context(_STYLE):
        for name, figure in figures.items():
            for format, stamp in (("pdf", "CreationDate"), ("svg", "Date"), ("png", "Software")):
                figure.savefig(folder / f"{name}.{format}", dpi=300, metadata={stamp: None})


def save_as(figure: Figure, path: Path) -> None:
    """Write one plot in the format of its suffix."""
    with matplotlib.rc_context(_STYLE):
        figure.savefig(path, dpi=200)


def cost_by_length(timings: Sequence[Timing]) -> Figure:
    """Plot the time of each contender, in predictions, over the length of texts."""
    with matplotlib.rc_context(_STYLE):
        figure = _figure(3.2)
        axes = figure.subplots()
        for name, of_contender in summary.group(timings, lambda timing: timing.name).items():
            at = [timing.tokens for timing in of_contender]
            (line,) = axes.plot(
                at, [timing.ratio for timing in of_contender], marker="o", ms=3, lw=1, label=printable(name)
            )
            axes.fill_between(
                at,
                [x.low for x in of_contender],
                [x.high for x in of_contender],
                color=line.get_color(),
                alpha=0.2,
                lw=0,
            )
        lengths = sorted({timing.tokens for timing in timings})
        axes.set_xscale("log", base=2)
        axes.set_xticks(lengths, [f"{length:,}" for length in lengths])
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")  # the usual one writes powers as formulas, which nothing here reads
        axes.yaxis.set_minor_formatter("")
        axes.set_xlabel("tokens in a text")
        axes.set_ylabel("time, in predictions")
        figure.legend(loc="outside upper left", ncols=4)
    return figure


def svg(figure: Figure, *, name: str, label: str) -> str:
    """Return a plot as an SVG element in the page's text colour; its ids are unique if `name` is.

    Args:
        figure: A plot.
        name: A word, unique in the page.
        label: The text for screen readers, as HTML.
    """
    file = io.StringIO()
    with matplotlib.rc_context(_STYLE):
        figure.savefig(file, format="svg", transparent=True, metadata=dict.fromkeys(("Date", "Creator")))
    text = re.sub(r"<!--.*?-->", "", file.getvalue(), flags=re.DOTALL)  # they repeat the names
    text = re.sub(r'(\sid="|url\(#|href="#)', rf"\g<1>{name}-", text)
    text = text[text.index("<svg") :].replace(_INK, "currentColor")
    return text.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)


def trade_off(rows: Sequence[Row]) -> Figure | None:
    """Plot faithfulness over plausibility of the systems that were measured on all sets, coloured by cost."""
    points = comparison.comparable(comparison.trade_off(rows))
    if not points:
        return None
    figure = _figure(max(5.2, 0.16 * len(points)))  # room for every name
    axes = figure.subplots()
    # What needs no prediction at all would stretch the scale.
    norm = LogNorm(1.0, max([10.0, *(point.cost for point in points if point.cost > 0)]), clip=True)
    colours = matplotlib.colormaps["cividis"]
    for point in points:
        fill = "none" if math.isnan(point.cost) else colours(norm(point.cost))
        size = 130 if point.experiment in EXPNETS else 34
        style: Any = {"s": size, "facecolor": fill, "marker": _marker(point), "edgecolor": _INK, "linewidth": 0.6}
        axes.scatter(point.plausibility, point.faithfulness, zorder=3, **style)
    if not all(math.isnan(point.cost) for point in points):
        bar = figure.colorbar(
            ScalarMappable(norm, colours), ax=axes, pad=0.02, fraction=0.04, format="%g", extend="min"
        )
        bar.set_label("cost: time, in predictions")
        for colour in bar.ax.findobj(QuadMesh):
            colour.set(rasterized=False, edgecolor="face")  # the page loads no images
    handles = [
        Line2D([], [], marker=marker, ls="", mfc="none", mec=_INK, label=label)
        for marker, label in _KINDS.items()
        if marker in map(_marker, points)
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=4, handletextpad=0.1)
    axes.margins(0.12, 0.06)
    axes.set(xlabel="plausibility: average precision →", ylabel="faithfulness: comprehensiveness →")
    _name_points(figure, axes, points)
    return figure


def _name_points(figure: Figure, axes: Axes, points: Sequence[Point]) -> None:
    """Write each name at the nearest free place around its point, those in crowded places first."""
    figure.draw_without_rendering()  # sizes and places are known from here on
    centres = axes.transData.transform([(point.plausibility, point.faithfulness) for point in points])
    scale = figure.dpi / 72
    taken = [Bbox.from_bounds(x - 3 * scale, y - 3 * scale, 6 * scale, 6 * scale) for x, y in centres]
    crowd = [(np.abs(centres - centre) < (60 * scale, 15 * scale)).all(1).sum() for centre in centres]
    for i in sorted(range(len(points)), key=lambda i: (points[i].experiment not in EXPNETS, -crowd[i])):
        name = axes.annotate(
            printable(points[i].system.replace(", ", ",\n", 1)),  # the longest names take two lines
            (points[i].plausibility, points[i].faithfulness),
            (0, 0),
            textcoords="offset points",
            size=6.5,
            weight="bold" if points[i].experiment in EXPNETS else "normal",
            ha="center",
            va="center",
            arrowprops={"arrowstyle": "-", "color": _GREY, "lw": 0.5, "shrinkA": 0, "shrinkB": 3},
        )
        name.set_in_layout(False)
        extent = name.get_window_extent()
        place, box = _free_place(centres[i], (extent.width, extent.height), taken, axes.bbox, scale)
        name.set_position(tuple((place - centres[i]) / scale))
        taken.append(box)


def _free_place(
    centre: ndarray, size: tuple[float, float], taken: Sequence[Bbox], room: BboxBase, scale: float
) -> tuple[ndarray, Bbox]:
    """Return where a box of this size overlaps least, the nearest such place around the centre, and the box."""
    half, tried = np.array(size) / 2, []
    for distance in (5, 9, 14, 20, 27, 35, 44, 56, 70):
        for angle in np.linspace(0, 2 * np.pi, 24, endpoint=False):
            way = np.array([np.cos(angle), np.sin(angle)])
            place = centre + way * (distance * scale + half)
            box = Bbox([place - half, place + half])
            outside = not (room.contains(*box.p0) and room.contains(*box.p1))
            tried.append((9 * outside + sum(box.overlaps(other) for other in taken), place, box))
    _, place, box = min(tried, key=lambda candidate: candidate[0])
    return place, box


def few_marks(rows: Sequence[Row]) -> Figure | None:
    """Plot average precision over the number of marked texts, a panel per set."""
    rows_of = {
        place: here
        for place, here in summary.places([row for row in summary.main_marks(rows) if not row.sample]).items()
        if any(row.experiment == "few marks" for row in here)
    }
    steps = sorted({summary.shots(row) for here in rows_of.values() for row in here if row.experiment in EXPNETS})

    def panel(axes: Axes, here: Sequence[Row]) -> None:
        for name, curve in summary.learning_curves(here).items():
            at = [steps.index(count) for count in curve]
            figures = [summary.figure(of_step, HEADLINE) for of_step in curve.values()]
            colour = _GREEN if "gradient" in name else _BLUE
            marker, dashes = ("s", "--") if name.endswith(summary.FROM_SCRATCH) else ("o", "-")
            axes.plot(
                at, [point.mean for point in figures], dashes, color=colour, marker=marker, ms=3, lw=1, label=name
            )
            axes.fill_between(at, [x.low for x in figures], [x.high for x in figures], color=colour, alpha=0.2, lw=0)
        bounds = (("best baseline", comparison.best(here), "--"), ("human", comparison.best(here, ("human",)), ":"))
        for label, bound, dashes in bounds:
            if bound:
                axes.axhline(summary.figure(bound, HEADLINE).mean, color=_INK, ls=dashes, lw=1, label=label)
        axes.set_xticks(range(len(steps)), [summary.shots_name(count) for count in steps])

    return _panels(rows_of, panel, ("marked texts of the task", "average precision"))


def deletion(rows: Sequence[Row]) -> Figure | None:
    """Plot how the probability falls while words are removed, in the order of each method."""
    replacement = comparison.main_replacement(rows)
    rows_of = summary.places(
        [row for row in rows if "deletion" in row.curves and str(row.condition.get("replacement")) == replacement]
    )
    notable = _notable(comparison.trade_off(rows))

    def panel(axes: Axes, here: Sequence[Row]) -> None:
        for name, of_system in summary.group(here, summary.system).items():
            curve, fractions = (
                np.mean([row.curves[key] for row in of_system], axis=0) for key in ("deletion", "fractions")
            )
            label, colour, dashes = notable.get(name, ("other methods", _GREY, "-"))
            other = name not in notable
            width, order = (0.5, 1) if other else (1.5, 3)
            axes.plot(100 * fractions, curve, color=colour, ls=dashes, lw=width, zorder=order, label=label)

    what = f"words replaced ({replacement}), %"
    return _panels(rows_of, panel, (what, "probability of the class"))


_KINDS = {"*": "ExpNet", "o": "baseline", "D": "baseline, on a sample", "X": "control"}


def _marker(point: Point) -> str:
    if point.experiment in EXPNETS:
        return "*"
    return "X" if point.experiment in comparison.BOUNDS else "D" if point.sample else "o"


def _notable(points: Sequence[Point]) -> dict[str, tuple[str, str, str]]:
    """Return label, colour and dashes of the systems whose curves stand out."""
    notable = {"random": ("random", _INK, ":")}
    whole = [point for point in comparison.comparable(points) if _marker(point) == "o"]
    if whole:
        plausible = max(whole, key=lambda point: point.plausibility).system
        faithful = max(whole, key=lambda point: point.faithfulness).system
        notable[plausible] = (f"most plausible baseline: {plausible}", _ORANGE, "-")
        notable[faithful] = (f"most faithful baseline: {faithful}", _GREEN, "--")
    ours = [point.system for point in points if point.experiment in EXPNETS]
    notable |= {name: (name, colour, "-") for name, colour in zip(ours, (_BLUE, _PURPLE), strict=False)}
    return notable


def _panels(
    rows_of: Mapping[str, Sequence[Row]], draw: Callable[[Axes, Sequence[Row]], None], labels: tuple[str, str]
) -> Figure | None:
    """Draw a panel per place with one legend for all, or nothing if there is no place."""
    if not rows_of:
        return None
    lines = math.ceil(len(rows_of) / _COLUMNS)
    figure = _figure(0.7 + 1.75 * lines)
    grid = figure.subplots(lines, _COLUMNS, sharex=True, sharey=True, squeeze=False).ravel()
    for axes, (place, here) in zip(grid, rows_of.items(), strict=False):
        draw(axes, here)
        axes.set_title(printable(place), loc="left")
        axes.tick_params(labelbottom=True)
    for axes in grid[len(rows_of) :]:
        axes.remove()
    figure.supxlabel(printable(labels[0]), size=8)
    figure.supylabel(labels[1], size=8)
    legend = {
        label: line for axes in figure.axes for line, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(legend.values(), map(printable, legend), loc="outside upper left", ncols=3)
    return figure


def _figure(height: float) -> Figure:
    figure = Figure(figsize=(_WIDTH, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure
