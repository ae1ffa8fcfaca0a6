"""The pictures show what is in the files they are drawn from."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageColor

from kdna_zoo.training.logging.plots import RIGHT, WRONG, draw_learning_curve, draw_predictions


def pixels_of(path: Path, colour: str) -> int:
    """How many pixels are of a colour."""
    image = np.asarray(Image.open(path).convert("RGB"))
    return int((image == ImageColor.getrgb(colour)).all(axis=-1).sum())


def test_learning_curve_draws_what_was_logged(tmp_path: Path) -> None:
    log = tmp_path / "metrics.csv"
    log.write_text(
        "step,train/loss_step,train/loss_epoch,val/loss,val/top1\n"
        "0,2.0,,,\n9,1.5,,,\n9,,1.8,1.6,0.5\n19,1.2,,,\n19,,1.3,1.1,0.7\n"
    )
    draw_learning_curve(log, tmp_path / "all.png")
    assert pixels_of(tmp_path / "all.png", "#d84315") > 500, "validation"
    log.write_text("step,train/loss_step,train/loss_epoch\n0,2.0,\n9,1.5,1.7\n")
    draw_learning_curve(log, tmp_path / "no_validation.png")
    assert pixels_of(tmp_path / "no_validation.png", "#d84315") == 0
    assert pixels_of(tmp_path / "no_validation.png", "#b0bec5") > 100, "each batch"


def test_predictions_are_marked_right_or_wrong(tmp_path: Path) -> None:
    table, blue = tmp_path / "predictions.csv", Image.new("RGB", (8, 8), "#0000ff")
    header = "index,label,predicted,probability\n"
    table.write_text(header + "0,cat,cat,0.9\n1,dog,cat,0.8\n")
    draw_predictions(table, lambda index: blue, tmp_path / "both.png")
    assert pixels_of(tmp_path / "both.png", RIGHT) > 0
    assert pixels_of(tmp_path / "both.png", WRONG) > 0
    assert pixels_of(tmp_path / "both.png", "#0000ff") > 10_000
    table.write_text(header + "0,,cat,0.9\n")
    draw_predictions(table, lambda index: blue, tmp_path / "unlabelled.png")
    assert pixels_of(tmp_path / "unlabelled.png", WRONG) == 0, "without a label nothing is wrong"
