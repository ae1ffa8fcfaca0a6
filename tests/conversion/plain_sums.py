"""The sums of a fit as plain loops, to compare with."""

import torch
from torch import Tensor, nn


def patches_of(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """All patches that a convolution sees, (P, G, D)."""
    unfolded = torch.nn.functional.unfold(
        x,
        conv.kernel_size,
        conv.dilation,
        conv.padding,
        conv.stride,
    )  # (N, C K K, L)
    flat = unfolded.transpose(1, 2).reshape(-1, unfolded.shape[1])
    return flat.view(len(flat), conv.groups, -1)


def output_error(
    patches: Tensor, kernel: Tensor, parent: Tensor, f: Tensor, g: Tensor, s: Tensor
) -> Tensor:
    """Mean square of the error of each filter's output, (O,), one group: kernels (O, I, K)."""
    total = torch.zeros(len(kernel), dtype=patches.dtype)
    for patch in patches[:, 0]:
        x = patch.view(kernel.shape[1:])
        for o in range(len(kernel)):
            own = (kernel[o] * x).sum()
            shared = (parent[o] * f[o] * g[:, None] * s[None] * x).sum()
            total[o] += (own - shared) ** 2
    return total / len(patches)
