"""Folding a BatchNorm that follows a linear map into its weight and bias, for inference.

    norm(W x + b) = s W x + s (b - mean) + beta      with  s = gamma / sqrt(var + eps)

Computed in double precision, so that folding adds no error of its own.
"""

import copy
from typing import TypeVar

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

LinearMap = TypeVar("LinearMap", nn.Conv2d, nn.Linear)


def fold_batch_norm(layer: LinearMap, norm: nn.Module) -> LinearMap:
    """Return a new layer equal to ``norm(layer(x))`` with the norm in eval mode.

    Args:
        layer: A convolution or linear layer; left as it is.
        norm: The BatchNorm that follows it, with running statistics.

    Raises:
        ValueError: If ``norm`` is not a BatchNorm or keeps no running statistics.
    """
    if not isinstance(norm, _BatchNorm):
        raise ValueError(f"only a BatchNorm can be folded, got {type(norm).__name__}")
    if norm.running_mean is None or norm.running_var is None:
        raise ValueError("a BatchNorm without running statistics cannot be folded")
    weight, dtype = layer.weight.detach(), layer.weight.dtype
    scale = (norm.running_var.double() + norm.eps).rsqrt()  # (O,)
    if norm.weight is not None:
        scale = scale * norm.weight.detach().double()
    bias = -norm.running_mean.double() * scale
    if layer.bias is not None:
        bias = bias + layer.bias.detach().double() * scale
    if norm.bias is not None:
        bias = bias + norm.bias.detach().double()
    folded = copy.deepcopy(layer)
    scale = scale.reshape(-1, *[1] * (weight.ndim - 1))  # (O, 1, ...)
    folded.weight = nn.Parameter((weight.double() * scale).to(dtype))
    folded.bias = nn.Parameter(bias.to(dtype))
    return folded
