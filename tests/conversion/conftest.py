"""A network that is trained within the tests, in a few seconds, and images to convert it with."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import timm
import torch
import torch.nn.functional as F
from PIL import Image
from timm.models import save_for_hf
from torch import Tensor, nn

import kdna_zoo

SAMPLE = Path(kdna_zoo.__file__).parent / "data/fashion_mnist_sample"
SMALL: dict[str, Any] = {
    "layers": (1, 1, 3, 3),
    "channels": (8, 8, 16, 16),
    "stem_width": 8,
    "in_chans": 1,
    "num_classes": 10,
}
Batches = list[tuple[Tensor, Tensor]]


def read(split: str, count: int) -> Batches:
    rows = pq.read_table(SAMPLE / f"{split}.parquet").slice(0, count).to_pydict()
    pictures = [Image.open(io.BytesIO(row["bytes"])).convert("L") for row in rows["image"]]
    images = torch.stack([torch.from_numpy(np.array(picture)) for picture in pictures])[:, None]
    images = (images.float() / 255 - 0.286) / 0.353
    labels = torch.tensor(rows["label"])
    return [(images[i : i + 50], labels[i : i + 50]) for i in range(0, count, 50)]


@pytest.fixture(scope="session")
def images() -> Batches:
    """Training images to calibrate with."""
    return read("train", 600)


@pytest.fixture(scope="session")
def held_out() -> Batches:
    return read("test", 500)


@pytest.fixture(scope="session")
def trained() -> nn.Module:
    """A small ResNet of basic blocks, trained for three epochs."""
    batches = read("train", 6000)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model: nn.Module = timm.create_model("resnet18", **SMALL)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True)
        steps = 3 * len(batches)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=steps)
        for _ in range(3):
            for i in torch.randperm(len(batches)).tolist():
                x, y = batches[i]
                loss = F.cross_entropy(model.train()(x), y)
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                schedule.step()
    model.zero_grad()
    return model.eval()


@pytest.fixture(scope="session")
def folder(trained: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trained network as timm's ``local-dir:`` has it."""
    place = tmp_path_factory.mktemp("trained")
    own: Any = trained.pretrained_cfg
    labels = [f"garment {i}" for i in range(10)]
    config = {
        **dict(input_size=(1, 28, 28), mean=(0.286,), std=(0.353,), crop_pct=1.0),
        **dict(interpolation="bilinear", crop_mode="center", license="mit", tag="small"),
    }
    save_for_hf(
        trained,
        str(place),
        model_config={
            "label_names": labels,
            "pretrained_cfg": own | config,
        },
        safe_serialization=True,
    )
    return place
