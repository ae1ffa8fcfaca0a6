"""A record as training writes it, and what the tests ask of a network."""

from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn

import kdna_zoo

ARCH = "test_kdna_resnet"
LABELS = ["T-shirt/top", "Ankle boot", "Bag"]
SIZE = 32


def make_record(**changes: Any) -> dict[str, Any]:
    """The record as training writes it, with some entries changed."""
    return {
        "format": 1,
        "arch": ARCH,
        "arch_args": {},
        "num_classes": len(LABELS),
        "label_names": LABELS,
        "data_config": {
            "input_size": [3, SIZE, SIZE],
            "mean": [0.286, 0.286, 0.286],
            "std": [0.353, 0.353, 0.353],
            "interpolation": "bilinear",
            "crop_pct": 1.0,
            "crop_mode": "center",
        },
        "data": {
            "name": "Fashion-MNIST sample",
            "path": "/home/someone/pictures",
            "hub_id": None,
            "revision": None,
            "license": "mit",
            "sources": ["zalando-datasets/fashion_mnist"],
            "train": {"split": "train", "images": 6000},
            "val": {"split": "test", "images": 1000},
        },
        "metrics": {"split": "test", "images": 1000, "top1": 0.861, "top5": 0.998, "loss": 0.41},
        "run": {
            "command": "kdna-zoo fit --config recipes/quickstart.yaml",
            "recipe": "seed_everything: 0\nmodel:\n  arch: test_kdna_resnet\n",
            "seed": 0,
            "epochs": 5.0,
            "steps": 470,
            "batch_size": 64,
            "accumulate": 1,
            "git_commit": "0123456789abcdef",
            "precision": "32-true",
            "hardware": "AMD EPYC, 2 cores",
            "devices": 1,
            "versions": {
                "kdna_zoo": kdna_zoo.__version__,
                "torch": str(torch.__version__),  # a TorchVersion would not load with weights_only
                "timm": timm.__version__,
            },
            "started": "2026-11-23T01:40:00+00:00",
            "seconds": 92.1,
            "images_per_second": 326.6,
        },
        **changes,
    }


def logits(model: nn.Module) -> Tensor:
    """What the network says of a fixed batch."""
    images = torch.randn(4, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        result: Tensor = model.eval()(images)
    return result


def contents(folder: Path) -> dict[str, bytes]:
    """The files of a flat folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}
