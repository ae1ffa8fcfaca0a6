"""Warnings of libraries on the command line."""

import warnings
from pathlib import Path

import pytest
from PIL import Image

from kdna_zoo.cli._warnings import plain_warnings
from kdna_zoo.cli.app import main

EXAMPLE = Path(__file__).parents[2] / "kdna_zoo" / "release" / "examples" / "0.png"


def test_a_warning_is_one_plain_line() -> None:
    where = ("library.py", 7, "the(line)")
    with plain_warnings():
        shown = warnings.formatwarning("Corrupt EXIF data.\n  Expecting 12", UserWarning, *where)
        assert shown == "kdna-zoo: warning: Corrupt EXIF data. Expecting 12\n"
        for category in (FutureWarning, DeprecationWarning):
            assert warnings.formatwarning("use another", category, *where) == ""
    assert "library.py:7" in warnings.formatwarning("use another", UserWarning, *where)


def test_a_picture_that_pillow_warns_of_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 60 * 60)
    picture = tmp_path / "large.png"
    Image.new("L", (80, 80)).save(picture)
    assert main(["classify", str(picture), str(EXAMPLE), "--model", "kdna_mobilenetv2.fmnist"]) == 0
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert said[0].startswith(f"kdna-zoo: {picture}: Image size (6400 pixels) exceeds limit")
