"""Pictures of a run: its learning curve, and a sheet of classified images."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

RIGHT, WRONG = "#1a7f37", "#c62828"


def draw_learning_curve(metrics: Path, to: Path, main_metric: str = "top1") -> None:
    """Draw loss and accuracy, or another metric, over the steps of a run.

    Args:
        metrics: The run's ``metrics.csv``, as Lightning's CSVLogger writes it.
        to: The PNG to write.
        main_metric: The metric to the right of the loss.
    """
    with metrics.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    figure = Figure(figsize=(9, 3.6), dpi=120, layout="constrained")
    left, right = figure.subplots(1, 2)
    _plot(
        left,
        rows,
        "train/loss_step",
        "training objective, each batch",
        color="#b0bec5",
        linewidth=1,
    )
    _plot(left, rows, "train/loss_epoch", "training objective, mean of the epoch", color="#37474f")
    _plot(left, rows, "val/loss", "validation", color="#d84315", marker="o")
    top1 = main_metric == "top1"
    scale = 100 if top1 else 1
    _plot(right, rows, f"val/{main_metric}", "validation", scale, color="#d84315", marker="o")
    left.set(title="Loss", xlabel="step", ylabel="cross-entropy" if top1 else "loss")
    right.set(title="Top-1 accuracy" if top1 else main_metric, xlabel="step", ylabel="%" * top1)
    left.legend(frameon=False)
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(to)


def _plot(
    axes: Axes,
    rows: list[dict[str, str]],
    column: str,
    label: str,
    scale: float = 1,
    **style: Any,
) -> None:
    points = [(int(r["step"]), scale * float(r[column])) for r in rows if r.get(column)]
    if points:
        axes.plot(*zip(*points, strict=True), label=label, **style)


def draw_predictions(
    predictions: Path, image: Callable[[int], Image.Image], to: Path, count: int = 40
) -> None:
    """Draw a sheet of images with the class predicted, and the true one where it differs.

    Args:
        predictions: The ``predictions.csv`` of ``kdna-zoo predict``.
        image: Returns the image at an index of the predicted split.
        to: The PNG to write.
        count: Images to show, the first of the split.
    """
    with predictions.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))[:count]
    columns = 10
    lines = -(-len(rows) // columns)
    figure = Figure(figsize=(1.45 * columns, 1.85 * lines), dpi=110, layout="constrained")
    for axes, row in zip(figure.subplots(lines, columns, squeeze=False).flat, rows, strict=False):
        wrong = row["label"] not in ("", row["predicted"])
        axes.imshow(image(int(row["index"])))
        text = f"{row['predicted']} {float(row['probability']):.0%}"
        truth = f"\nis {row['label']}" if wrong else "\n"
        axes.set_title(text + truth, fontsize=8, color=WRONG if wrong else RIGHT)
    for axes in figure.axes:
        axes.axis("off")
    figure.savefig(to)
