"""``kdna-zoo quickstart``: as a user runs it (slow), and that it gives the same figure again."""

import re
from pathlib import Path

import pytest
from PIL import Image

from kdna_zoo.cli.app import main


@pytest.mark.slow
def test_quickstart_reaches_its_accuracy_every_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = []
    for version in ("version_0", "version_1"):
        assert main(["quickstart", "--to", str(tmp_path)]) == 0
        out = capsys.readouterr().out
        trained, reloaded = re.findall(r"(?:Trained|Reloaded): +([\d.]+)%", out)
        assert trained == reloaded
        assert float(trained) >= 84
        figures.append(trained)
        for picture in ("learning_curve.png", "predictions.png"):
            assert Image.open(tmp_path / version / picture).width > 1000
    assert figures[0] == figures[1]
