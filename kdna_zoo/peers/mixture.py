"""CondConv and DY-Conv: each sample's kernel is a mixture of K kernels.

    CondConv (arXiv 1904.04971):  a = sigmoid(FC(GAP(x)))                        W = sum_k a_k W_k
    DY-Conv  (arXiv 1912.03458):  a = softmax(FC2(ReLU(FC1(GAP(x)))) / T)        W = sum_k a_k W_k

CondConv has no softmax and no temperature, and its classifier is a mixture too. DY-Conv's T falls
from 34 to 1 over the first ten epochs, so that all kernels learn before some are preferred.

A mixture of all samples is one matrix product, (N, K) x (K, O I K K), kept as fast as it can be;
the kernels then differ by sample. Where the map has few pixels the K outputs are mixed instead, see
per_sample.py. Kernels that differ by sample are why neither exports to ONNX with the batch size
left open: the groups of the convolution count samples, and are a constant there.

Shapes: N batch, K number of kernels.
"""

import math

import torch
import torch.fx
import torch.nn.functional as F
from torch import Tensor, nn

from kdna_zoo.peers.dynamic import Annealed, DynamicConv2d, Squeeze
from kdna_zoo.peers.per_sample import Geometry, conv2d_mixed, conv2d_per_sample, mixes_outputs

torch.fx.wrap("mixed_conv2d")  # a step of its own in a trace, whose shapes are not known


def mixed_conv2d(
    x: Tensor, shares: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry
) -> Tensor:
    """Convolve each sample with its mixture of kernels.

    Args:
        x: (N, I, H, W).
        shares: Each kernel's share in each sample's, (N, K).
        weight: (K, O I/groups K K).
        bias: (O,), or None.
        geometry: Shape of a kernel, stride, padding, dilation and groups.
    """
    if mixes_outputs(x, geometry, len(weight)):
        y = conv2d_mixed(x, shares, weight, geometry, None)
    else:
        kernels = (shares @ weight).view(-1, *geometry.shape)  # (N, O, I/groups, K, K)
        y = conv2d_per_sample(x, kernels, geometry)
    return y if bias is None else y + bias[:, None, None]


def _kernels(count: int, geometry: Geometry) -> nn.Parameter:
    """Make kernels (K, O I/groups K K), each started by itself: uniform, by the fan-in (He)."""
    weight = torch.empty(count, math.prod(geometry.shape))
    for kernel in weight:
        nn.init.kaiming_uniform_(kernel.view(geometry.shape))
    return nn.Parameter(weight)


class CondConv2d(DynamicConv2d):
    """Conditionally parameterised convolution, in the place of ``conv``.

    Args:
        conv: The convolution to replace.
        kernels: Number K of kernels (experts). Published: 8.
    """

    def __init__(self, conv: nn.Conv2d, kernels: int = 8) -> None:
        super().__init__(conv)
        self.routing = nn.Linear(self.in_channels, kernels)
        self.weight = _kernels(kernels, self.geometry)

    def forward(self, x: Tensor) -> Tensor:
        """Return conv(x, sum_k a_k W_k)."""
        shares = torch.sigmoid(self.routing(x.mean(dim=(2, 3))))
        return mixed_conv2d(x, shares, self.weight, self.bias, self.geometry)


class CondLinear(nn.Module):
    """The same for a classifier: a mixture of K weights on a pooled vector, with one bias.

    Args:
        linear: The layer to replace.
        kernels: Number K of weights.
    """

    def __init__(self, linear: nn.Linear, kernels: int = 8) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.routing = nn.Linear(self.in_features, kernels)
        self.weight = nn.Parameter(torch.empty(kernels * self.out_features, self.in_features))
        self.bias = linear.bias
        for weight in self.weight.data.chunk(kernels):
            nn.init.kaiming_uniform_(weight, a=math.sqrt(5))

    def forward(self, x: Tensor) -> Tensor:
        """Return sum_k a_k (W_k x) + b: (N, I) -> (N, O)."""
        shares = torch.sigmoid(self.routing(x))  # (N, K)
        outputs = F.linear(x, self.weight).view(x.shape[0], -1, self.out_features)  # (N, K, O)
        y = torch.bmm(shares[:, None], outputs).squeeze(1)
        return y if self.bias is None else y + self.bias

    def extra_repr(self) -> str:
        """Summarise the layer in the network's printout."""
        return f"{self.in_features}, {self.out_features}"


class DYConv2d(DynamicConv2d, Annealed):
    """Dynamic convolution with attention over K kernels, in the place of ``conv``.

    Args:
        conv: The convolution to replace.
        kernels: Number K of kernels. Published: 4.
    """

    start, end, anneal_epochs = 34.0, 1.0, 10.0

    def __init__(self, conv: nn.Conv2d, kernels: int = 4) -> None:
        super().__init__(conv)
        hidden = self.in_channels // 4 + 1
        self.squeeze = Squeeze(self.in_channels, hidden, norm=False)
        self.attention = nn.Linear(hidden, kernels)
        self.weight = _kernels(kernels, self.geometry)

    def forward(self, x: Tensor) -> Tensor:
        """Return conv(x, sum_k a_k W_k)."""
        logits = self.attention(self.squeeze(x)) / self.annealed
        return mixed_conv2d(x, logits.softmax(dim=1), self.weight, self.bias, self.geometry)
