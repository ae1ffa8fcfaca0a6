"""Small real data sets, a cache that is not the user's, and a Hub of our own."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import datasets
import huggingface_hub
import numpy as np
import pytest
from PIL import Image

from tests.hub.double import HubDouble


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hf")


@pytest.fixture(autouse=True)
def _private_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Holds also where HF_DATASETS_CACHE or HF_HUB_CACHE is set, which win over HF_HOME."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", cache / "datasets")
    monkeypatch.setattr(datasets.config, "DOWNLOADED_DATASETS_PATH", str(cache / "downloads"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache / "hub"))
    set_offline(monkeypatch, True)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubDouble]:
    """The Hub, answered by a server of our own."""
    with HubDouble() as double:
        monkeypatch.setattr(datasets.config, "HF_ENDPOINT", double.url)
        set_offline(monkeypatch, False)
        yield double
        huggingface_hub.close_session()  # or its connections keep the server's threads alive


def set_offline(monkeypatch: pytest.MonkeyPatch, offline: bool) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", offline)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", offline)


def picture(seed: int, size: int = 8) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def write_folder(root: Path, splits: dict[str, dict[str, int]]) -> Path:
    """Writes an image folder: split -> class -> number of images."""
    for split, classes in splits.items():
        for name, count in classes.items():
            folder = root / split / name
            folder.mkdir(parents=True)
            for index in range(count):
                picture(index).save(folder / f"{index}.{'jpg' if index % 2 else 'png'}")
    return root


def write_parquet(
    file: Path,
    labels: Sequence[Any],
    kind: Any = None,
    column: str = "label",
    images: Sequence[Any] | None = None,
    **more: tuple[Any, Sequence[Any]],
) -> Path:
    """Writes one image a label as parquet; `more` columns are (type, values)."""
    kind = kind or datasets.ClassLabel(names=["cat", "dog"])
    columns = {column: (kind, labels), **more}
    features = {name: feature for name, (feature, _) in columns.items()}
    rows = {name: list(values) for name, (_, values) in columns.items()}
    file.parent.mkdir(parents=True, exist_ok=True)
    pictures = images or [picture(i) for i in range(len(labels))]
    datasets.Dataset.from_dict(
        {"image": pictures, **rows},
        features=datasets.Features({"image": datasets.Image(), **features}),
    ).to_parquet(file)
    return file
