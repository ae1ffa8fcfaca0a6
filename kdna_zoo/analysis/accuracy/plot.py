"""The picture of accuracies over seeds: a point for each run, a line at each network's mean."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from kdna_zoo.analysis.accuracy.accuracy import Accuracy

POINT, MEAN = "#1565c0", "#d84315"


def draw_accuracy(rows: Sequence[Accuracy], to: Path) -> None:
    """Draw top-1 of each run, a line of its own for each network, the first on top.

    Args:
        rows: The networks.
        to: The picture to write; its suffix says in which format, such as ``.png`` or ``.svg``.
    """
    figure = Figure(figsize=(8.5, 1.3 + 0.42 * len(rows)), dpi=120, layout="constrained")
    axes = figure.subplots()
    for height, row in enumerate(rows):
        values = [100 * value for value in row.top1.values()]
        axes.plot(values, [height] * len(values), "o", color=POINT, alpha=0.7, zorder=2)
        axes.plot([100 * row.mean] * 2, [height - 0.3, height + 0.3], color=MEAN, linewidth=2)
    axes.set_yticks(range(len(rows)), [row.network for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.margins(x=0.1)
    axes.set_xlabel("top-1 %: a point for each seed, a line at the mean")
    axes.grid(axis="x", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(to)
