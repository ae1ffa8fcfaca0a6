"""The weights manifest, read and written."""

import json
from pathlib import Path
from typing import Any

import pytest
import timm

from kdna_zoo.errors import UserError
from kdna_zoo.models.weights import MANIFEST, known_weights, read_manifest, write_manifest

ENTRY: dict[str, Any] = {
    "repo_id": "kdna-zoo/kdna_resnet18.x",
    "revision": "0" * 40,
    "version": "v1",
    "sha256": "a" * 64,
    "size": 3,
    "config_sha256": "b" * 64,
    "arch_args": {"stem_width": 8},
    "num_classes": 2,
    "label_names": ["a", "b"],
    "data_config": {"input_size": [3, 32, 32]},
    "license": "mit",
    "dataset": "org/pets",
    "recipe": None,
    "metrics": None,
}


def manifest(folder: Path, **changes: Any) -> Path:
    path = folder / "weights.json"
    content = {"format": 1, "weights": {"kdna_resnet18.x": {**ENTRY, **changes}}}
    path.write_text(json.dumps(content))
    return path


def test_read_and_written(tmp_path: Path) -> None:
    weights = read_manifest(manifest(tmp_path))
    found = weights["kdna_resnet18.x"]
    assert found.source("kdna_resnet18.x") == {
        "hf_hub_id": f"kdna-zoo/kdna_resnet18.x@{'0' * 40}",
        "hf_hub_filename": "model.safetensors",
    }
    write_manifest(weights, tmp_path / "again.json")
    assert read_manifest(tmp_path / "again.json") == weights


def test_neither_on_the_hub_nor_here(tmp_path: Path) -> None:
    found = read_manifest(manifest(tmp_path, revision=None))["kdna_resnet18.x"]
    assert found.source("kdna_resnet18.x") == {}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"revision": "main"}, "revision should be 40 hexadecimal digits, not 'main'"),
        ({"sha256": "A" * 64}, "sha256 should be 64 hexadecimal digits"),
        ({"sha256": None}, "weights.json"),
        ({"config_sha256": "b"}, "config_sha256 should be 64 hexadecimal digits, not 'b'"),
        ({"num_classes": 3}, "3 classes and 2 names of them"),
        ({"extra": 1}, "kdna_resnet18.x lacks or has in excess: extra"),
    ],
)
def test_an_entry_that_cannot_be_right(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=r"cannot use the weights manifest .*weights\.json: .*"):
        read_manifest(manifest(tmp_path, **changes))
    with pytest.raises(UserError, match=message):
        read_manifest(manifest(tmp_path, **changes))


@pytest.mark.parametrize("content", ["", "[]", '{"format": 2}', '{"format": 1}'])
def test_no_manifest(tmp_path: Path, content: str) -> None:
    path = tmp_path / "weights.json"
    path.write_text(content)
    with pytest.raises(UserError, match="cannot use the weights manifest"):
        read_manifest(path)


def test_our_own_is_about_our_networks() -> None:
    text = MANIFEST.read_text(encoding="utf-8")
    assert read_manifest() == known_weights()
    for name, weights in known_weights().items():
        assert timm.is_model(name.partition(".")[0]), name
        assert not weights.recipe or weights.recipe.startswith("recipes/"), name
    assert json.loads(text)["format"] == 1
