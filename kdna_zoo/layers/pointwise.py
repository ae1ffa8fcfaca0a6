"""A 1x1 convolution of a gated input, by scaling whichever is smaller, the input or the kernel.

    conv(x * g, W) = conv_n(x, W * g_n)      for a 1x1 kernel, where g_n scales the columns of W

The input has I H W numbers for each sample, the kernel O I. On a large map the right side spares
what training pays most for: writing the gated map, and keeping it for the backward pass.

Shapes: N batch, I input channels, O output channels, H W.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def gated_pointwise(x: Tensor, gate: Tensor, kernel: Tensor, bias: Tensor | None) -> Tensor:
    """Convolve the gated input with a 1x1 kernel, stride 1, no padding.

    Args:
        x: (N, I, H, W), in any memory format.
        gate: (N, I).
        kernel: (O, I, 1, 1).
        bias: (O,), or None.

    Returns:
        (N, O, H, W), in the memory format of ``x``.
    """
    if x.shape[2] * x.shape[3] <= kernel.shape[0]:
        return F.conv2d(x * gate[:, :, None, None], kernel, bias)
    kernels = kernel.flatten(1) * gate[:, None]  # (N, O, I)
    flat = x.flatten(2)  # (N, I, H W), a view in both memory formats
    if x.is_contiguous(memory_format=torch.channels_last):
        y = torch.bmm(flat.transpose(1, 2), kernels.transpose(1, 2)).transpose(1, 2)
    else:
        y = torch.bmm(kernels, flat)  # (N, O, H W)
    y = y.view(x.shape[0], kernel.shape[0], *x.shape[2:])
    if bias is None:
        return y
    return y + bias.to(y.dtype)[:, None, None]  # in autocast's type, as a convolution adds it
