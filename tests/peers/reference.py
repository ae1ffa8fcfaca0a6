"""The dynamic convolutions as plain loops: slow, and too simple to be wrong.

Where a method works out attentions, `hidden` and `linear` write the sums out; each sample is then
convolved by itself with the kernel that its loops put together.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from kdna_zoo.peers import DynamicConv2d
from tests.layers.reference import conv2d

Vector = list[float]


def pooled(x: Tensor) -> Vector:
    """The mean of each channel of one sample (I, H, W)."""
    return [sum(float(v) for v in channel.flatten()) / channel.numel() for channel in x]


def linear(layer: nn.Linear, x: Vector) -> Vector:
    """W x + b."""
    y = [sum(w * v for w, v in zip(row, x, strict=True)) for row in layer.weight.tolist()]
    return y if layer.bias is None else [v + b for v, b in zip(y, layer.bias.tolist(), strict=True)]


def batch_norm(norm: nn.BatchNorm2d, x: Vector) -> Vector:
    """A batch norm with its running statistics."""
    return [
        (v - float(m)) / math.sqrt(float(s) + norm.eps) * float(g) + float(b)
        for v, m, s, g, b in zip(
            x, norm.running_mean, norm.running_var, norm.weight, norm.bias, strict=True
        )
    ]


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def softmax(x: Vector) -> Vector:
    total = sum(math.exp(v) for v in x)
    return [math.exp(v) / total for v in x]


def mixture(shares: Vector, kernels: Tensor) -> Tensor:
    """sum_k a_k W_k, element by element; kernels (K, ...)."""
    mixed = torch.zeros_like(kernels[0]).flatten()
    for share, kernel in zip(shares, kernels, strict=True):
        for i, value in enumerate(kernel.flatten()):
            mixed[i] += share * float(value)
    return mixed.view_as(kernels[0])


def convolve(layer: DynamicConv2d, x: Tensor, kernel: Tensor) -> Tensor:
    """One sample (I, H, W) with its kernel, without bias."""
    _, (stride, _), (padding, _), (dilation, _), groups = layer.geometry
    return conv2d(x[None], kernel, None, stride, padding, dilation, groups)[0]


def each_sample(layer: DynamicConv2d, x: Tensor, kernel_of: Callable[[Tensor], Tensor]) -> Tensor:
    """Convolve each sample of x (N, I, H, W) with the kernel that `kernel_of` makes for it."""
    y = torch.stack([convolve(layer, sample, kernel_of(sample)) for sample in x])
    return y if layer.bias is None else y + layer.bias.detach()[:, None, None]
