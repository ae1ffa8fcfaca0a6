"""timm's transforms, resolved from what the user sets and what the network was made for."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from PIL import Image
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.data.config import resolve_data_config
from timm.data.transforms_factory import create_transform
from torch import Tensor
from torch.utils.data import default_collate

from kdna_zoo.errors import UserError

AUGMENT_KEYS = (
    "no_aug",
    "train_crop_mode",
    "scale",
    "ratio",
    "hflip",
    "vflip",
    "color_jitter",
    "color_jitter_prob",
    "grayscale_prob",
    "gaussian_blur_prob",
    "auto_augment",
    "interpolation",
    "re_prob",
    "re_mode",
    "re_count",
)  # the keywords of create_transform that say how to augment; the others belong to the data config
DRAW_KEYS = ("repeats", "splits")  # repeated augmentation, and views of each image in a batch

Transform = Callable[[Image.Image], Tensor]


def input_channels(network: Any) -> int | None:
    """Return how many channels a network's first convolution takes; None if nobody knows."""
    name = (getattr(network, "pretrained_cfg", None) or {}).get("first_conv")
    if not isinstance(name, str):
        return None
    try:
        channels = getattr(network.get_submodule(name), "in_channels", None)
    except AttributeError:
        return None
    return channels if isinstance(channels, int) else None


def resolve_config(
    given: Mapping[str, Any], pretrained_cfg: Mapping[str, Any], channels: int | None = None
) -> dict[str, Any]:
    """Settle the data config as timm does: what is given wins over the network's own.

    Mean and std follow the channels: grey images take the average of three values.

    Args:
        given: Values of `DATA_CONFIG_KEYS`; None leaves the choice to the network.
        pretrained_cfg: A timm network's ``pretrained_cfg``; may be empty.
        channels: How many the network takes; None: as many as its configuration says.

    Returns:
        Each of `DATA_CONFIG_KEYS`, as plain JSON types.

    Raises:
        UserError: If the values contradict each other, or the network.
    """
    given = _follow_channels(given, pretrained_cfg, channels)
    try:
        resolved: dict[str, Any] = resolve_data_config(  # type: ignore[no-untyped-call]
            given, pretrained_cfg=dict(pretrained_cfg)
        )
    except AssertionError as error:
        raise UserError(
            f"timm cannot use this data config: {dict(given)}. input_size is (channels, height, "
            "width); mean and std have one value for each channel, or one for all."
        ) from error
    _check_numbers(resolved)
    return {k: list(v) if isinstance(v, tuple) else v for k, v in resolved.items()}


def _follow_channels(
    given: Mapping[str, Any], own: Mapping[str, Any], channels: int | None
) -> dict[str, Any]:
    """Give the image as many channels as the network takes, and mean and std one value for each."""
    size = given.get("input_size") or own.get("input_size") or (3, 224, 224)
    if channels is not None and size[0] != channels:
        if given.get("input_size"):
            raise UserError(
                f"the network takes {channels} channel{'s' * (channels > 1)}, and data.input_size "
                f"gives {size[0]}: change it, or set model.arch_args.in_chans"
            )
        size = (channels, *size[1:])
    if size[0] not in (1, 3):
        raise UserError(
            f"input_size {tuple(size)}: images are read with 3 channels (RGB) or 1 (grey)."
        )
    values: dict[str, tuple[float, ...]] = {
        "mean": IMAGENET_DEFAULT_MEAN,
        "std": IMAGENET_DEFAULT_STD,
    }
    for key, default in values.items():
        values[key] = given.get(key) or own.get(key) or default
        if size[0] == 1 and len(values[key]) == 3:
            values[key] = (sum(values[key]) / 3,)
    return {**given, "input_size": tuple(size), **values}


def _check_numbers(resolved: Mapping[str, Any]) -> None:
    """Check what timm would only fail with at the first image."""
    size, crop, std = (resolved[key] for key in ("input_size", "crop_pct", "std"))
    if min(size[1:]) < 1:
        raise UserError(f"input_size {tuple(size)}: height and width are 1 pixel or more.")
    if not crop > 0:
        raise UserError(f"crop_pct {crop}: the part of the image that is kept is above 0.")
    if not min(std) > 0:
        raise UserError(f"std {tuple(std)}: images are divided by it, so it is above 0.")


def eval_transform(config: Mapping[str, Any]) -> Transform:
    """Make the transform for validation, test and use, as the published config describes it."""
    transform: Transform = _create(config, is_training=False)
    return transform


def train_transform(config: Mapping[str, Any], augment: Mapping[str, Any] | None) -> Transform:
    """Make the random transform for training.

    Args:
        config: What `resolve_config` gives.
        augment: Keyword arguments of `timm.data.create_transform`, of `AUGMENT_KEYS`; timm's
            defaults where not given; and of `DRAW_KEYS`.
    """
    augment = dict(augment or {})
    unknown = sorted(set(augment) - {*AUGMENT_KEYS, *DRAW_KEYS})
    if unknown:
        raise UserError(
            f"augment has the unknown key {', '.join(map(repr, unknown))}. Allowed: "
            f"{', '.join((*AUGMENT_KEYS, *DRAW_KEYS))}."
        )
    _ = drawn(augment, "repeats")
    views = drawn(augment, "splits")
    config = {**config, **{key: augment[key] for key in AUGMENT_KEYS if key in augment}}
    if views > 1:
        crop, change, finish = _create({**config, "separate": True}, is_training=True)
        return Views(crop, change, finish, views)
    transform: Transform = _create(config, is_training=True)
    return transform


def drawn(augment: Mapping[str, Any] | None, key: str) -> int:
    """Return how often an image is drawn in a row, or in how many views: one of `DRAW_KEYS`."""
    number = (augment or {}).get(key, 1)
    if not isinstance(number, int) or number < 1:
        raise UserError(f"augment.{key} must be a whole number of 1 or more, got {number!r}")
    return number


def _create(arguments: Mapping[str, Any], is_training: bool) -> Any:
    try:
        transform = create_transform(**arguments, is_training=is_training)
    except (AssertionError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"timm cannot make a transform of {dict(arguments)}: {type(error).__name__} {error}"
        ) from error
    return transform


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
