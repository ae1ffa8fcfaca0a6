"""Layers to compare with their references, in every geometry."""

from typing import TypeVar

import pytest
import torch
from torch import Tensor, nn

Layer = TypeVar("Layer", bound=nn.Module)

GEOMETRIES = {
    "3x3": dict(kernel_size=3, padding=1),
    "3x3 stride 2": dict(kernel_size=3, padding=1, stride=2),
    "3x3 dilated, bias": dict(kernel_size=3, padding=2, dilation=2, bias=True),
    "1x1": dict(kernel_size=1),
    "1x1 stride 2, bias": dict(kernel_size=1, stride=2, bias=True),
    "groups": dict(kernel_size=3, padding=1, groups=2),
    "depthwise": dict(kernel_size=3, padding=1, groups=4),
}

each_geometry = pytest.mark.parametrize(
    "geometry", [{"bias": False, **g} for g in GEOMETRIES.values()], ids=list(GEOMETRIES)
)


def conv(geometry: dict[str, int], channels: int = 4) -> nn.Conv2d:
    """A convolution of a geometry; as many channels out as in if depthwise, else 6."""
    torch.manual_seed(0)
    depthwise = geometry.get("groups") == channels
    return nn.Conv2d(channels, channels if depthwise else 6, dtype=torch.float64, **geometry)


def moved(layer: Layer) -> Layer:
    """The layer in double precision and eval mode, no vector of it where it started."""
    layer = layer.double().eval()
    for key, tensor in layer.state_dict().items():
        if tensor.ndim == 1 and tensor.is_floating_point():
            offset = 0.5 if key.endswith("running_var") else 0.1
            tensor.add_(torch.linspace(offset, offset + 0.3, len(tensor), dtype=torch.float64))
    return layer


def images(count: int = 3, channels: int = 4, size: int = 5) -> Tensor:
    torch.manual_seed(1)
    return torch.randn(count, channels, size, size, dtype=torch.float64)


def assert_same(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
