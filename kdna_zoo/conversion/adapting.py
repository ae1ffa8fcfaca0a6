"""Writing a fit into the network: the shared kernels, and what each child's adapter is at rest.

    1 + a_f = f c        1 + a_s = s        g = sigmoid(FC2's bias) / c, FC2's weight zero

A gate lies between 0 and 1 and a fitted factor need not, so its scale c goes into the filters, or,
where a plan has no factors for filters, into the batch norm behind, which undoes any scale.
"""

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from kdna_zoo.conversion.factors import Member
from kdna_zoo.layers import ChannelAttention, Child, StaticModulation
from kdna_zoo.sharing.fitting import Layer

CEILING = 0.9  # of the gates at rest: near 1 a sigmoid hardly moves any more
LEAST = 1e-3  # a filter's factor in a batch norm is no smaller, since its mean is divided by it


@torch.no_grad()
def set_adapter(
    child: Child[nn.Conv2d] | Child[nn.Linear], fit: Member, norm: nn.Module | None
) -> None:
    """Give a child's adapter, and the norm behind it, what was fitted.

    Args:
        child: The child.
        fit: Its factors.
        norm: The batch norm that alone reads the child, if there is one.
    """
    filters, gate = fit.f.flatten(), fit.g.flatten()  # (O,), (I,)
    attention, modulation = child.channel_attn, child.modulation
    if isinstance(attention, ChannelAttention):
        scale = float(gate.max()) / CEILING
        if isinstance(modulation, nn.Identity) and not can_absorb(norm):
            scale = max(scale, 1.0) if scale > 1 else 1.0
        attention.fc2.weight.zero_()
        rest = (gate / scale).clamp(1e-6, 1 - 1e-3)
        attention.fc2.bias.copy_(torch.logit(rest).to(attention.fc2.bias))
        filters = filters * scale
    if isinstance(modulation, StaticModulation):
        modulation.filter_attn.copy_(filters.to(modulation.filter_attn) - 1)
        if modulation.spatial_attn is not None:
            modulation.spatial_attn.copy_(fit.s.to(modulation.spatial_attn) - 1)
    elif can_absorb(norm):
        absorb(norm, filters)


def can_absorb(norm: nn.Module | None) -> bool:
    """Tell whether a norm behind a layer can take up a scale of each filter."""
    return (
        isinstance(norm, _BatchNorm) and norm.weight is not None and norm.running_mean is not None
    )


@torch.no_grad()
def absorb(norm: nn.Module | None, filters: Tensor) -> None:
    """Multiply what a batch norm reads by a factor for each filter, as the layer no longer does."""
    assert isinstance(norm, _BatchNorm)
    assert norm.running_mean is not None
    factor = filters.sign() * filters.abs().clamp_min(LEAST)
    factor = torch.where(factor == 0, torch.full_like(factor, LEAST), factor)
    norm.running_mean.div_(factor.to(norm.running_mean))
    norm.weight.mul_(factor.to(norm.weight))


@torch.no_grad()
def set_kernel(layer: Layer, kernel: Tensor) -> None:
    """Give a parent its kernel, (G, O, D)."""
    layer.weight.copy_(kernel.reshape(layer.weight.shape).to(layer.weight))


@torch.no_grad()
def take_up(
    bias: nn.Parameter | None, norm: nn.Module | None, fit: Member, kernel: Tensor, mean: Tensor
) -> None:
    """Let a bias or a batch norm take up what a kernel changes of the output's mean and variance.

    Args:
        bias: The layer's own, if it has one.
        norm: The batch norm that alone reads the layer, if there is one.
        fit: What the layer was, and sees.
        kernel: The kernel that it gets, (G, O, D).
        mean: Mean of what it sees, (G, D).
    """
    lost = ((fit.kernel - kernel) * mean[:, None]).sum(-1).flatten()  # (O,)
    if bias is not None:
        bias.add_(lost.to(bias))
    elif isinstance(norm, _BatchNorm) and norm.running_mean is not None:
        assert norm.running_var is not None
        energy = (kernel * fit.times(kernel)).sum(-1).clamp_min(0).flatten()
        ratio = (energy / fit.energy().flatten().clamp_min(1e-20)).clamp(1e-4, 1e4)
        norm.running_mean.sub_(lost.to(norm.running_mean))
        norm.running_var.mul_(ratio.to(norm.running_var))
