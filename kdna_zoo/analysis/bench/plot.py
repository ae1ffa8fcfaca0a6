"""The picture of a benchmark: parameters against throughput, each network with its name.

A dashed line is the Pareto front: no other case is both smaller and faster than one on it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from adjustText import adjust_text
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from matplotlib.transforms import Bbox

from kdna_zoo.analysis.bench.comparison import Comparison, Result

MARKERS = ("o", "s", "^", "D", "P")
COLOURS = ("#37474f", "#1565c0", "#d84315", "#1a7f37", "#6a1b9a")
WIDE = 4  # from this ratio of largest to smallest on, an axis is logarithmic
LINE, FRONT = "#b0bec5", "#78909c"
POINT = 6  # pixels from its middle, where a point ends
BESIDE = 12  # pixels from it, where its name begins that nothing moves away
ROOM = 1.12  # an axis from zero ends so far beyond its largest value
SIZE = (8.5, 5.4)  # inches, of a picture with few names
NAMES = 12  # so many find room in it; with more it grows
# Names move apart, and down or up rather than aside; never back, where they would go on and on. A
# limit in time, adjustText's own default, would give another picture each time.
MOVES: dict[str, Any] = {
    **{"force_text": (1, 2), "force_static": (0.3, 1), "force_pull": (0, 0), "max_move": 30},
    **{"explode_radius": 0, "avoid_self": False, "prevent_crossings": False, "iter_lim": 100},
    "min_arrow_len": 15,  # pixels; a name that is nearer needs no line to its point
}


def draw_throughput(comparison: Comparison, to: Path) -> None:
    """Draw the cases of a run: a marker for each form, a line through a network's forms.

    Args:
        comparison: The run.
        to: The picture to write; its suffix says in which format, such as ``.png`` or ``.svg``.
    """
    throughput_figure(comparison).savefig(to)


def throughput_figure(comparison: Comparison) -> Figure:
    """Return the drawing that `draw_throughput` writes."""
    results = comparison.results
    networks = _unique(r.case.network for r in results)
    grown = max(len(networks) / NAMES, 1) ** 0.5
    figure = Figure(figsize=(grown * SIZE[0], grown * SIZE[1]), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for network in networks:
        points = sorted(_point(r) for r in results if r.case.network == network)
        axes.plot(*zip(*points, strict=True), color=LINE, linewidth=1, zorder=1)
    forms = _unique(r.case.form for r in results)
    for form, marker, colour in zip(forms, MARKERS, COLOURS, strict=False):
        x, y = zip(*(_point(r) for r in results if r.case.form == form), strict=True)
        axes.scatter(x, y, s=40, marker=marker, color=colour, label=form)
    front = pareto_front([_point(result) for result in results])
    if len(front) > 1:
        style: dict[str, Any] = {"color": FRONT, "linestyle": "--", "linewidth": 1, "zorder": 0}
        axes.step(*zip(*front, strict=True), where="post", label="Pareto front", **style)
    axes.set(xlabel="parameters, millions", ylabel="images a second")
    axes.set_title(f"{comparison.setting}\n{comparison.machine['hardware']}", fontsize=10)
    axes.margins(x=0.22, y=0.12)
    _scale(axes, results)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=len(forms) + 1, frameon=False, fontsize=9)
    _name(axes, results)
    return figure


def pareto_front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the points (parameters, throughput) that no other one beats in both, by parameters."""
    front: list[tuple[float, float]] = []
    for point in sorted(points, key=lambda p: (p[0], -p[1])):
        if not front or point[1] > front[-1][1]:
            front.append(point)
    return front


def _unique(names: Any) -> list[str]:
    return list(dict.fromkeys(names))


def _point(result: Result) -> tuple[float, float]:
    return result.parameters / 1e6, result.images_per_second


def _scale(axes: Axes, results: Sequence[Result]) -> None:
    """Let each axis start at zero, or be logarithmic where the values lie far apart."""
    points = [_point(result) for result in results]
    for i, axis, limit, scale in (
        (0, axes.xaxis, axes.set_xlim, axes.set_xscale),
        (1, axes.yaxis, axes.set_ylim, axes.set_yscale),
    ):
        values = [point[i] for point in points]
        if max(values) < WIDE * min(values):
            limit(0, ROOM * max(values))
            continue
        scale("log")
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())


def _name(axes: Axes, results: Sequence[Result]) -> None:
    """Write each network's name beside its fastest form, where it covers nothing else."""
    figure: Any = axes.figure
    figure.draw_without_rendering()  # settles the layout
    to_pixels, to_data = axes.transData.transform, axes.transData.inverted()
    middles = to_pixels([_point(result) for result in results])
    points = [Bbox([middle, middle]).padded(POINT) for middle in middles]
    names, named = [], []
    for network in _unique(r.case.network for r in results):
        fastest = max((_point(r) for r in results if r.case.network == network), key=_speed)
        x, y = to_pixels(fastest)
        x, y = to_data.transform((x + BESIDE, y))
        name = axes.text(x, y, network, va="center", fontsize=8, in_layout=False)
        name.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 0.5})  # lines pass behind
        names.append(name)
        named.append(fastest)
    parameters, speeds = zip(*named, strict=True)
    adjust_text(
        names,
        objects=[point.transformed(to_data) for point in points],
        target_x=parameters,
        target_y=speeds,
        ax=axes,
        arrowprops={"arrowstyle": "-", "color": LINE, "shrinkB": 4},
        **MOVES,
    )


def _speed(point: tuple[float, float]) -> float:
    return point[1]
