"""``kdna-zoo models``."""

import pytest
import timm

from kdna_zoo.cli import main


def test_every_network_has_its_row(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("`")[1] for line in lines[2:]] == timm.list_models("kdna_*")
    assert "| `kdna_resnet18` | 9,240,798 | 17,590,824 (-47.5%) | `resnet18` |" in lines[4]


def test_own_kernels_are_counted_as_timm_counts_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "kdna_resnet18"]) == 0
    same_depth = timm.create_model("resnet18", layers=(2, 2, 3, 3))
    assert f"| {sum(p.numel() for p in same_depth.parameters()):,} (" in capsys.readouterr().out


def test_other_networks_can_be_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "test_resnet"]) == 0
    assert "| `test_resnet` | " in capsys.readouterr().out


def test_no_match(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "kdna_vgg*"]) == 2
    assert "no network matches 'kdna_vgg*'; there are kdna_mobilenetv2" in capsys.readouterr().err
