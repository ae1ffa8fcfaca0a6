"""What a file for deployment says of its network: classes, and how an image becomes the input."""

import json
from collections.abc import Sequence
from typing import Any, cast

from timm.data import resolve_model_data_config
from torch import nn

from kdna_zoo.cli.classify import class_names

KEYS = ("mean", "std", "interpolation", "crop_pct", "crop_mode")


def describe_network(model: nn.Module, size: Sequence[int], trained: bool) -> dict[str, str]:
    """Return text by key: lists and numbers as JSON.

    Args:
        model: A network of timm.
        size: Channels, height and width of its input.
        trained: Whether its weights are; the classes of random ones have no names.
    """
    config = cast("dict[str, Any]", model.pretrained_cfg)
    resolved: dict[str, Any] = resolve_model_data_config(model)  # type: ignore[no-untyped-call]
    told: dict[str, Any] = {"input_size": list(size), **{key: resolved[key] for key in KEYS}}
    if trained and (config.get("label_names") or config["num_classes"] == 1000):
        told["label_names"] = class_names(model)
    tag = str(config.get("tag") or "") if trained else ""
    return {
        "architecture": str(config["architecture"]),
        "weights": tag or ("trained" if trained else "random"),
        **{key: v if isinstance(v, str) else json.dumps(v) for key, v in told.items()},
    }
