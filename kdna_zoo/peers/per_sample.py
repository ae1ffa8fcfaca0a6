"""Convolution with a kernel of its own for each sample, which is what the peers cost.

The usual way folds the batch into the channels and convolves with ``groups = N * groups``. It is
one call, and it is what graphs get. The number of groups is an attribute of a convolution in ONNX
and TensorRT, a constant, and it counts samples: such a graph is for one batch size. Four cases
have a faster way:

* a 1x1 kernel is a batched matrix product;
* where the map has few pixels, mixtures of K kernels need no kernel for each sample: all samples
  share one matrix product with the K kernels, and the K outputs are mixed;
* on a CPU, samples one by one are faster than groups, which oneDNN computes without its best
  algorithms;
* on a GPU in half precision, the time of the groups grows with their number, as if cuDNN took one
  after the other, and in float32 too where the map has few pixels: a batched matrix product over
  the unfolded input takes a half of it or less (H200, torch 2.11), and more memory.

Shapes: N batch, I input channels (over groups), O output channels, K kernel size, H W.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

FEW = 4  # pixels are few if so many times of them are no more than the output channels
MIXED = 64  # so many pixels times kernels at most, and mixing outputs is faster than mixing kernels


class Geometry(NamedTuple):
    """What a convolution is, but for its kernel's values; each as ``torch.nn.Conv2d`` has it."""

    shape: tuple[int, ...]  # (O, I, K, K)
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int


def conv2d_per_sample(x: Tensor, kernels: Tensor, geometry: Geometry) -> Tensor:
    """Convolve each sample with its own kernel.

    Args:
        x: (N, I * groups, H, W), in any memory format.
        kernels: (N, O, I, K, K).
        geometry: Stride, padding, dilation and groups.

    Returns:
        (N, O, H', W'), in the memory format of ``x``.
    """
    _, stride, padding, dilation, groups = geometry
    if geometry.shape[2:] == (1, 1) and groups == 1 and not any(padding):
        pixels = x[:, :, :: stride[0], :: stride[1]]
        return _matrix_product(pixels, kernels.flatten(2), is_channels_last(x))
    if x.device.type == "cpu" and groups == 1 and not torch.compiler.is_compiling():
        pairs = zip(torch.split(x, 1), kernels, strict=True)
        return torch.cat([F.conv2d(a, w, None, stride, padding, dilation) for a, w in pairs])
    if _suits_product(x, geometry):
        return _conv2d_by_product(x, kernels, geometry)
    y = F.conv2d(
        x.reshape(1, -1, *x.shape[2:]),
        kernels.flatten(0, 1),
        None,
        stride,
        padding,
        dilation,
        kernels.shape[0] * groups,
    )
    y = y.view(*kernels.shape[:2], *y.shape[2:])
    return y.contiguous(memory_format=torch.channels_last) if is_channels_last(x) else y


def _suits_product(x: Tensor, geometry: Geometry) -> bool:
    """Tell whether a GPU is faster with `_conv2d_by_product` than with groups."""
    if not x.is_cuda or geometry.groups != 1:
        return False
    half = x.dtype.itemsize == 2 or torch.is_autocast_enabled("cuda")
    return half or has_few_pixels(x, geometry)


def _conv2d_by_product(x: Tensor, kernels: Tensor, geometry: Geometry) -> Tensor:
    """Convolve each sample with its own kernel by a batched matrix product; one group.

    Either way keeps a kernel in the order it has. The first has the faster gradient, the second is
    the faster without one.
    """
    kernels = kernels.flatten(2)  # (N, O, I P)
    if torch.is_grad_enabled():
        return fold(torch.bmm(kernels, unfold(x, geometry).flatten(1, 2)), x, geometry)
    shape, (down, right), (above, left), (dy, dx), _ = geometry
    padded = F.pad(x.permute(0, 2, 3, 1), (0, 0, left, left, above, above))
    windows = padded.unfold(1, dy * (shape[2] - 1) + 1, down)
    windows = windows.unfold(2, dx * (shape[3] - 1) + 1, right)[..., ::dy, ::dx]
    rows = windows.flatten(1, 2).flatten(2)  # (N, H' W', I P)
    return fold(torch.bmm(rows, kernels.transpose(1, 2)).transpose(1, 2), x, geometry)


def has_few_pixels(x: Tensor, geometry: Geometry) -> bool:
    """Tell whether the output map is so small beside the kernel that unfolding the input pays."""
    pixels = x.shape[2] * x.shape[3] // (geometry.stride[0] * geometry.stride[1])
    return geometry.groups == 1 and FEW * pixels <= geometry.shape[0]


def mixes_outputs(x: Tensor, geometry: Geometry, kernels: int) -> bool:
    """Tell whether `conv2d_mixed` is the fastest way of a mixture of so many kernels."""
    pixels = x.shape[2] * x.shape[3] // (geometry.stride[0] * geometry.stride[1])
    return geometry.groups == 1 and kernels * pixels <= MIXED


def conv2d_mixed(
    x: Tensor, shares: Tensor | None, weight: Tensor, geometry: Geometry, spatial: Tensor | None
) -> Tensor:
    """Convolve with K kernels by one matrix product over all samples, and mix the outputs.

    Args:
        x: (N, I, H, W), in any memory format.
        shares: Each kernel's share in each sample's output, (N, K); None for one kernel.
        weight: (K, O I P).
        geometry: Shape of a kernel, stride, padding and dilation; one group.
        spatial: A factor for each kernel position, (N, P); None for none.

    Returns:
        (N, O, H', W'), in the memory format of ``x``.
    """
    columns = unfold(x, geometry)  # (N, I, P, H' W')
    columns = columns if spatial is None else columns * spatial[:, None, :, None]
    columns = columns.permute(1, 2, 0, 3).flatten(0, 1)  # (I P, N, H' W')
    outputs = weight.view(-1, columns.shape[0]) @ columns.flatten(1)  # (K O, N H' W')
    outputs = outputs.view(len(weight), -1, *columns.shape[1:])  # (K, O, N, H' W')
    if shares is not None:
        outputs = outputs * shares.t()[:, None, :, None]
    return fold(outputs.sum(dim=0).transpose(0, 1), x, geometry)


def unfold(x: Tensor, geometry: Geometry) -> Tensor:
    """Return the input under each kernel position: (N, I, H, W) -> (N, I, P, H' W')."""
    shape, stride, padding, dilation, _ = geometry
    columns = F.unfold(x, shape[2:], dilation, padding, stride)
    return columns.view(x.shape[0], shape[1], -1, columns.shape[2])


def fold(y: Tensor, x: Tensor, geometry: Geometry) -> Tensor:
    """Return the output (N, O, H' W') as a map (N, O, H', W'), in the memory format of ``x``."""
    shape, stride, padding, dilation, _ = geometry
    height = (x.shape[2] + 2 * padding[0] - dilation[0] * (shape[2] - 1) - 1) // stride[0] + 1
    last = is_channels_last(x)
    y = y.view(*y.shape[:2], height, -1)
    return y.contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)


def conv2d_by_position(x: Tensor, kernels: Tensor, geometry: Geometry) -> Tensor:
    """Convolve each sample with its own kernel, given position by position.

    For few pixels: a matrix product for each position, with no kernel to bring into another order.

    Args:
        x: (N, I, H, W).
        kernels: (N, P, O, I).
        geometry: Shape of a kernel, stride, padding and dilation; one group.

    Returns:
        (N, O, H', W'), in the memory format of ``x``.
    """
    columns = unfold(x, geometry).transpose(1, 2)  # (N, P, I, H' W')
    return fold(torch.matmul(kernels, columns).sum(dim=1), x, geometry)


def _matrix_product(x: Tensor, kernels: Tensor, channels_last: bool) -> Tensor:
    """Apply kernels (N, O, I) at each pixel of x (N, I, H, W)."""
    if channels_last:
        pixels = x.permute(0, 2, 3, 1).flatten(1, 2)  # (N, H W, I)
        y = torch.bmm(pixels, kernels.transpose(1, 2)).transpose(1, 2)
    else:
        y = torch.bmm(kernels, x.flatten(2))  # (N, O, H W)
    return y.view(*y.shape[:2], *x.shape[2:])


def is_channels_last(x: Tensor) -> bool:
    """Tell whether a map is in channels_last format and in no other."""
    return x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
