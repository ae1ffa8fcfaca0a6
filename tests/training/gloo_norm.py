"""Synchronised batch norms by the definition, on processors, which torch's do not run on."""

from types import MethodType
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce
from torch.nn.modules.batchnorm import _BatchNorm

from kdna_zoo.training.sync_norm import SyncNorms


class GlooNorms(SyncNorms):
    """Give each batch norm, for the time of a run, the statistics of the whole batch."""

    def apply(self, model: nn.Module) -> nn.Module:
        self.norms: list[Any] = [m for m in model.modules() if isinstance(m, _BatchNorm)]
        for norm in self.norms:
            norm.plain_forward = norm.forward
            norm.forward = MethodType(synchronised, norm)
        return model

    def revert(self, model: nn.Module) -> nn.Module:
        for norm in self.norms:
            del norm.forward, norm.plain_forward
        return model


def synchronised(norm: Any, x: Tensor) -> Tensor:
    """Normalise x (N, C, H, W) by mean and variance over N, H, W of all processes."""
    if not norm.training:
        return norm.plain_forward(x)  # type: ignore[no-any-return]
    count = x.numel() // x.shape[1] * dist.get_world_size()
    total: Any = all_reduce  # not annotated in torch
    mean = total(x.sum((0, 2, 3), keepdim=True)) / count
    variance = total((x - mean).square().sum((0, 2, 3), keepdim=True)) / count
    with torch.no_grad():
        norm.num_batches_tracked += 1
        unbiased = variance * count / (count - 1)
        norm.running_mean.lerp_(mean.flatten(), norm.momentum)
        norm.running_var.lerp_(unbiased.flatten(), norm.momentum)
    y: Tensor = (x - mean) * torch.rsqrt(variance + norm.eps)
    y = y * norm.weight[:, None, None] + norm.bias[:, None, None]
    if hasattr(norm, "act"):  # timm's norm with its activation
        y = norm.act(norm.drop(y))
    return y
