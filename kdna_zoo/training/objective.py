"""What a training step minimises: timm's loss, mixed images and a teacher where asked for."""

from typing import Any

import torch
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor

from kdna_zoo.errors import UserError
from kdna_zoo.training.distillation import Distillation, DistillationConfig
from kdna_zoo.training.loss import LossConfig, build_loss
from kdna_zoo.training.mixing import MixConfig, Mixer


class Objective:
    """The loss of a batch.

    Args:
        num_classes: Number of classes C.
        smoothing: Share of the target spread over all classes.
        loss: See `LossConfig`.
        mix: See `MixConfig`.
        distillation: See `DistillationConfig`; its teacher is loaded by `load_teacher`.
    """

    def __init__(
        self,
        num_classes: int,
        smoothing: float,
        loss: LossConfig,
        mix: MixConfig,
        distillation: DistillationConfig,
    ) -> None:
        if not 0 <= smoothing < 1:
            raise UserError(f"label_smoothing must be at least 0 and below 1, got {smoothing}")
        self._mixer = Mixer(mix, num_classes, smoothing) if mix.mixes else None
        self._loss = build_loss(loss, smoothing, soft_targets=mix.mixes)
        self._distillation = distillation
        self._teacher: Distillation | None = None

    def load_teacher(self, data: Any, num_classes: int, device: Any) -> None:
        """Load the network to distil from, if there is one.

        Args:
            data: The data module, which tells how images are normalised and the classes' names.
            num_classes: Number of classes.
            device: Where the student computes.
        """
        if self._distillation.teacher is None:
            return
        names, config = getattr(data, "label_names", None), getattr(data, "data_config", {})
        mean, std = (config.get(key, (0.5,) * 3) for key in ("mean", "std"))
        with isolate_rng():  # a teacher changes no draw of the student's
            self._teacher = Distillation(self._distillation, num_classes, names, mean, std, device)

    def mix(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return images (N, 3, H, W) with labels (N,), or mixed images with targets (N, C)."""
        return self._mixer(images, labels) if self._mixer else (images, labels)

    def __call__(self, logits: Tensor, targets: Tensor, images: Tensor) -> Tensor:
        """Return the loss of logits (N, C) of images, against what `mix` returned.

        It is taken in float32 or better: under autocast a CPU would leave the softmax in bfloat16.
        """
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        loss: Tensor = self._loss(logits, targets)
        return self._teacher(images, logits, loss) if self._teacher else loss
