"""Child linear layer: `ChildConv2d` of kernel size 1, for networks that keep channels last.

    y = (x * g_j(x)) W_j^T + b_j,      W_j = W_p * (1 + a_f)

ConvNeXt's 1x1 convolutions are linear layers on (N, H, W, I). The attention pools over the middle
dimensions, so that nothing is permuted or copied. The paper has no linear layers: the equations
are those of its 1x1 convolutions (arXiv 2503.23379).

Shapes: N batch, I input channels, O output channels, ... any sizes.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdna_zoo.layers.channel_attention import NormName
from kdna_zoo.layers.child import AdapterName, Child


class ChildLinear(Child[nn.Linear]):
    """Linear layer with a weight derived from ``parent``'s and an attention on its inputs.

    Args:
        parent: The linear layer that owns the weight, (O, I).
        bias: Whether the child has a bias (always its own, never the parent's).
        reduction: Bottleneck ratio r of the channel attention.
        norm: Norm inside the channel attention, ``"batch"`` (published) or ``"layer"``.
        adapter: ``"full"`` (published), ``"channel"``, ``"static"`` or ``"none"``, see `Child`.
        device: Device of the adapter's parameters; the parent's if not given.
        dtype: Type of the adapter's parameters; the parent's if not given.

    Shape:
        - Input: (N, ..., I)
        - Output: (N, ..., O)
    """

    def __init__(
        self,
        parent: nn.Linear,
        *,
        bias: bool = True,
        reduction: int = 4,
        norm: NormName = "batch",
        adapter: AdapterName = "full",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        channels = parent.in_features
        super().__init__(parent, channels, -1, bias, reduction, norm, adapter, device, dtype)
        self.in_features, self.out_features = parent.in_features, parent.out_features

    @classmethod
    def from_linear(
        cls,
        linear: nn.Linear,
        parent: nn.Linear | None,
        *,
        reduction: int = 4,
        norm: NormName = "batch",
        adapter: AdapterName = "full",
    ) -> "ChildLinear":
        """Make the child that takes the place of ``linear``, with its bias.

        Without a parent it keeps the weight of ``linear`` as its own.

        Raises:
            ValueError: If the two weights differ in shape.
        """
        if parent is not None and linear.weight.shape != parent.weight.shape:
            raise ValueError(
                f"a child needs its parent's shape: child {tuple(linear.weight.shape)}, "
                f"parent {tuple(parent.weight.shape)}"
            )
        child = cls(
            parent or linear,
            bias=linear.bias is not None,
            reduction=reduction,
            norm=norm,
            adapter=adapter,
        )
        child._take_over(linear, own_kernel=parent is None)
        return child

    def forward(self, x: Tensor) -> Tensor:
        """Return (x * g(x)) W_j^T + b_j."""
        return F.linear(self.channel_attn(x), self._kernel_now(), self.bias)

    def _ordinary(self, bias: bool) -> nn.Linear:
        return nn.Linear(self.in_features, self.out_features, bias=bias, device="meta")

    def extra_repr(self) -> str:
        """Summarise the layer in the network's printout."""
        text = f"{self.in_features}, {self.out_features}, bias={self.bias is not None}"
        return f"{text}, own kernel" if self.owns_kernel else text
