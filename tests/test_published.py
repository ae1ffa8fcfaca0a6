"""The folders in hub/: as `kdna-zoo publish` made them, and what the manifest says."""

from pathlib import Path

import pytest

from kdna_zoo.models.fetch import file_sha256
from kdna_zoo.models.weights import FILE, read_manifest
from kdna_zoo.release.signature import is_generated

HUB = Path(__file__).parents[1] / "hub"
FOLDERS = sorted(path for path in HUB.iterdir() if path.is_dir())
MEGABYTE = 10**6


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_a_published_folder_is_as_it_was_made(folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} == {
        *("LICENSE", "README.md", "config.json", "metrics.json", "model.safetensors"),
        "recipe.yaml",
    }
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert is_generated(card), "a tool or a person changed the card"
    weights = read_manifest()[folder.name]
    assert weights.sha256 == file_sha256(folder / FILE)
    assert (folder / FILE).stat().st_size == weights.size <= 45 * MEGABYTE


def test_they_stay_small_together() -> None:
    assert FOLDERS
    assert sum((folder / FILE).stat().st_size for folder in FOLDERS) <= 120 * MEGABYTE
