"""Mixup and cutmix of a batch, by timm's `Mixup`.

It draws from NumPy's global random state, which the run's seed sets and which is the same on every
rank: all ranks mix with the same strength, each its own images.
"""

from dataclasses import dataclass
from typing import Literal

from timm.data import Mixup
from torch import Tensor

from kdna_zoo.errors import UserError


@dataclass(frozen=True)
class MixConfig:
    """Arguments of ``timm.data.Mixup``; the defaults mix nothing.

    Attributes:
        mixup_alpha: Both parameters of the Beta distribution of the mixup ratio; 0 is no mixup.
        cutmix_alpha: The same for the area of cutmix; 0 is no cutmix.
        prob: Part of the batches (or pairs, or images) that are mixed.
        switch_prob: Part of the mixed ones that get cutmix, where both are on.
        mode: One draw for each ``batch``, for each ``pair`` of images, or for each image
            (``elem``).
    """

    mixup_alpha: float = 0.0
    cutmix_alpha: float = 0.0
    prob: float = 1.0
    switch_prob: float = 0.5
    mode: Literal["batch", "pair", "elem"] = "batch"

    @property
    def mixes(self) -> bool:
        """Whether anything is mixed."""
        return self.prob > 0 and (self.mixup_alpha > 0 or self.cutmix_alpha > 0)


class Mixer:
    """Mixes each batch with itself in reverse order, labels too.

    Args:
        config: How much is mixed.
        num_classes: Number of classes C.
        smoothing: Label smoothing, which has to be applied before the labels are mixed.
    """

    def __init__(self, config: MixConfig, num_classes: int, smoothing: float) -> None:
        for name in ("prob", "switch_prob"):
            if not 0 <= getattr(config, name) <= 1:
                raise UserError(f"mix.{name} must be in [0, 1], got {getattr(config, name)}")
        if min(config.mixup_alpha, config.cutmix_alpha) < 0:
            raise UserError("mix.mixup_alpha and mix.cutmix_alpha must be at least 0")
        self._mixup = Mixup(  # type: ignore[no-untyped-call]
            mixup_alpha=config.mixup_alpha,
            cutmix_alpha=config.cutmix_alpha,
            prob=config.prob,
            switch_prob=config.switch_prob,
            mode=config.mode,
            label_smoothing=smoothing,
            num_classes=num_classes,
        )

    def __call__(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Mix a batch: images (N, I, H, W) and labels (N,) -> images and targets (N, C).

        Raises:
            UserError: If the number of images is odd.
        """
        if len(images) % 2:
            raise UserError(
                f"mixup and cutmix need an even number of images in a batch, got {len(images)}; "
                "set data.batch_size to an even number"
            )
        mixed: tuple[Tensor, Tensor] = self._mixup(images, labels)
        return mixed
