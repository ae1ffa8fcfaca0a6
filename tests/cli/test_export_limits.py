"""``kdna-zoo export``: what an exporter cannot do is said at once or in time, in one line."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from kdna_zoo.cli import main
from kdna_zoo.errors import RunError
from kdna_zoo.release.onnx import Request, export_network


def request(model: nn.Module) -> Request:
    return Request(model.eval(), lambda: model, (3, 8, 4))


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("test_condconv_resnet", "layer3.1.conv1 of test_condconv_resnet, a CondConv2d"),
        ("test_odconv_resnet", "a ODConv2d"),
        ("test_dyconv_mobilenetv2", "a DYConv2d"),
        ("test_kw_resnet", "a KWConv2d"),
        ("kw_resnet18", "a KWConv2d"),
    ],
)
def test_onnx_of_a_peer_is_for_one_batch_size(
    name: str, layer: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a.onnx"
    assert main(["export", name, "--format", "onnx", "--to", str(file)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("kdna-zoo: give --batch N, the number of images at a time: ")
    assert layer in error
    assert "ONNX fixes the number of groups. --format pt2 keeps it free" in error
    assert error.count("\n") == 1


@pytest.mark.integration
def test_a_peer_with_a_batch_size_is_written(tmp_path: Path) -> None:
    file = tmp_path / "a.onnx"
    options = ["--format", "onnx", "--batch", "2", "--img-size", "32", "--to", str(file)]
    assert main(["export", "test_condconv_resnet", *options]) == 0


def test_an_exporter_that_does_not_end_is_given_up(tmp_path: Path) -> None:
    class Endless(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            while torch.compiler.is_exporting():
                x = x + 1
            flat: Tensor = x.flatten(1)
            return flat

    asked = replace(request(Endless()), limit=2)
    with pytest.raises(RunError, match=r"gave up the export as pt2: it did not end in 2 s\. Give"):
        export_network(asked, tmp_path / "a.pt2", "pt2")
    assert list(tmp_path.iterdir()) == []


def test_an_exporters_failure_is_one_line_of_what_went_wrong(tmp_path: Path) -> None:
    class Uncommon(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            flat: Tensor = torch.special.bessel_j0(x).flatten(1)
            return flat

    with pytest.raises(RunError, match="cannot export this network as onnx: ") as error:
        export_network(request(Uncommon()), tmp_path / "a.onnx", "onnx")
    assert "bessel_j0" in str(error.value)
    assert "\x1b" not in str(error.value)
    assert len(str(error.value).splitlines()) == 1
