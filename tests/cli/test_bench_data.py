"""``kdna-zoo bench --data``: loaders over the same files."""

import json
from pathlib import Path

import pytest
from PIL import Image

from kdna_zoo.analysis.bench.sample_images import link_images, make_images
from kdna_zoo.cli.app import main
from kdna_zoo.errors import UserError

SMALL = ["--img-size", "16", "--batch-size", "4", "--images", "9", "--rounds", "2", "--workers"]
LOADERS = ["timm", "timm, prefetcher", "kdna_zoo", "kdna_zoo, streaming"]


@pytest.mark.integration
def test_figures_of_loaders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "figures.json"
    assert main(["bench", "--data", *SMALL, "1", "--json", str(file)]) == 0
    printed = capsys.readouterr().out
    assert "| loader | images/s | quartiles | ratio |" in printed
    assert "9 JPEG files, batch 4, 16 x 16 pixels, 1 workers; medians of 2 interleaved" in printed
    figures = json.loads(file.read_text())
    assert [result["loader"] for result in figures["results"]] == LOADERS
    assert figures["results"][0]["ratio"] == 1
    for result in figures["results"]:
        a, b = result["seconds_per_epoch"]
        assert result["images_per_second"]["median"] == pytest.approx(8 / ((a + b) / 2))
    assert figures["order"] == [[0, 1, 2, 3], [1, 2, 3, 0]]


def test_images_of_imagenets_size_that_all_differ(tmp_path: Path) -> None:
    make_images(tmp_path, 4)
    files = sorted((tmp_path / "train").glob("*/*.jpg"))
    assert [file.parent.name for file in files] == ["class0", "class0", "class1", "class1"]
    assert {Image.open(file).size for file in files} == {(500, 375)}
    assert all(105_000 < file.stat().st_size < 115_000 for file in files)
    assert len({file.read_bytes() for file in files}) == 4


def test_a_folder_of_ones_own(tmp_path: Path) -> None:
    make_images(tmp_path / "own", 6)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    assert link_images(tmp_path / "own", tmp_path / "a", 100) == 6
    assert link_images(tmp_path / "own" / "train", tmp_path / "b", 4) == 4
    assert len(list((tmp_path / "b" / "train").glob("*/*.jpg"))) == 4
    with pytest.raises(UserError, match="it needs JPEG files in a folder for each of two classes"):
        link_images(tmp_path / "own" / "train" / "class0", tmp_path / "c", 4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give the names of networks, or --data"),
        (["test_kdna_resnet", "--data", "--rounds", "1"], "give the names of networks, or --data"),
        (["--data", "--images", "2"], "--images 2 is less than a batch of 16"),
        (["--data", "--plot", "x.png"], "--plot draws networks"),
    ],
)
def test_mistakes(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", *arguments]) == 2
    assert message in capsys.readouterr().err
