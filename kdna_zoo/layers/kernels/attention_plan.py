"""How a call of the channel attention runs by kernels: read off the layer and its input.

What decides it is looked up each time, as parts may be replaced, frozen, hooked or moved between
two calls; what follows from it is worked out once for each set of sizes and types.

Shapes: N batch, L positions, I input channels, R hidden channels.
"""

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from kdna_zoo.layers.kernels.choice import has_hooks, is_ordinary
from kdna_zoo.layers.kernels.launching import Compiled, aligned, blocks, remember, sums_of

if TYPE_CHECKING:
    from kdna_zoo.layers.channel_attention import ChannelAttention

TILE_L, TILE_I = 32, 64  # positions and channels at a time
STEPS = 4  # such tiles that one program scales
HIDDEN = 32  # hidden channels, and rows, at a time
DTYPES = {torch.float32, torch.bfloat16, torch.float16, torch.float64}
NORMS: dict[type[nn.Module], int] = {nn.Identity: 0, nn.BatchNorm2d: 1, nn.GroupNorm: 2}


class Plan(NamedTuple):
    """What one call of the attention does, beside its tensors.

    Attributes:
        N: Batch.
        L: Positions.
        I: Input channels.
        strides: Of the input, as (N, L, I).
        R: Hidden channels.
        norm: 0 none, 1 a batch norm, 2 a layer norm.
        updates: Whether a batch norm takes the batch's statistics, and moves the running ones.
        eps: Of the norm.
        momentum: Of the running statistics.
        dtype: Of the result.
        autocast: Autocast's type, if it is on.
        sums: The type of sums.
        acc: The same, as Triton names it.
        keep: Whether there will be a backward pass.
        forward: The compiled kernels of the forward pass.
        backward: Those of the backward pass, for each type of the result's gradient.
    """

    N: int
    L: int
    I: int
    strides: tuple[int, int, int]
    R: int
    norm: int
    updates: bool
    eps: float
    momentum: float
    dtype: torch.dtype
    autocast: torch.dtype | None
    sums: torch.dtype
    acc: Any
    keep: bool
    forward: Compiled
    backward: dict[torch.dtype, Compiled]

    @property
    def grid(self) -> tuple[int, int, int]:
        """Programs that each have some channels of an image."""
        return self.N, blocks(self.I, TILE_I), 1

    @property
    def scale_grid(self) -> tuple[int, int, int]:
        """Programs that each have some channels and positions of an image."""
        return self.N, blocks(self.I, TILE_I), blocks(self.L, TILE_L * STEPS)

    @property
    def norm_backward_grid(self) -> tuple[int, int, int]:
        """Programs with hidden channels, with input channels, and with an image of a layer norm."""
        rows = self.N if self.norm == 2 else 0
        return blocks(self.R, HIDDEN) + blocks(self.I, HIDDEN) + rows, 1, 1

    def backward_for(self, grad: Tensor) -> Compiled:
        """Return the compiled kernels of the backward pass."""
        return self.backward.setdefault(grad.dtype, {}) if aligned(grad) else {}


Parameters = tuple[Tensor, Tensor | None, Tensor | None, Tensor, Tensor]


def read(attention: "ChannelAttention", x: Tensor) -> tuple[Plan, Parameters] | None:
    """Return how an attention runs, and the parameters of FC1, its norm and FC2.

    None if a part of it is not the usual one, or the input is in none of the usual layouts.
    """
    fc1, act, fc2 = attention.fc1, attention.act, attention.fc2
    norm: Any = attention.norm
    kind = NORMS.get(type(norm), -1)
    if type(fc1) is not nn.Linear or type(fc2) is not nn.Linear or type(act) is not nn.ReLU:
        return None
    if kind < 0 or has_hooks(fc1) or has_hooks(norm) or has_hooks(act) or has_hooks(fc2):
        return None
    layout = _layout(x, attention.channel_dim)
    if layout is None:
        return None
    w1, w2, b2 = fc1.weight, fc2.weight, fc2.bias
    gamma = beta = mean = None
    updates, momentum, eps = False, 0.0, 0.0
    tensors = [w1, w2, b2]
    if kind:
        gamma, beta, eps = norm.weight, norm.bias, norm.eps
        tensors += [gamma, beta]
        if kind == 1:
            mean, momentum, updates = norm.running_mean, norm.momentum, norm.training
            if mean is None or momentum is None or norm.num_batches_tracked is None:
                return None
            tensors += [mean, norm.running_var]
        elif norm.num_groups != 1:
            return None
        if fc1.bias is not None:
            return None
    elif fc1.bias is not None:
        tensors.append(fc1.bias)
    dtype, device = w1.dtype, x.device
    for t in tensors:
        if not (is_ordinary(t) and t.dtype == dtype and t.device == device and t.is_contiguous()):
            return None
    autocast = None
    if torch.is_autocast_enabled(device.type):
        autocast = torch.get_autocast_dtype(device.type)
    keep = torch.is_grad_enabled() and (x.requires_grad or any(t.requires_grad for t in tensors))
    fits = aligned(x, *tensors)
    form = (kind, updates, fc1.bias is None, keep, eps, momentum)
    key = (layout, x.dtype, dtype, autocast, form, len(w1), device)
    plan = _plans.get(key) if fits else None
    if plan is None:
        if x.dtype != dtype if autocast is None else torch.float64 in (x.dtype, dtype):
            return None
        if not {x.dtype, dtype} <= DTYPES:
            return None
        sums, acc = sums_of(x)
        plan = Plan(
            *layout, len(w1), kind, updates, eps, momentum if updates else 0.0, autocast or dtype,
            autocast, sums, acc, keep, {}, {},
        )  # fmt: skip
        if fits:
            remember(_plans, key, plan)
    return plan, (w1, gamma, beta, w2, b2)


def _layout(x: Tensor, channel_dim: int) -> tuple[int, int, int, tuple[int, int, int]] | None:
    """Read a map as (N, L, I) with its strides; None if it is empty or in no usual layout."""
    if x.numel() == 0:
        return None
    N = x.shape[0]
    if channel_dim == -1:
        I = x.shape[-1]
        L = x.numel() // (N * I)
        return (N, L, I, (L * I, I, 1)) if x.is_contiguous() else None
    I, L = x.shape[1], x.shape[2] * x.shape[3]
    if x.is_contiguous(memory_format=torch.channels_last):
        return N, L, I, (L * I, I, 1)
    return (N, L, I, (L * I, 1, L)) if x.is_contiguous() else None


_plans: dict[Hashable, Plan] = {}
