"""ODConv: attention over input channels, filters, kernel positions and K kernels.

Source: Li, Zhou and Yao, Omni-Dimensional Dynamic Convolution, ICLR 2022. From one squeezed vector
h = ReLU(BN(FC(GAP(x)))) come four attentions, all logits divided by a temperature T:

    c = sigmoid (N, I)    f = sigmoid (N, O)    s = sigmoid (N, K K)    a = softmax (N, kernels)
    y = f * conv(c * x, s * sum_k a_k W_k)

Left out are f for depthwise convolutions, s for 1x1 and a for one kernel. T falls from 30 to 1 over
the first ten epochs.

The same sums are taken in the order that costs least. c and f scale whichever is smaller, map or
kernel. Where the map has few pixels no sample needs a kernel of its own: s scales the columns of
the unfolded input, all samples share one matrix product, and a mixes the outputs. A single 1x1
kernel is an ordinary convolution. All other cases have a kernel for each sample (per_sample.py), so
that a network of these exports to ONNX for one batch size alone.

Shapes: N batch, I input channels (over groups), O output channels, P kernel positions, H W.
"""

import math

import torch
import torch.fx
import torch.nn.functional as F
from torch import Tensor, nn

from kdna_zoo.layers.pointwise import gated_pointwise
from kdna_zoo.peers.dynamic import Annealed, DynamicConv2d, Squeeze
from kdna_zoo.peers.per_sample import (
    Geometry,
    conv2d_mixed,
    conv2d_per_sample,
    has_few_pixels,
    mixes_outputs,
)

torch.fx.wrap("omni_conv2d")  # a step of its own in a trace, whose shapes are not known


class ODConv2d(DynamicConv2d, Annealed):
    """Omni-dimensional dynamic convolution, in the place of ``conv``.

    Args:
        conv: The convolution to replace.
        kernels: Number of kernels. Published: 1 and 4.
    """

    start, end, anneal_epochs = 30.0, 1.0, 10.0

    def __init__(self, conv: nn.Conv2d, kernels: int = 1) -> None:
        super().__init__(conv)
        depthwise = self.geometry.groups == self.in_channels == self.out_channels
        positions = math.prod(self.geometry.shape[2:])
        self.sizes = (
            self.in_channels,
            0 if depthwise else self.out_channels,
            positions if positions > 1 else 0,
            kernels if kernels > 1 else 0,
        )
        hidden = max(self.in_channels // 16, 16)
        self.squeeze = Squeeze(self.in_channels, hidden, norm=True)
        self.heads = nn.Linear(hidden, sum(self.sizes))
        self.weight = nn.Parameter(torch.empty(kernels, math.prod(self.geometry.shape)))
        self._start()

    def _start(self) -> None:
        """Start each kernel and each head by itself, as published: normal, by the fan-out."""
        kernels = [kernel.view(self.geometry.shape) for kernel in self.weight.data]
        heads = torch.split(self.heads.weight.data, list(self.sizes))
        for weight in (*kernels, self.squeeze.fc.weight, *heads):
            if len(weight):
                nn.init.kaiming_normal_(weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(self.heads.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return f * conv(c * x, s * sum_k a_k W_k)."""
        logits = self.heads(self.squeeze(x)) / self.annealed
        return omni_conv2d(x, logits, self.sizes, self.weight, self.bias, self.geometry)


def omni_conv2d(
    x: Tensor,
    logits: Tensor,
    sizes: tuple[int, ...],
    weight: Tensor,
    bias: Tensor | None,
    geometry: Geometry,
) -> Tensor:
    """Convolve with all attentions that there are.

    Args:
        x: (N, I * groups, H, W).
        logits: Of the attentions side by side, (N, sum(sizes)).
        sizes: Of channel, filter, spatial and kernel attention; 0 for one left out.
        weight: (kernels, O I P).
        bias: (O,), or None.
        geometry: Shape of a kernel, stride, padding, dilation and groups.
    """
    channel, filters, spatial, mix = torch.split(logits, list(sizes), dim=1)
    c, f, s = channel.sigmoid(), filters.sigmoid(), spatial.sigmoid()
    if not sizes[2] and not sizes[3]:
        y = _ordinary(x, c, weight.view(geometry.shape), geometry)
    elif has_few_pixels(x, geometry) if not sizes[3] else mixes_outputs(x, geometry, sizes[3]):
        shares = mix.softmax(dim=1) if sizes[3] else None
        y = conv2d_mixed(x * c[:, :, None, None], shares, weight, geometry, s if sizes[2] else None)
    else:
        kernels = mix.softmax(dim=1) @ weight if sizes[3] else weight  # (N or 1, O I P)
        return _per_sample(x, c, f, s, kernels, bias, geometry)
    y = y * f[:, :, None, None] if sizes[1] else y
    return y if bias is None else y + bias[:, None, None]


def _ordinary(x: Tensor, c: Tensor, kernel: Tensor, geometry: Geometry) -> Tensor:
    """Return conv(c * x, W) for one 1x1 kernel W."""
    _, stride, padding, dilation, groups = geometry
    if stride == (1, 1) and padding == (0, 0) and groups == 1:
        return gated_pointwise(x, c, kernel, None)
    return F.conv2d(x * c[:, :, None, None], kernel, None, stride, padding, dilation, groups)


def _per_sample(
    x: Tensor,
    c: Tensor,
    f: Tensor,
    s: Tensor,
    kernels: Tensor,
    bias: Tensor | None,
    geometry: Geometry,
) -> Tensor:
    """Return f * conv(c * x, s * W_n), with c and f on the kernel where that is the smaller."""
    N, (out, per_group, *size), groups = x.shape[0], geometry.shape, geometry.groups
    kernels = kernels.view(-1, out, per_group, math.prod(size))
    pixels = x.shape[2] * x.shape[3] // math.prod(geometry.stride)
    wide = pixels > out  # then the map is larger than the kernel
    scale = s[:, None] if s.shape[1] else None  # (N, 1, P), of all input channels
    if wide:
        by_channel = c.view(N, groups, per_group, 1)
        scale = by_channel if scale is None else by_channel * scale[:, None]
        scale = scale.repeat_interleave(out // groups, dim=1) if groups > 1 else scale
        kernels = kernels * scale  # (N, O, I, P)
        kernels = kernels * f[:, :, None, None] if f.shape[1] else kernels
    elif scale is not None:
        kernels = (
            kernels * scale.expand(-1, per_group, -1)[:, None].contiguous()
        )  # long rows, not P
    x = x if wide else x * c[:, :, None, None]
    y = conv2d_per_sample(x, kernels.view(N, out, per_group, *size), geometry)
    y = y if wide or not f.shape[1] else y * f[:, :, None, None]
    return y if bias is None else y + bias[:, None, None]
