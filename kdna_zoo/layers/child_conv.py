"""Child convolution: an ordinary convolution whose kernel comes from a shared parent.

Source: KernelDNA, arXiv 2503.23379:

    y = conv(x * g_j(x), W_p * (1 + a_f) * (1 + a_s))      with the child's own stride and padding

Training runs a 1x1 child by `gated_pointwise`, the same sums with less memory traffic, where the
attention is not computed by kernels.

Shapes: N batch, I input channels, O output channels, K kernel size, H W.
"""

from typing import Any, Literal

import torch
import torch.fx
import torch.nn.functional as F
from torch import Tensor, nn

from kdna_zoo.layers.channel_attention import ChannelAttention, NormName
from kdna_zoo.layers.child import AdapterName, Child
from kdna_zoo.layers.kernels import attend
from kdna_zoo.layers.pointwise import gated_pointwise

torch.fx.wrap("gated_pointwise")  # a step of its own in a trace, whose shapes are not known

PaddingMode = Literal["zeros", "reflect", "replicate", "circular"]


class ChildConv2d(Child[nn.Conv2d]):
    """Convolution with a kernel derived from ``parent``'s and an attention on its input channels.

    Args:
        parent: The convolution that owns the kernel, weight (O, I / groups, K, K).
        stride: The child's own stride, in pixels.
        padding: The child's own padding in pixels, or ``"same"`` / ``"valid"``.
        dilation: The child's own dilation.
        groups: The parent's groups; the input has ``parent.weight.shape[1] * groups`` channels.
        bias: Whether the child has a bias (always its own, never the parent's).
        padding_mode: As in ``torch.nn.Conv2d``.
        reduction: Bottleneck ratio r of the channel attention.
        norm: Norm inside the channel attention, ``"batch"`` (published) or ``"layer"``.
        adapter: ``"full"`` (published), ``"channel"``, ``"static"`` or ``"none"``, see `Child`.
        device: Device of the adapter's parameters; the parent's if not given.
        dtype: Type of the adapter's parameters; the parent's if not given.

    Shape:
        - Input: (N, I, H, W)
        - Output: (N, O, H', W') as ``torch.nn.Conv2d`` with the same arguments

    Raises:
        ValueError: As `Child`, and if the parent has another number of groups.
    """

    def __init__(
        self,
        parent: nn.Conv2d,
        *,
        stride: int | tuple[int, ...] = 1,
        padding: str | int | tuple[int, ...] = 0,
        dilation: int | tuple[int, ...] = 1,
        groups: int = 1,
        bias: bool = False,
        padding_mode: PaddingMode = "zeros",
        reduction: int = 4,
        norm: NormName = "batch",
        adapter: AdapterName = "full",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        if groups != parent.groups:
            raise ValueError(
                f"a child needs its parent's groups: child {groups}, parent {parent.groups}"
            )
        weight = parent.weight
        in_channels = weight.shape[1] * groups
        super().__init__(parent, in_channels, 1, bias, reduction, norm, adapter, device, dtype)
        self._geometry: dict[str, Any] = {
            "kernel_size": tuple(weight.shape[2:]),
            "stride": stride,
            "padding": padding,
            "dilation": dilation,
            "groups": groups,
            "padding_mode": padding_mode,
        }
        # A convolution without memory checks these and works them out exactly as torch does.
        self.in_channels, self.out_channels = in_channels, weight.shape[0]
        conv = self._ordinary(bias)
        self.kernel_size, self.stride, self.padding = conv.kernel_size, conv.stride, conv.padding
        self.dilation, self.groups, self.padding_mode = conv.dilation, groups, padding_mode
        self._border = list(conv._reversed_padding_repeated_twice)  # as F.pad takes it
        unmoved = conv.kernel_size == conv.stride == (1, 1) and not any(self._border)
        self._is_pointwise = unmoved and groups == 1

    @classmethod
    def from_conv(
        cls,
        conv: nn.Conv2d,
        parent: nn.Conv2d | None,
        *,
        reduction: int = 4,
        norm: NormName = "batch",
        adapter: AdapterName = "full",
    ) -> "ChildConv2d":
        """Make the child that takes the place of ``conv``, with its geometry and its bias.

        Without a parent it keeps the kernel of ``conv`` as its own.

        Raises:
            ValueError: If the two kernels differ in shape or groups.
        """
        if parent is not None and conv.weight.shape != parent.weight.shape:
            raise ValueError(
                f"a child needs its parent's kernel shape: child {tuple(conv.weight.shape)}, "
                f"parent {tuple(parent.weight.shape)}"
            )
        child = cls(
            parent or conv,
            stride=conv.stride,
            padding=conv.padding,
            dilation=conv.dilation,
            groups=conv.groups,
            padding_mode=conv.padding_mode,
            reduction=reduction,
            norm=norm,
            adapter=adapter,
        )
        child._take_over(conv, own_kernel=parent is None)
        return child

    def forward(self, x: Tensor) -> Tensor:
        """Return conv(x * g(x), W_j)."""
        attention = self.channel_attn
        if self.training and self._is_pointwise and isinstance(attention, ChannelAttention):
            y = attend(attention, x)
            if y is None:
                gate = attention.gate(x.mean(dim=(2, 3)))
                return gated_pointwise(x, gate, self.child_kernel(), self.bias)
            x = y
        else:
            x = attention(x)
        padding: str | int | tuple[int, ...] = self.padding
        if self.padding_mode != "zeros":
            x = F.pad(x, self._border, mode=self.padding_mode)
            padding = 0
        return F.conv2d(
            x, self._kernel_now(), self.bias, self.stride, padding, self.dilation, self.groups
        )

    def _ordinary(self, bias: bool) -> nn.Conv2d:
        channels = self.in_channels, self.out_channels
        return nn.Conv2d(*channels, bias=bias, device="meta", **self._geometry)

    def extra_repr(self) -> str:
        """Summarise the layer in the network's printout."""
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={tuple(self.kernel_size)}"
        text += f", stride={tuple(self.stride)}, padding={self.padding}"
        if any(d != 1 for d in self.dilation):
            text += f", dilation={tuple(self.dilation)}"
        if self.groups != 1:
            text += f", groups={self.groups}"
        if self.bias is None:
            text += ", bias=False"
        if self.padding_mode != "zeros":
            text += f", padding_mode={self.padding_mode}"
        if self.owns_kernel:
            text += ", own kernel"
        return text
