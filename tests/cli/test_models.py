"""``kdna-zoo models``."""

import json
import subprocess
import sys
from typing import Any

import pytest
import timm

from kdna_zoo.cli.app import main
from kdna_zoo.models.weights import read_manifest


def parameters(name: str, **args: Any) -> int:
    return sum(p.numel() for p in timm.create_model(name, **args).parameters())


@pytest.mark.integration
def test_every_network_has_its_row(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    header, _, *rows = capsys.readouterr().out.splitlines()
    assert "| multiply-adds |" in header
    assert [row.split("`")[1] for row in rows] == timm.list_models("kdna_*")
    assert (
        "| `kdna_resnet34` | 11,778,425 | 21,797,672 (-46.0%) | `resnet34` | 21,797,672 (-46.0%) | "
        "3.664 G | none yet |"
    ) in rows


def test_json_has_what_the_table_has(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "kdna_resnet18", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row == {
        "name": "kdna_resnet18",
        "parameters": parameters("kdna_resnet18"),
        "own_kernels": parameters("resnet18", layers=(2, 2, 3, 3)),
        "base": "resnet18",
        "base_parameters": parameters("resnet18"),
        "macs": 2_276_986_880,
        "input_size": [3, 224, 224],
        "weights": [tag for tag in read_manifest() if tag.startswith("kdna_resnet18.")],
    }


def test_other_networks_can_be_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "test_resnet", "--markdown"]) == 0
    row = capsys.readouterr().out.splitlines()[2]
    assert row.startswith(f"| `test_resnet` | {parameters('test_resnet'):,} |  |  |  | ")


def test_no_match(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "kdna_vgg*"]) == 2
    error = capsys.readouterr().err
    assert "no network matches 'kdna_vgg*'; there are kdna_" in error
    assert all(name in error for name in timm.list_models("kdna_*"))


@pytest.mark.integration
def test_nobody_reads_on() -> None:
    """As with ``| head``: no traceback, and the exit code of a command that a closed pipe ended."""
    command = [sys.executable, "-m", "kdna_zoo.cli", "models", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141
