"""An image that a network takes, to trace it with where no images are given."""

from typing import Any

import torch
from torch import Tensor, nn

SIZES = (224, 64, 32, 256, 299)  # pixels, in the order in which they are tried


def sample_for(model: nn.Module) -> Tensor:
    """Return an image of random numbers, (1, C, H, W).

    Args:
        model: The network; its configuration says the size if it is one of timm's.
    """
    config: Any = getattr(model, "pretrained_cfg", None) or {}
    channels = next((m.in_channels for m in model.modules() if isinstance(m, nn.Conv2d)), 3)
    stated = config.get("input_size")
    sizes = [tuple(stated[1:])] if stated else []
    parameter = next(model.parameters())
    generator = torch.Generator().manual_seed(0)
    for height, width in [*sizes, *((size, size) for size in SIZES)]:
        image = torch.randn(1, channels, height, width, generator=generator).to(parameter)
        try:
            model(image)
        except (AssertionError, RuntimeError, ValueError):
            continue
        return image
    return image  # no size fits: the trace will say what the network wants
