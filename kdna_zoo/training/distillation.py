"""Knowledge distillation from any network that timm can load (Hinton et al., arXiv 1503.02531).

The second term of the loss is T^2 KL(teacher || student) of the softmax at temperature T, as in
timm's own distillation task, whose `DistillationTeacher` is used here. The teacher is no part of
the student: it is loaded when training starts and never gets into a checkpoint.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from timm.task.distillation import DistillationTeacher
from torch import Tensor

from kdna_zoo.errors import UserError
from kdna_zoo.training.checks import check_head
from kdna_zoo.training.network import create_network


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
