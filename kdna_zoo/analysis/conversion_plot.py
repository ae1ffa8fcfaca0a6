"""The picture of a conversion: what each step left, and what each layer costs and saves."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

BLUE, ORANGE, GREY = "#3949ab", "#ef6c00", "#546e7a"
LINE = 0.2  # inches that the line of a layer takes


def draw_conversion(data: Mapping[str, Any], to: Path) -> None:
    """Draw the steps at the top, and the children below.

    Args:
        data: What `ConversionReport.to_dict` gives.
        to: The picture to write; its suffix says in which format.
    """
    children = [layer for layer in data["layers"] if layer["path"] != layer["parent"]]
    steps = [step for step in data["steps"] if step["done"]]
    height = 2.6 + max(LINE * len(children), 0.8)
    figure = Figure(figsize=(7.2, height), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    above, below = figure.subplots(2, 1, height_ratios=(2.0, max(LINE * len(children), 0.8)))
    names = [step["name"] for step in steps]
    measured = [step["top1"] for step in steps]
    if any(value is not None for value in measured):
        values = [float("nan") if value is None else 100 * value for value in measured]
        what = f"top-1 of {data['evaluated']:,} images, %"
    else:
        values = [float("nan") if s["error"] is None else s["error"] for s in steps]
        what = "error of the output"
    above.plot(names, values, "o-", color=BLUE)
    for x, value in enumerate(values):
        if value == value:
            above.annotate(f"{value:.3g}", (x, value), (0, 6), fontsize=8, ha="center", **OFFSET)
    above.margins(y=0.25)
    above.set_ylabel(what, fontsize=8)
    above.tick_params(labelsize=8)
    saved = f"{data['parameters']['source']:,} → {data['parameters']['converted']:,} parameters"
    above.set_title(f"{saved} ({-100 * data['saving']:+.1f} %)", fontsize=10)
    paths = [layer["path"] for layer in children]
    for step, colour in (("share", GREY), ("fit", ORANGE)):
        errors = [layer["errors"].get(step, float("nan")) for layer in children]
        below.plot(errors, paths, "o", color=colour, label=LABELS[step], markersize=4)
    for layer in children:
        below.annotate(
            f"-{layer['saved']:,}", (1.01, layer["path"]), xycoords=("axes fraction", "data"),
            fontsize=6, va="center", color=GREY, annotation_clip=False,
        )  # fmt: skip
    below.invert_yaxis()
    below.set_xlabel("mean square error of the layer's output, relative to its own", fontsize=8)
    below.tick_params(labelsize=7)
    below.grid(axis="x", alpha=0.3)
    below.set_xlim(left=0)
    below.legend(fontsize=7, loc="best")
    for axes in (above, below):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(to, bbox_inches="tight", pad_inches=0.12)


OFFSET: Any = {"textcoords": "offset points"}
LABELS = {"share": "parent's kernel as it is", "fit": "fitted"}
