"""The picture of a benchmark: parameters against throughput, each network with its name.

A dashed line is the Pareto front: no other case is both smaller and faster than one on it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from kdna_zoo.analysis.bench.comparison import Comparison, Result

MARKERS = ("o", "s", "^", "D", "P")
COLOURS = ("#37474f", "#1565c0", "#d84315", "#1a7f37", "#6a1b9a")
WIDE = 4  # from this ratio of largest to smallest on, an axis is logarithmic
LINE, FRONT = "#b0bec5", "#78909c"
POINT = 9  # pixels from its middle, where a point ends
ROOM = 1.12  # an axis from zero ends so far beyond its largest value
NEAR = 7  # points from its point, a name needs no line to it
# Where a name may stand, in points from its point, and how it is then aligned: near, then further.
PLACES = [
    *((7, 0, "left", "center"), (0, 7, "center", "bottom"), (-7, 0, "right", "center")),
    *((0, -7, "center", "top"), (7, 7, "left", "bottom"), (-7, 7, "right", "bottom")),
    *((14, y, "left", "center") for y in (14, -14, 28, -28, 42, -42, 56, -56)),
    *((-14, y, "right", "center") for y in (14, -14, 28, -28, 42, -42, 56, -56)),
]


def draw_throughput(comparison: Comparison, to: Path) -> None:
    """Draw the cases of a run: a marker for each form, a line through a network's forms.

    Args:
        comparison: The run.
        to: The picture to write; its suffix says in which format, such as ``.png`` or ``.svg``.
    """
    figure = Figure(figsize=(8.5, 5.4), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes, results = figure.subplots(), comparison.results
    for network in _unique(r.case.network for r in results):
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
    figure.savefig(to)


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
    pixels = axes.transData.transform([_point(result) for result in results])
    taken: list[Any] = []

    def is_free(box: Any) -> bool:
        inside = axes.bbox.count_contains(box.corners()) == 4
        return inside and not (
            box.padded(POINT).count_contains(pixels) or box.count_overlaps(taken)
        )

    for network in _unique(r.case.network for r in results):
        fastest = max((_point(r) for r in results if r.case.network == network), key=_speed)
        name = axes.annotate(network, fastest, (0, 0), textcoords="offset points", fontsize=8)
        name.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 0.5})  # lines pass behind
        for dx, dy, ha, va in PLACES:
            name.set(position=(dx, dy), ha=ha, va=va)
            if is_free(name.get_window_extent()):
                break
        taken.append(name.get_window_extent())
        if abs(dx) > NEAR:
            line = {"arrowstyle": "-", "color": LINE, "shrinkB": 4}
            axes.annotate("", fastest, (dx, dy), textcoords="offset points", arrowprops=line)


def _speed(point: tuple[float, float]) -> float:
    return point[1]
