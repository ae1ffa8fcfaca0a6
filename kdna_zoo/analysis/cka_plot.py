"""The picture of a CKA: the grid of layer against layer, from the input (bottom left) on."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from kdna_zoo.analysis.cka import Cka

COLOURS = "magma"  # dark: unrelated; bright: the same
MISSING = "#b0bec5"  # a layer without a value
CELL = 0.2  # inches, where there are few layers
SIDE = (3.6, 8.0)  # inches, of the longer side: at least, at most
NAME = 0.135  # inches that the name of a layer takes


def draw_cka(cka: Cka, to: Path) -> None:
    """Draw the grid, each layer with its name as far as there is room.

    Args:
        cka: The values.
        to: The picture to write; its suffix says in which format, such as ``.png`` or ``.svg``.
    """
    rows, columns = len(cka.rows), len(cka.columns)
    cell = min(max(CELL, SIDE[0] / max(rows, columns)), SIDE[1] / max(rows, columns))
    height, width = max(cell * rows, 1.2), max(cell * columns, 1.2)
    names = (_longest(cka.columns), _longest(cka.rows))
    size = (width + names[1] + 1.6, height + names[0] + 1.2)
    figure = Figure(figsize=(max(size[0], 5.2), size[1]), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    colours: Any = _colour_map()
    image = axes.imshow(cka.matrix.numpy(), colours, vmin=0, vmax=1, origin="lower")
    _name(axes, cka, cell)
    first, second = cka.networks
    title = f"Linear CKA of {first}" if cka.is_of_one else f"Linear CKA, {first} against {second}"
    axes.set_title(f"{title}\n", fontsize=11)
    axes.text(
        0.5, 1.015, _note(cka), fontsize=7.5, color="#546e7a", ha="center", va="bottom",
        transform=axes.transAxes,
    )  # fmt: skip
    negative = bool((cka.matrix < 0).any())
    bar = figure.colorbar(image, shrink=0.8, extend="min" if negative else "neither")
    bar.set_label("CKA", fontsize=9)
    bar.ax.tick_params(labelsize=8)
    bar.outline.set_visible(False)
    figure.savefig(to)


def _colour_map() -> Any:
    import matplotlib

    return matplotlib.colormaps[COLOURS].with_extremes(bad=MISSING)


def _note(cka: Cka) -> str:
    return cka.about or f"{cka.images:,} images, batches of {cka.batch_size}"


def _longest(names: Sequence[str]) -> float:
    return 0.065 * max(map(len, names))  # inches


def _name(axes: Axes, cka: Cka, cell: float) -> None:
    """Write the layers' names along both axes: every one, or every second, third, ..."""
    step = max(math.ceil(NAME / cell), 1)
    for names, set_ticks, rotation in (
        (cka.columns, axes.set_xticks, 90),
        (cka.rows, axes.set_yticks, 0),
    ):
        places = range(0, len(names), step)
        set_ticks(list(places), [names[i] for i in places], rotation=rotation, fontsize=7)
    if not cka.is_of_one:
        axes.set(xlabel=cka.networks[1], ylabel=cka.networks[0])
    axes.tick_params(length=2)
    axes.spines[:].set_visible(False)
