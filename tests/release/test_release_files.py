"""What the publisher's choices make of the files: half precision, licence, measured figures."""

import hashlib
import json
from pathlib import Path

import timm
import torch
from safetensors.torch import load_file

from kdna_zoo.records.record import Measured, Metrics, Throughput
from kdna_zoo.release.checkpoint import TrainedModel
from kdna_zoo.release.folder import write_folder
from kdna_zoo.release.options import Release

from .support import ARCH, logits
from .test_folder import config_of, published, trained_as

__all__ = ["published"]  # a fixture


def test_half_precision(tmp_path: Path) -> None:
    trained = trained_as(ARCH)
    folder = write_folder(trained, tmp_path / "x", about=Release(half=True))
    whole = write_folder(trained, tmp_path / "y")
    weights = load_file(folder / "model.safetensors")
    kinds = {tensor.dtype for tensor in weights.values()}
    assert kinds == {torch.float16, torch.int64}, "int64 counts the batches of a batch norm"
    reloaded = timm.create_model(f"local-dir:{folder}", pretrained=True)
    assert {p.dtype for p in reloaded.parameters()} == {torch.float32}
    difference = (logits(reloaded) - logits(trained.model)).abs().max()
    assert 0 < difference < 1e-2
    size, full = ((f / "model.safetensors").stat().st_size for f in (folder, whole))
    assert size < 0.6 * full
    assert "rounded to half precision" in (folder / "README.md").read_text()
    assert json.loads((folder / "metrics.json").read_text())["precision"] == "float16"
    assert {p.dtype for p in trained.model.parameters()} == {torch.float32}, "left as it was"


def test_config_states_the_file_of_weights(published: Path) -> None:
    stated = config_of(published)["weights"]
    content = (published / "model.safetensors").read_bytes()
    assert stated == {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}


def test_licence_lies_beside_the_weights(published: Path, tmp_path: Path) -> None:
    text = (published / "LICENSE").read_text()
    assert "under the licence apache-2.0" in text
    assert "trained on Fashion-MNIST sample, whose licence is mit" in text
    assert "Apache License" in text
    folder = write_folder(trained_as(ARCH), tmp_path / "x", about=Release(license="cc-by-4.0"))
    assert "Apache License" not in (folder / "LICENSE").read_text()


def test_measured_figures_take_the_place_of_the_trainings(
    trained: TrainedModel, tmp_path: Path
) -> None:
    speed = Throughput(1234.5, 16, "as loaded, not fused", "a CPU")
    measured = Measured(Metrics("test", 500, 0.75, None, 0.9), speed, "a CPU")
    seen: list[list[str]] = []

    def measure(folder: Path) -> Measured:
        seen.append(sorted(path.name for path in folder.iterdir()))
        return measured

    folder = write_folder(trained, tmp_path / "x", measure=measure)
    assert seen == [["config.json", "model.safetensors"]], "what timm loads is there"
    card = (folder / "README.md").read_text()
    assert "| 75.00 % | Fashion-MNIST sample | test | 500 | 0 |" in card
    assert "Throughput: 1,234 images a second, as loaded, not fused, batches of 16" in card
    figures = json.loads((folder / "metrics.json").read_text())
    assert figures["metrics"]["top1"] == 0.75
    assert figures["throughput"]["images_per_second"] == 1234.5
