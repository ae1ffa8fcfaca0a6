"""Folding a BatchNorm that follows a linear map into its weight and bias, for inference.

    norm(W x + b) = s W x + s (b - mean) + beta      with  s = gamma / sqrt(var + eps)

Computed by `torch.nn.utils.fusion`, in double precision, so that folding adds no error of its own.
Its function for convolutions takes linear layers too, and the one for these needs gamma and beta.
"""

import copy
from typing import TypeVar

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_weights

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
    weight, bias = fuse_conv_bn_weights(
        layer.weight.detach().double(),
        _exact(layer.bias),
        norm.running_mean.double(),
        norm.running_var.double(),
        norm.eps,
        _exact(norm.weight),
        _exact(norm.bias),
    )
    folded, dtype = copy.deepcopy(layer), layer.weight.dtype
    folded.weight, folded.bias = nn.Parameter(weight.to(dtype)), nn.Parameter(bias.to(dtype))
    return folded


def _exact(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.detach().double()
