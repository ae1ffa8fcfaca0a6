"""``kdna-zoo export``: what the file says of its network."""

import json
from pathlib import Path

import pytest
import timm
import torch
from safetensors import safe_open
from timm.models import save_for_hf

from kdna_zoo.cli import main


def test_safetensors_say_what_they_are_of(tmp_path: Path) -> None:
    file = tmp_path / "a.safetensors"
    arguments = ["--format", "safetensors", "--fuse", "speed", "--to", str(file)]
    assert main(["export", "test_kdna_resnet", *arguments]) == 0
    with safe_open(file, "pt") as opened:
        assert opened.metadata() == {
            "format": "pt",
            "architecture": "test_kdna_resnet",
            "weights": "random",
            "fuse": "speed",
            "input_size": "[3, 64, 64]",
            "mean": "[0.485, 0.456, 0.406]",
            "std": "[0.229, 0.224, 0.225]",
            "interpolation": "bilinear",
            "crop_pct": "0.875",
            "crop_mode": "center",
        }


@pytest.mark.integration
def test_an_onnx_file_says_what_it_takes_and_gives(tmp_path: Path) -> None:
    import onnxruntime

    file = tmp_path / "a.onnx"
    options = ["--format", "onnx", "--batch", "1", "--img-size", "28", "--to", str(file)]
    assert main(["export", "kdna_mobilenetv2_050.fmnist", *options]) == 0
    session = onnxruntime.InferenceSession(file)
    told = session.get_modelmeta().custom_metadata_map
    config = timm.create_model("kdna_mobilenetv2_050.fmnist").pretrained_cfg
    assert json.loads(told.pop("label_names")) == list(config["label_names"])
    assert told == {
        "architecture": "kdna_mobilenetv2_050",
        "weights": "fmnist",
        "fuse": "none",
        "input_size": "[3, 28, 28]",
        "mean": "[0.286, 0.286, 0.286]",
        "std": "[0.353, 0.353, 0.353]",
        "interpolation": "bilinear",
        "crop_pct": "1.0",
        "crop_mode": "center",
    }


@pytest.mark.integration
def test_a_pt2_file_says_the_same(tmp_path: Path) -> None:
    file, told = tmp_path / "a.pt2", {"metadata.json": ""}
    published = tmp_path / "published"
    save_for_hf(timm.create_model("test_kdna_convnext"), str(published), safe_serialization=True)
    assert main(["export", f"local-dir:{published}", "--format", "pt2", "--to", str(file)]) == 0
    torch.export.load(file, extra_files=told)
    about = json.loads(told["metadata.json"])
    assert about["architecture"] == "test_kdna_convnext"
    assert json.loads(about["input_size"]) == [3, 64, 64]
