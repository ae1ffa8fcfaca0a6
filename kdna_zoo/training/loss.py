"""The training loss, by timm's factory, for plain labels and for mixed ones."""

from dataclasses import dataclass
from typing import Literal

from timm.loss import create_classification_loss
from torch import nn

from kdna_zoo.errors import UserError


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
