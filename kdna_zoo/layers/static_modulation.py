"""Static modulation: the learned, input-independent half of a KernelDNA adapter.

Source: KernelDNA, arXiv 2503.23379. The kernel of child j is the parent's, scaled by filter and by
kernel position:

    W_j = W_p * (1 + a_f) * (1 + a_s)      a_f: (O, 1, 1, 1), a_s: (1, 1, K, K), both zero at first

a_s exists only where K > 1. Right before the child's own BatchNorm a_f cancels in the output and
changes the optimisation alone; it is part of the method, and the ablation measures it.

Departure: both are stored flat, (O,) and (K * K,). ``channels_last`` then has nothing to reorder,
and timm's rule "no weight decay for one-dimensional parameters" covers them.

Shapes: O output channels, I input channels (over groups), K kernel size.
"""

import torch
from torch import Tensor, nn


class StaticModulation(nn.Module):
    """Derive a child's kernel from its parent's.

    Args:
        shape: Shape of the parent's weight, (O, I, K, K) or (O, I).
        device: Device of the parameters.
        dtype: Type of the parameters.

    Shape:
        - Input: the parent's weight, ``shape``
        - Output: the child's weight, ``shape``
    """

    filter_attn: nn.Parameter
    spatial_attn: nn.Parameter | None

    def __init__(
        self,
        shape: torch.Size,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.spatial_shape = shape[2:]
        positions = self.spatial_shape.numel()  # 1 for a linear layer
        self.filter_attn = nn.Parameter(torch.empty(shape[0], device=device, dtype=dtype))
        if positions > 1:
            self.spatial_attn = nn.Parameter(torch.empty(positions, device=device, dtype=dtype))
        else:
            self.register_parameter("spatial_attn", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set both attentions to zero: the child starts with its parent's kernel."""
        nn.init.zeros_(self.filter_attn)
        if self.spatial_attn is not None:
            nn.init.zeros_(self.spatial_attn)

    def forward(self, weight: Tensor) -> Tensor:
        """Return W_p * (1 + a_f) * (1 + a_s)."""
        ones = [1] * (1 + len(self.spatial_shape))  # not from the weight: a trace has no ndim
        scale = (1 + self.filter_attn).view(-1, *ones)  # (O, 1, 1, 1)
        if self.spatial_attn is not None:  # (O, 1, K, K): small, so the kernel is passed over once
            scale = scale * (1 + self.spatial_attn).view(1, 1, *self.spatial_shape)
        return weight * scale

    def extra_repr(self) -> str:
        """Summarise the layer in the network's printout."""
        return f"filters={len(self.filter_attn)}, spatial={tuple(self.spatial_shape) or None}"
