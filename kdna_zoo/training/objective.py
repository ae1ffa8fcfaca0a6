"""What a training step minimises: timm's loss, mixed images and a teacher where asked for."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from lightning.pytorch.utilities.seed import isolate_rng
from timm.data import Mixup
from timm.loss import create_classification_loss
from timm.task.distillation import DistillationTeacher
from torch import Tensor, nn

from kdna_zoo.errors import UserError
from kdna_zoo.training.checks import check_head
from kdna_zoo.training.network import create_network


@dataclass(frozen=True)
class LossConfig:
    """Which loss is trained on; evaluation always reports the plain cross-entropy.

    Attributes:
        name: ``ce``, softmax cross-entropy, or ``bce``, a binary cross-entropy for each class.
        target_threshold: With ``bce``, targets above it count as 1 and all others as 0, which
            undoes most of a mixture; None leaves them as they are.
        sum_classes: With ``bce``, the sum over the classes in place of their mean.
    """

    name: Literal["ce", "bce"] = "ce"
    target_threshold: float | None = None
    sum_classes: bool = False


def build_loss(config: LossConfig, smoothing: float, soft_targets: bool) -> nn.Module:
    """Return timm's loss.

    Args:
        config: The loss.
        smoothing: Share of the target spread over all classes; 0 is none.
        soft_targets: Whether targets come as one probability for each class, already smoothed,
            as from mixup and cutmix.

    Raises:
        UserError: If the options do not go together.
    """
    try:
        return create_classification_loss(
            config.name,
            smoothing=smoothing,
            soft_targets=soft_targets,
            bce_target_thresh=config.target_threshold,
            bce_sum=config.sum_classes,
        )
    except ValueError as error:
        raise UserError(f"cannot make the loss {config.name!r}: {error}") from error


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


@dataclass(frozen=True)
class DistillationConfig:
    """What to distil from, and how much.

    Attributes:
        teacher: A name for ``timm.create_model`` with published weights, such as
            ``resnet50.a1_in1k``, ``hf-hub:...`` or ``local-dir:...``; None is no distillation.
        weight: Part of the distillation in the loss; the labels' part is the rest.
        temperature: Of both softmaxes; a higher one shows more of how the teacher ranks the wrong
            classes.
    """

    teacher: str | None = None
    weight: float = 0.5
    temperature: float = 1.0


class Distillation:
    """A frozen teacher and the loss that compares a student with it.

    Args:
        config: What to distil from.
        num_classes: Number of classes C, which has to be the teacher's.
        label_names: Their names, compared with the teacher's where both are known.
        mean: Mean of each channel that the student's images were normalised with.
        std: Standard deviation of each channel that they were normalised with.
        device: Where the teacher computes.
    """

    def __init__(
        self,
        config: DistillationConfig,
        num_classes: int,
        label_names: list[str] | None,
        mean: Sequence[float],
        std: Sequence[float],
        device: torch.device,
    ) -> None:
        if config.teacher is None:
            raise UserError("name the network to distil from as model.distillation.teacher")
        if not 0 <= config.weight <= 1 or config.temperature <= 0:
            raise UserError(
                "distillation.weight must be in [0, 1] and distillation.temperature above 0, got "
                f"{config.weight} and {config.temperature}"
            )
        network: Any = create_network(config.teacher, True, num_classes, {})
        check_head(network, num_classes, label_names)
        self._teacher = DistillationTeacher(network).to(device).requires_grad_(False)
        self._mean, self._std = (
            torch.tensor(values, device=device).view(1, -1, 1, 1) for values in (mean, std)
        )
        self._weight, self._temperature = config.weight, config.temperature

    def __call__(self, images: Tensor, logits: Tensor, loss: Tensor) -> Tensor:
        """Return the weighted sum of the labels' loss and the distillation's.

        Args:
            images: The student's images (N, 3, H, W).
            logits: The student's logits (N, C).
            loss: The loss against the labels.
        """
        with torch.no_grad():
            images = self._teacher.normalize_input(images, self._mean, self._std)
            taught = self._teacher(images)
        student, teacher = (
            F.log_softmax(values.float() / self._temperature, dim=-1) for values in (logits, taught)
        )
        distilled = F.kl_div(student, teacher, reduction="batchmean", log_target=True)
        distilled = distilled * self._temperature**2
        return (1 - self._weight) * loss + self._weight * distilled


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
