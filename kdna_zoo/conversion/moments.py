"""What layers see on the calibration images: second moments, accumulated as the images stream by.

An error E in a kernel (O, D), D = I K K numbers for each filter, moves the output of filter o by
E_o x, where x is a patch of the input. Its mean square is E_o S E_o^T with S = E[x x^T]: S is all
that a fit of the outputs needs to know of the images. What a bias or a batch norm behind the layer
can take up, the mean of the error, is left out by S = cov(x).

Patches are drawn at random from each image, so that a layer costs as much as it is wide and not as
its maps are large; memory does not grow with the number of images.

Shapes: N images, G groups, I input channels of a group, K kernel size, D = I K K.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdna_zoo.sharing.fitting import Layer

PATCHES = 20_000  # in all, or four for each of the D numbers of a patch if that is more
RIDGE = 0.01  # of the mean square: channels that these images leave dark keep their weights
SHRINKAGE = 0.01  # of S towards its diagonal, which few patches leave too small elsewhere


class Moments:
    """Mean and second moment of the patches that a layer sees.

    Args:
        layer: The layer.
        images: How many images are expected; decides how many patches each gives.
        seed: Of the choice of patches.
        full: Whether to keep all second moments, and not the squares alone.
    """

    def __init__(self, layer: Layer, images: int, seed: int = 0, full: bool = True) -> None:
        self._layer = layer
        self.groups: int = getattr(layer, "groups", 1)
        self.width = layer.weight[0].numel()  # D
        wanted = max(PATCHES, 4 * self.width)
        self._each = max(1, -(-wanted // max(images, 1)))
        self.count = 0
        exact = torch.float64 if self.width <= 1024 else torch.float32
        self._sum = torch.zeros(self.groups, self.width, dtype=torch.float64)
        shape = (self.groups, self.width, self.width) if full else (self.groups, self.width)
        self._products = torch.zeros(shape, dtype=exact)
        self._random = torch.Generator().manual_seed(seed)

    @torch.no_grad()
    def add(self, x: Tensor) -> None:
        """Add the patches of a batch, (N, C, H, W), or (N, ..., C) of a linear layer."""
        patches = self._patches(x.detach()).float()  # (P, G, D)
        self.count += len(patches)
        self._sum += patches.double().sum(dim=0).cpu()
        if self._products.ndim == 2:
            self._products += patches.double().square().sum(dim=0).cpu()
            return
        grouped = patches.transpose(0, 1)  # (G, P, D)
        self._products += torch.bmm(grouped.transpose(1, 2), grouped).cpu()

    def second(self, centred: bool) -> Tensor:
        """Return S, (G, D, D) or its diagonal (G, D), in float32.

        Args:
            centred: The covariance, else the second moment.
        """
        second = (self._products / max(self.count, 1)).float()
        if second.ndim == 2:
            second = second - self.mean().square() if centred else second
            return second.clamp_min(0) + RIDGE * second.mean(dim=1, keepdim=True) + 1e-12
        if centred:
            mean = self.mean()
            second -= mean[:, :, None] * mean[:, None, :]
        diagonal = second.diagonal(dim1=1, dim2=2).clamp_min(0)
        floor = RIDGE * diagonal.mean(dim=1, keepdim=True) + 1e-12
        second *= 1 - SHRINKAGE
        second.diagonal(dim1=1, dim2=2).copy_(diagonal + floor)
        return second

    def mean(self) -> Tensor:
        """Return the mean patch, (G, D) in float32."""
        return (self._sum / max(self.count, 1)).float()

    def _patches(self, x: Tensor) -> Tensor:
        layer = self._layer
        if isinstance(layer, nn.Linear):
            flat = x.reshape(len(x), -1, 1, x.shape[-1])  # (N, L, 1, I)
            return self._drawn(flat, flat.shape[1])
        kernel: Any = layer.kernel_size
        border = list(layer._reversed_padding_repeated_twice)
        mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
        x = F.pad(x, border, mode=mode) if any(border) else x
        reach = [d * (k - 1) + 1 for d, k in zip(layer.dilation, kernel, strict=True)]
        windows = x.unfold(2, reach[0], layer.stride[0]).unfold(3, reach[1], layer.stride[1])
        windows = windows[..., :: layer.dilation[0], :: layer.dilation[1]]  # (N, C, H, W, K, K)
        height, width = windows.shape[2:4]
        image, place = self._places(len(x), height * width)
        drawn = windows[image, :, place // width, place % width]  # (P, C, K, K)
        return drawn.reshape(len(drawn), self.groups, self.width)

    def _drawn(self, flat: Tensor, places: int) -> Tensor:
        image, place = self._places(len(flat), places)
        return flat[image, place]  # (P, 1, I)

    def _places(self, images: int, places: int) -> tuple[Tensor, Tensor]:
        """Draw places of each image, without one of them twice where there are enough."""
        each = min(self._each, places)
        place = torch.rand(images, places, generator=self._random).topk(each).indices  # (N, P / N)
        image = torch.arange(images)[:, None].expand_as(place)
        return image.reshape(-1), place.reshape(-1)
