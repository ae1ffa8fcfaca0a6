"""The picture of a CKA: the grid of layer against layer, from the input (bottom left) on."""

import math
import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from kdna_zoo.analysis.cka.cka import Cka

COLOURS = "magma"  # dark: unrelated; bright: the same
MISSING = "#b0bec5"  # a layer without a value
GREY, LINE = "#546e7a", "#607d8b"
CELL = 0.2  # inches, where there are few layers
SIDE = (3.6, 8.0)  # inches, of the longer side: at least, at most
LONGER = 12.0  # inches, at most where that gives each layer its name
NAME = 0.135  # inches that the name of a layer takes


def draw_cka(cka: Cka, to: Path) -> None:
    """Draw the grid, each layer with its name as far as there is room.

    Args:
        cka: The values.
        to: The picture to write; its suffix says in which format, such as ``.png`` or ``.svg``.
    """
    rows, columns = len(cka.rows), len(cka.columns)
    longer = max(rows, columns)
    cell = min(max(CELL, SIDE[0] / longer), SIDE[1] / longer)
    cell = max(cell, NAME) if NAME * longer <= LONGER else cell
    height, width = max(cell * rows, 1.2), max(cell * columns, 1.2)
    names = (_longest(cka.columns), _longest(cka.rows))
    size = (width + names[1] + 1.6, height + names[0] + 1.2)
    figure = Figure(figsize=(max(size[0], 5.2), size[1]), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    colours: Any = _colour_map()
    image = axes.imshow(cka.matrix.numpy(), colours, vmin=0, vmax=1, origin="lower")
    _name(axes, cka, cell)
    _part(axes, cka)
    first, second = map(_short, cka.networks)
    title = f"Linear CKA of {first}" if cka.is_of_one else f"Linear CKA, {first} against {second}"
    note = cka.about or f"{cka.images:,} images, batches of {cka.batch_size}"
    axes.set_title(title, fontsize=11, pad=8 + 10 * len(note.splitlines()))
    where: Any = {"xycoords": "axes fraction", "textcoords": "offset points"}
    axes.annotate(note, (0.5, 1), (0, 5), ha="center", fontsize=7.5, color=GREY, **where)
    negative = bool((cka.matrix < 0).any())
    bar = figure.colorbar(image, shrink=0.8, extend="min" if negative else "neither")
    bar.set_label("CKA", fontsize=9)
    bar.ax.tick_params(labelsize=8)
    bar.outline.set_visible(False)
    figure.savefig(to, bbox_inches="tight", pad_inches=0.12)


def _colour_map() -> Any:
    import matplotlib

    return matplotlib.colormaps[COLOURS].with_extremes(bad=MISSING)


def _short(network: str) -> str:
    """Return a network's name without the folders in which it lies."""
    return network.rstrip("/").rpartition("/")[2] if network.startswith("local-dir:") else network


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
        axes.set(xlabel=_short(cka.networks[1]), ylabel=_short(cka.networks[0]))
    axes.tick_params(length=2)
    axes.spines[:].set_visible(False)


def _part(axes: Axes, cka: Cka) -> None:
    """Draw a thin line between the parts of the networks, such as ``layer3`` or ``stages.2``."""
    for names, draw in ((cka.columns, axes.axvline), (cka.rows, axes.axhline)):
        parts = [_part_of(name) for name in names]
        if 2 * len(set(parts)) > len(parts):
            continue  # layers side by side, as in a VGG
        for i, (before, after) in enumerate(pairwise(parts)):
            if before != after:
                draw(i + 0.5, color=LINE, linewidth=0.5, alpha=0.7)


def _part_of(path: str) -> str:
    """Return the path up to its first number."""
    parts = path.split(".")
    ends = [i for i, part in enumerate(parts) if re.search(r"\d", part)]
    return ".".join(parts[: ends[0] + 1]) if ends else path
