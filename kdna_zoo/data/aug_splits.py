"""Several views of each image in one batch: the first clean, the others augmented.

That is what AugMix's Jensen-Shannon loss compares (arXiv 1912.02781), and timm's
``JsdCrossEntropy(num_splits)`` expects it in timm's order: a batch begins with the clean view of
all images, then comes the next view of all images.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import default_collate

# S views, N batch, C channels, H height, W width.


class Views:
    """A transform of one image into several views, (S, C, H, W).

    Args:
        crop: Chooses the part of the image that all views share.
        augment: Changes each view but the first.
        finish: Turns a view into a normalised tensor.
        views: How many, the clean one included.
    """

    def __init__(
        self,
        crop: Callable[[Image.Image], Image.Image],
        augment: Callable[[Image.Image], Image.Image],
        finish: Callable[[Image.Image], Tensor],
        views: int,
    ) -> None:
        self.crop = crop
        self.augment = augment
        self.finish = finish
        self.views = views

    def __call__(self, image: Image.Image) -> Tensor:
        """Make the views."""
        image = self.crop(image)
        others = [self.finish(self.augment(image)) for _ in range(self.views - 1)]
        return torch.stack([self.finish(image), *others])


def collate_views(examples: Sequence[tuple[Any, ...]]) -> list[Tensor]:
    """Make a batch of examples ``(views, label)``.

    Returns:
        Images (S * N, C, H, W), the first view of all images first, and labels (S * N,).
    """
    images, labels = default_collate(list(examples))  # (N, S, C, H, W), (N,)
    return [images.transpose(0, 1).flatten(0, 1), labels.repeat(images.shape[1])]
