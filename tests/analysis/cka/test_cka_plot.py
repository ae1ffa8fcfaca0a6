"""The picture of a CKA names the layers, and colours what has no value apart."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageColor
from torch import Tensor

from kdna_zoo.analysis.cka.cka import Cka
from kdna_zoo.analysis.cka.plot import MISSING, draw_cka
from tests.training.logging.test_plots import pixels_of

BRIGHTEST = "#fbfcbf"  # as it is drawn


def cka(rows: int, columns: int, matrix: Tensor | None = None, **options: str) -> Cka:
    names = tuple(f"layer{1 + i // 8}.{i % 8}.conv" for i in range(max(rows, columns)))
    values = torch.rand(rows, columns).double() if matrix is None else matrix.double()
    both = ("base", "kdna") if rows != columns else ("base", "base")
    return Cka(both, names[:rows], names[:columns], values, 8, 4, **options)


def drawn(file: Path, text: str) -> int:
    return file.read_text(encoding="utf-8").count(f"<!-- {text} -->")


def test_each_layer_is_named_on_both_sides(tmp_path: Path) -> None:
    draw_cka(cka(20, 20, about="12 images of cats"), tmp_path / "cka.svg")
    assert drawn(tmp_path / "cka.svg", "Linear CKA of base") == 1
    assert drawn(tmp_path / "cka.svg", "12 images of cats") == 1
    for i in range(20):
        assert drawn(tmp_path / "cka.svg", f"layer{1 + i // 8}.{i % 8}.conv") == 2


def test_two_networks(tmp_path: Path) -> None:
    networks = cka(6, 18)
    draw_cka(networks, tmp_path / "cka.svg")
    assert drawn(tmp_path / "cka.svg", "Linear CKA, base against kdna") == 1
    assert drawn(tmp_path / "cka.svg", "8 images, batches of 4") == 1
    assert drawn(tmp_path / "cka.svg", "layer1.0.conv") == 2
    assert drawn(tmp_path / "cka.svg", "layer3.1.conv") == 1
    local = Cka(("local-dir:/a/b/", "hf-hub:me/it"), ("x",), ("y",), torch.eye(1), 8, 4)
    draw_cka(local, tmp_path / "cka.svg")
    assert drawn(tmp_path / "cka.svg", "Linear CKA, b against hf-hub:me/it") == 1


def test_each_of_85_layers_has_its_name(tmp_path: Path) -> None:
    draw_cka(cka(85, 85), tmp_path / "cka.svg")
    names = [drawn(tmp_path / "cka.svg", f"layer{1 + i // 8}.{i % 8}.conv") for i in range(85)]
    assert names == [2] * 85


def test_of_many_layers_every_so_many_are_named(tmp_path: Path) -> None:
    draw_cka(cka(150, 150), tmp_path / "cka.svg")
    names = sum(drawn(tmp_path / "cka.svg", f"layer{1 + i // 8}.{i % 8}.conv") for i in range(150))
    assert names == 2 * 50
    draw_cka(cka(150, 150), tmp_path / "cka.png")
    assert max(Image.open(tmp_path / "cka.png").size) < 2000


def test_colours_go_from_zero_to_one_and_what_has_no_value_is_grey(tmp_path: Path) -> None:
    draw_cka(cka(3, 3, torch.ones(3, 3)), tmp_path / "cka.png")
    assert pixels_of(tmp_path / "cka.png", BRIGHTEST) > 50_000, "the brightest"
    assert pixels_of(tmp_path / "cka.png", MISSING) == 0
    draw_cka(cka(3, 3, torch.full((3, 3), 0.5)), tmp_path / "half.png")
    assert pixels_of(tmp_path / "half.png", BRIGHTEST) < 1000, "that of the bar"
    dead = torch.ones(3, 3)
    dead[1] = dead[:, 1] = torch.nan
    draw_cka(cka(3, 3, dead), tmp_path / "dead.png")
    assert pixels_of(tmp_path / "dead.png", MISSING) > 50_000


def test_the_input_is_at_the_bottom_left(tmp_path: Path) -> None:
    corner = torch.ones(4, 4)
    corner[0, 0] = torch.nan
    draw_cka(cka(4, 4, corner), tmp_path / "cka.png")
    pixels = np.asarray(Image.open(tmp_path / "cka.png").convert("RGB"))
    y, x = np.nonzero((pixels == ImageColor.getrgb(MISSING)).all(axis=-1))
    bright_y, bright_x = np.nonzero((pixels == ImageColor.getrgb(BRIGHTEST)).all(axis=-1))
    assert y.mean() > np.median(bright_y)
    assert x.mean() < np.median(bright_x)
