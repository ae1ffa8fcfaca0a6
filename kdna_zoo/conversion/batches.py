"""Calibration images as they come: batches of a loader, with or without labels, checked as read.

A batch is a tensor of images, a tuple or list that begins with one (labels second), or a mapping
with one under a usual name. Nothing is kept: each pass reads them again.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from kdna_zoo.errors import UserError

IMAGES = ("image", "images", "img", "pixel_values", "x", "input")
LABELS = ("label", "labels", "target", "targets", "fine_label", "y")
FEWEST = 8  # images: fewer say too little of what a layer sees
UNKNOWN = 1000  # images that are expected of what has no length


class Batches:
    """Images for a network, batch by batch.

    Args:
        given: What the user gives as images.
        model: The network that they are for.
        title: What messages call them.

    Raises:
        UserError: If they can be read once only, or are no batches of images.
    """

    def __init__(self, given: Iterable[Any], model: nn.Module, title: str = "images") -> None:
        if isinstance(given, Tensor):
            raise UserError(
                f"{title} is one tensor of shape {tuple(given.shape)}: give batches, such as a "
                "DataLoader, or a list of tensors: [batch] if it is a batch"
            )
        if not isinstance(given, Iterable):
            raise UserError(
                f"{title} is a {type(given).__name__}: give a DataLoader, or a list of batches"
            )
        if iter(given) is given:
            raise UserError(
                f"{title} is an iterator, which can be read once, and a conversion reads images "
                "several times: give a DataLoader, or a list of batches"
            )
        self._given, self.title = given, title
        parameter = next(model.parameters())
        self._device, self._dtype = parameter.device, parameter.dtype
        self._channels = _channels(model)
        self.labelled, self._first_batch = False, 0

    @cached_property
    def expected(self) -> int:
        """How many images there are, as far as it can be told before they are read."""
        try:
            batches = len(self._given)  # type: ignore[arg-type]
        except TypeError:
            return UNKNOWN
        return batches * self._first_batch if batches and len(self.first) else 0

    def __iter__(self) -> Iterator[Tensor]:
        for images, _ in self.with_labels():
            yield images

    def with_labels(self) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Read all batches: images (N, C, H, W), and labels (N,) if there are any."""
        for number, batch in enumerate(self._given):
            images, labels = _parts(batch, self.title)
            self._check(images, number)
            self.labelled = labels is not None
            yield (
                images.to(self._device, self._dtype),
                None if labels is None else torch.as_tensor(labels).to(self._device),
            )

    @cached_property
    def first(self) -> Tensor:
        """The first image, (1, C, H, W).

        Raises:
            UserError: If there is none.
        """
        for images in self:
            if len(images):
                self._first_batch = len(images)
                return images[:1]
        raise UserError(f"{self.title} holds no batch: give at least {FEWEST} images")

    def _check(self, images: Tensor, number: int) -> None:
        where = f"batch {number} of {self.title}"
        if images.ndim != 4:
            raise UserError(
                f"{where} has the shape {tuple(images.shape)}: give batches (N, C, H, W); a single "
                "image needs a first dimension of 1"
            )
        if not images.is_floating_point():
            raise UserError(
                f"{where} holds {images.dtype}: give images as the network takes them, normalised "
                "floating-point numbers"
            )
        if self._channels and images.shape[1] != self._channels:
            raise UserError(
                f"{where} has {images.shape[1]} channels, and the network takes {self._channels}"
            )


def run_first(model: nn.Module, image: Tensor) -> Any:
    """Run the network on one image, before any work is done.

    Raises:
        UserError: If it does not take images of that size.
    """
    try:
        with torch.no_grad():
            return model(image)
    except (AssertionError, RuntimeError, ValueError) as error:  # its own words say what it wants
        raise UserError(
            f"the network cannot run on images of {tuple(image.shape[1:])} (channels, height, "
            f"width): {str(error).strip().splitlines()[0] if str(error) else type(error).__name__}"
        ) from error


def top1(model: nn.Module, batches: Batches) -> tuple[float, int]:
    """Return the part of labelled images whose class a network finds, and how many there are.

    Raises:
        UserError: If there are no labels.
    """
    right = count = 0
    with torch.no_grad():
        for images, labels in batches.with_labels():
            if labels is None or labels.ndim != 1:
                raise UserError(
                    f"accuracy needs a class for each image, and {batches.title} has none: give "
                    "batches of (images, labels)"
                )
            right += int((model(images).argmax(dim=1) == labels).sum())
            count += len(images)
    if not count:
        raise UserError(f"{batches.title} holds no image")
    return right / count, count


def _parts(batch: Any, title: str) -> tuple[Tensor, Any]:
    if isinstance(batch, Mapping):
        names = [name for name in IMAGES if name in batch]
        labels = next((batch[name] for name in LABELS if name in batch), None)
        if not names:
            raise UserError(
                f"a batch of {title} has the entries {', '.join(map(str, batch))}, and none of "
                f"{', '.join(IMAGES)}: rename that of the images"
            )
        images = batch[names[0]]
    elif isinstance(batch, tuple | list) and batch:
        images, labels = batch[0], batch[1] if len(batch) > 1 else None
    else:
        images, labels = batch, None
    if not isinstance(images, Tensor):
        raise UserError(
            f"a batch of {title} begins with a {type(images).__name__}: give a tensor of images, "
            "(images, labels), or a mapping with an entry 'image'"
        )
    return images, labels


def _channels(model: nn.Module) -> int | None:
    """Return the channels that the first convolution takes, if there is one."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            return module.in_channels
    return None
